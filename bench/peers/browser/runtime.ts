/** All that a page needs to run a program; bundled to see its size. */
import { load } from '../../../src/runtime/index.ts';
import { tensor } from '../../../src/tensor/creation.ts';

const run = async (url: string, image: Float32Array): Promise<unknown> =>
  (await load(url)).run(tensor(image, { shape: [1, 3, 224, 224] }));

Object.assign(globalThis, { run });
