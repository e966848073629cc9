/**
 * Rows [begin, end) of channels-last frames: images with zeros around them. `plan` holds i32s, strides and widths in bytes: frame rows per
 * plane and planes per image; rows and planes above the image and in it; bytes of a frame row, of the zeros before the pixels and of the
 * pixels; pixels and channels of a row; and the source's strides of image, plane, row, pixel and channel. Frame planes that lie outside are zero.
 */
export function f32_frame(begin: i32, end: i32, plan: usize, src: usize, dst: usize): void {
  const frameRows = load<i32>(plan), framePlanes = load<i32>(plan, 4);
  const above = load<i32>(plan, 8), before = load<i32>(plan, 12);
  const height = load<i32>(plan, 16), depth = load<i32>(plan, 20);
  const frameBytes = <usize>load<i32>(plan, 24), left = <usize>load<i32>(plan, 28), lineBytes = <usize>load<i32>(plan, 32);
  const width = load<i32>(plan, 36), channels = load<i32>(plan, 40);
  const imageStride = <usize>load<i32>(plan, 44), planeStride = <usize>load<i32>(plan, 48), rowStride = <usize>load<i32>(plan, 52);
  const pixelStride = <usize>load<i32>(plan, 56), channelStride = <usize>load<i32>(plan, 60);
  const lines = pixelStride == <usize>channels << 2 && (channels == 1 || channelStride == 4);
  for (let unit = begin; unit < end; ++unit) {
    const plane = unit / frameRows;
    const image = plane / framePlanes;
    const y = unit - plane * frameRows - above;
    const z = plane - image * framePlanes - before;
    const to = dst + <usize>unit * frameBytes;
    if (y < 0 || y >= height || z < 0 || z >= depth) {
      memory.fill(to, 0, frameBytes);
      continue;
    }
    memory.fill(to, 0, left);
    memory.fill(to + left + lineBytes, 0, frameBytes - left - lineBytes);
    const from = src + <usize>image * imageStride + <usize>z * planeStride + <usize>y * rowStride;
    let out = to + left;
    if (lines) {
      memory.copy(out, from, lineBytes);
    } else if (channelStride == 4) {
      const bytes = <usize>channels << 2;
      let p = from;
      for (let x = 0; x < width; ++x, p += pixelStride, out += bytes) {
        for (let c: usize = 0; c < bytes; c += 4) store<f32>(out + c, load<f32>(p + c));
      }
    } else if (channels == 3) {
      let p = from;
      const second = channelStride, third = 2 * channelStride;
      for (let x = 0; x < width; ++x, p += pixelStride, out += 12) {
        store<f32>(out, load<f32>(p));
        store<f32>(out, load<f32>(p + second), 4);
        store<f32>(out, load<f32>(p + third), 8);
      }
    } else {
      const step = <usize>channels << 2;
      for (let c = 0; c < channels; ++c) {
        let p = from + <usize>c * channelStride, o = out + (<usize>c << 2);
        for (let x = 0; x < width; ++x, p += pixelStride, o += step) store<f32>(o, load<f32>(p));
      }
    }
  }
}
