export { FileError, type FileSource, readFile, writeFile } from './files.ts';
export { decodeImage, loadImage } from './image/decode.ts';
export { type ImageFolder, readImageFolder } from './image/folder.ts';
export type { ImageReadOptions, RgbImage } from './image/image.ts';
export { resizeBilinear } from './image/resize.ts';
export * from './image/transforms.ts';
export { loadNpy, type NpyWriteOptions, readNpy, saveNpy, writeNpy } from './npy.ts';
export { loadNpz, type NpzReadOptions, type NpzWriteOptions, readNpz, saveNpz, writeNpz } from './npz.ts';
export { moduleVersions } from './pickle/host.ts';
export {
  loadPyTorch,
  type PickleValue,
  type PyTorchReadOptions,
  readPyTorch,
} from './pickle/load.ts';
export { type PyTorchWriteOptions, savePyTorch, writePyTorch } from './pickle/save.ts';
export {
  loadSafetensors,
  readSafetensors,
  type SafetensorsFile,
  type SafetensorsReadOptions,
  type SafetensorsWriteOptions,
  saveSafetensors,
  writeSafetensors,
} from './safetensors.ts';
export { type LoadStateDictOptions, loadStateDict } from './state-dict.ts';
export type { ArchiveOptions } from './zip.ts';
