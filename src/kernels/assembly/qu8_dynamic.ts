import { f32_minmax } from "./minmax";
import { panel_set_input } from "./panel";
import { qu8s16_conv_f32, qu8s8_conv_f32 } from "./qu8_conv";
import { qu8s8x16_conv_f32 } from "./qu8s8x16_conv";
import { qu8_quantize, u8_stage_lines } from "./qu8_elementwise";

// Quantization with parameters that are found while a plan runs: the range of the input in parts, then whatever needs
// scale and zero point computes them from the parts. Every thread has globals of its own.

let inputScale: f32 = 1;
let inverseScale: f32 = 1;
let inputZeroPoint: i32 = 0;

/** Smallest and largest of each part of `size` of the `n` floats at `x`; parts [begin, end) go to the first two floats of 64 bytes each at `parts`. */
export function f32_minmax_parts(x: usize, n: usize, size: usize, parts: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const from = <usize>i * size;
    f32_minmax(x + (from << 2), min(size, n - from), parts + (<usize>i << 6));
  }
}

/**
 * Scale and zero point of a range given in parts, as PyTorch's dynamic layers choose them, into the globals. A range that is
 * not finite sets `status`.
 */
function choose(parts: usize, count: i32, qmax: i32, status: usize): void {
  let least: f32 = load<f32>(parts), most: f32 = load<f32>(parts, 4);
  for (let i = 1; i < count; i++) {
    least = min(least, load<f32>(parts + (<usize>i << 6)));
    most = max(most, load<f32>(parts + (<usize>i << 6), 4));
  }
  if (!isFinite(least) || !isFinite(most)) {
    store<i32>(status, 1);
    least = 0;
    most = 0;
  }
  const steps = <f64>qmax;
  let low = min(<f64>least, 0.0), high = max(<f64>most, 0.0);
  let scale = (high - low) / steps;
  const single = <f32>scale;
  if (single == 0 || <f32>(1.0 / <f64>single) == Infinity) scale = 0.1;
  const small = <f64><f32>6.1e-5;
  if (scale < small) {
    const original = <f64><f32>scale;
    scale = small;
    if (low == 0) high = <f64><f32>(small * steps);
    else if (high == 0) low = -<f64><f32>(small * steps);
    else {
      const amplifier = <f64><f32>(small / original);
      low = <f64><f32>(low * amplifier);
      high = <f64><f32>(high * amplifier);
    }
  }
  const fromMin = -low / scale, fromMax = steps - high / scale;
  const minError = -abs(low / scale), maxError = steps - abs(high / scale);
  const initial = minError < maxError ? fromMin : fromMax;
  inputZeroPoint = initial < 0 ? 0 : initial > steps ? qmax : <i32>nearest(initial);
  inputScale = <f32>scale;
  inverseScale = <f32>(1.0 / <f64>inputScale);
}

/** {@link panel_set_input} of panels [begin, end) for the input whose range is in `parts`. */
export function qu8_dynamic_panels(
  parts: usize, count: i32, qmax: i32, status: usize, panels: usize, panelBytes: usize, columns: i32, weightSums: usize, weightScales: usize,
  begin: i32, end: i32,
): void {
  choose(parts, count, qmax, status);
  const at = <usize>(begin * columns) << 2;
  panel_set_input(
    panels + <usize>begin * panelBytes, panelBytes, columns, end - begin, weightSums + at, weightScales + at, inputZeroPoint, inputScale,
  );
}

/** {@link qu8_quantize} of floats [16·begin, 16·end) of `n`, with the parameters of the range in `parts`. */
export function qu8_dynamic_quantize(parts: usize, count: i32, qmax: i32, status: usize, x: usize, n: usize, out: usize, begin: i32, end: i32): void {
  choose(parts, count, qmax, status);
  const from = <usize>begin << 4, to = min(<usize>end << 4, n);
  qu8_quantize(x + (from << 2), to - from, inverseScale, inputZeroPoint, 0, 255, out + from);
}

/** {@link u8_stage_lines} with margins of the zero point of the range in `parts`. */
export function qu8_dynamic_stage_lines(
  parts: usize, count: i32, qmax: i32, status: usize, begin: i32, end: i32, x: usize, bytes: i32, out: usize, outLine: i32, left: i32,
): void {
  choose(parts, count, qmax, status);
  u8_stage_lines(begin, end, x, bytes, out, outLine, left, inputZeroPoint);
}

/**
 * Panels [begin, end) of a product of quantized rows, `channels` bytes each, with a float result of `outChannels` columns: {@link qu8_dynamic_panels},
 * then `qu8s8_conv_f32`. `panels`, `out` and `floatBias` are those of the first panel.
 */
export function qu8s8_dynamic_f32(
  parts: usize, count: i32, qmax: i32, status: usize, panels: usize, panelBytes: usize, weightSums: usize, weightScales: usize,
  input: usize, channels: i32, rows: i32, outChannels: i32, out: usize, floatBias: usize, floor: f32, begin: i32, end: i32,
): void {
  qu8_dynamic_panels(parts, count, qmax, status, panels, panelBytes, 8, weightSums, weightScales, begin, end);
  const first = begin * 8, bytes = <usize>first << 2;
  qu8s8_conv_f32(
    input, channels, 0, 1, channels, 0, rows, panels + <usize>begin * panelBytes, min(end * 8, outChannels) - first,
    out + bytes, outChannels, floatBias + bytes, floor,
  );
}

/** {@link qu8s8_dynamic_f32} on panels of 16 channels. */
export function qu8s8x16_dynamic_f32(
  parts: usize, count: i32, qmax: i32, status: usize, panels: usize, panelBytes: usize, weightSums: usize, weightScales: usize,
  input: usize, channels: i32, rows: i32, outChannels: i32, out: usize, floatBias: usize, floor: f32, begin: i32, end: i32,
): void {
  qu8_dynamic_panels(parts, count, qmax, status, panels, panelBytes, 16, weightSums, weightScales, begin, end);
  const first = begin * 16, bytes = <usize>first << 2;
  qu8s8x16_conv_f32(
    input, channels, 0, 1, channels, 0, rows, panels + <usize>begin * panelBytes, min(end * 16, outChannels) - first,
    out + bytes, outChannels, floatBias + bytes, floor,
  );
}

/** {@link qu8s8_dynamic_f32} on widened weights. */
export function qu8s16_dynamic_f32(
  parts: usize, count: i32, qmax: i32, status: usize, panels: usize, panelBytes: usize, weightSums: usize, weightScales: usize,
  input: usize, channels: i32, rows: i32, outChannels: i32, out: usize, floatBias: usize, floor: f32, begin: i32, end: i32,
): void {
  qu8_dynamic_panels(parts, count, qmax, status, panels, panelBytes, 8, weightSums, weightScales, begin, end);
  const first = begin * 8, bytes = <usize>first << 2;
  qu8s16_conv_f32(
    input, channels, 0, 1, channels, 0, rows, panels + <usize>begin * panelBytes, min(end * 8, outChannels) - first,
    out + bytes, outChannels, floatBias + bytes, floor,
  );
}
