import { referenceQuantize } from './int8_elementwise.ts';

/** Twin of `u8_stage_lines`: lines in the middle of longer ones. */
export function referenceStageLines(
  x: Uint8Array,
  lineBytes: number,
  outLine: number,
  left: number,
  fill: number,
): Uint8Array {
  const out = new Uint8Array((x.length / lineBytes) * outLine).fill(fill);
  for (let line = 0; line < x.length / lineBytes; line++)
    out.set(x.subarray(line * lineBytes, (line + 1) * lineBytes), line * outLine + left);
  return out;
}

/** Twin of `qu8_quantize_planes`: [images, channels, lines, width] floats to channels-last lines. */
export function referenceQuantizePlanes(
  x: Float32Array,
  sizes: {
    readonly images: number;
    readonly channels: number;
    readonly lines: number;
    readonly width: number;
  },
  scale: number,
  zeroPoint: number,
  margins: { readonly outLine: number; readonly left: number },
): Uint8Array {
  const { images, channels, lines, width } = sizes;
  const quantized = referenceQuantize(x, scale, zeroPoint, 0, 255);
  const bytes = new Uint8Array(x.length);
  for (let n = 0; n < images; n++)
    for (let c = 0; c < channels; c++)
      for (let line = 0; line < lines; line++)
        for (let w = 0; w < width; w++)
          bytes[((n * lines + line) * width + w) * channels + c] =
            quantized[((n * channels + c) * lines + line) * width + w];
  return referenceStageLines(bytes, width * channels, margins.outLine, margins.left, zeroPoint);
}
