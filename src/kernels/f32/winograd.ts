import { product } from '../../core/math.ts';
import type { Engine } from '../engine.ts';
import { PACKED_ROW_BYTES, panelCount, stageBias, stageRowTable, takesPairs } from './panels.ts';
import type { ConvGeometryF32 } from './window.ts';

/** Planes of a transformed tile: 4 × 4. */
export const WINOGRAD_PLANES = 16;

/** Bytes of a filter of 3 × 3 taps. */
const FILTER_BYTES = 36;

/** Bytes that the planes of a block of tiles may take, so that they stay in L2 between transform and product. */
const BLOCK_BYTES = 320 * 1024;

/** Tiles in a block at least: the panels of the filters are read again for every block. */
const LEAST_BLOCK = 48;

/** Tiles summed in float32 before they join the total of a weight gradient. */
const STEP_BLOCK = 256;

/** Fewer channels than this spend more on the transforms of tiles than the products save. */
const LEAST_CHANNELS = 16;

/** Fewer tiles than this spend more on the transform of the filters. */
const LEAST_TILES = 64;

type Take = (bytes: number) => number;

/**
 * Whether a convolution and its gradients run on tiles: 3×3 windows with stride and dilation 1 over two axes, enough
 * channels, in whole panels, and enough pixels.
 */
export function suitsWinograd(g: ConvGeometryF32): boolean {
  return (
    g.inSize.length === 2 &&
    g.groups === 1 &&
    g.kernel.every((k) => k === 3) &&
    g.stride.every((s) => s === 1) &&
    g.dilation.every((d) => d === 1) &&
    g.padding.every((p) => p <= 2) &&
    g.batch * product(g.outSize) >= 4 * LEAST_TILES &&
    [g.inChannels, g.outChannels].every((c) => c >= LEAST_CHANNELS && c % 8 === 0)
  );
}

/** An image size with its channels. */
interface Plane {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

function planeOf([height, width]: readonly number[], channels: number): Plane {
  return { height, width, channels };
}

/** Part of a block: rows of tiles of one image, and where they stand among the tiles of the block. */
interface Part {
  readonly image: number;
  readonly fromRow: number;
  readonly rows: number;
  readonly firstTile: number;
}

/** Tiles of 2×2 results over a batch of images, taken in blocks of whole images or of rows of one. */
class TileGrid {
  readonly rows: number;
  readonly columns: number;
  /** Largest number of tiles in a block. */
  readonly blockTiles: number;
  readonly #batch: number;
  readonly #images: number;
  readonly #strip: number;

  /** @param tileBytes what a tile takes in all planes together */
  constructor(
    batch: number,
    results: { readonly height: number; readonly width: number },
    tileBytes: number,
  ) {
    this.rows = Math.ceil(results.height / 2);
    this.columns = Math.ceil(results.width / 2);
    this.#batch = batch;
    const most = Math.max(LEAST_BLOCK, Math.floor(BLOCK_BYTES / tileBytes));
    this.#images = Math.max(1, Math.min(batch, Math.floor(most / (this.rows * this.columns))));
    this.#strip = Math.max(1, Math.min(this.rows, Math.floor(most / this.columns)));
    this.blockTiles = this.#images * this.#strip * this.columns;
  }

  /** Largest number of tile rows in a part. */
  get stripRows(): number {
    return this.#strip;
  }

  /** Calls `use` with the parts of every block and their number of tiles. */
  blocks(use: (parts: readonly Part[], tiles: number) => void): void {
    for (let first = 0; first < this.#batch; first += this.#images) {
      const images = Math.min(this.#images, this.#batch - first);
      for (let fromRow = 0; fromRow < this.rows; fromRow += this.#strip) {
        const rows = Math.min(this.#strip, this.rows - fromRow);
        const parts = Array.from({ length: images }, (_, i) => ({
          image: first + i,
          fromRow,
          rows,
          firstTile: i * rows * this.columns,
        }));
        use(parts, images * rows * this.columns);
      }
    }
  }
}

/** A window on an image with zeros around it, for one part at a time. */
class TileFrame {
  readonly rowBytes: number;
  readonly ptr: number;
  readonly #engine: Engine;
  readonly #source: Plane;
  readonly #padding: readonly [number, number];
  readonly #reach: number;
  readonly #stage: number;

  /**
   * @param padding zeros above and to the left of the source
   * @param reach pixels of a tile beyond its two by two: 2 for pixels under 3×3 windows, 0 for results
   */
  constructor(
    engine: Engine,
    take: Take,
    grid: TileGrid,
    source: Plane,
    padding: readonly [number, number],
    reach: number,
  ) {
    this.#engine = engine;
    this.#source = source;
    this.#padding = padding;
    this.#reach = reach;
    this.rowBytes = (2 * grid.columns + reach) * source.channels * 4;
    const rows = 2 * grid.stripRows + reach;
    this.ptr = take(rows * this.rowBytes);
    this.#stage = take(Math.min(rows, source.height) * source.width * source.channels * 4);
    engine.heap.u8.fill(0, this.ptr, this.ptr + rows * this.rowBytes);
  }

  /** Fills the frame with what the part's tiles see. */
  fill(data: Float32Array, { image, fromRow, rows }: Part): void {
    const { height, width, channels } = this.#source;
    const [above, left] = this.#padding;
    const { kernels, heap } = this.#engine;
    const first = 2 * fromRow - above;
    const count = 2 * rows + this.#reach;
    const low = Math.min(height, Math.max(0, first));
    const high = Math.max(low, Math.min(height, first + count));
    const start = (image * height + low) * width * channels;
    heap.f32.set(data.subarray(start, start + (high - low) * width * channels), this.#stage >> 2);
    const [top, bottom] = [low - first, high - first].map((row) => this.ptr + row * this.rowBytes);
    // The columns at the sides stay zero; rows outside the source hold another part's pixels.
    heap.u8.fill(0, this.ptr, top);
    heap.u8.fill(0, bottom, this.ptr + count * this.rowBytes);
    const lineBytes = width * channels * 4;
    const indent = left * channels * 4;
    // Windows need not reach the last columns.
    const seen = Math.min(lineBytes, this.rowBytes - indent);
    const lines = high - low;
    kernels.f32_copy_strided(
      this.#stage,
      0,
      lineBytes,
      0,
      top + indent,
      0,
      this.rowBytes,
      0,
      1,
      lines,
      1,
      seen,
    );
  }
}

/** Distance of two planes: an odd number of cache lines, so that the sixteen do not compete for the same places in L1. */
export function planeDistance(bytes: number): number {
  return (Math.ceil(bytes / 128) * 2 + 1) * 64;
}

/** Options of the products on tiles, all given. */
export interface WinogradOptions {
  /** One value per channel of the result. */
  readonly bias: Float32Array | null;
  readonly min: number;
  readonly max: number;
  readonly engine: Engine;
}

/**
 * Convolution (see `convForwardF32`) on Winograd tiles, where {@link suitsWinograd}. The results differ from the direct sums by
 * rounding, a few units in the last place of the largest of them; an infinite input turns its neighbours inside a tile into NaN.
 *
 * @param input `[batch][…inSize][inChannels]`
 * @param weight `[outChannels][inChannels][3][3]`
 * @param out `[batch][…outSize][outChannels]`, written
 */
export function winogradForwardF32(
  input: Float32Array,
  weight: Float32Array,
  g: ConvGeometryF32,
  out: Float32Array,
  options: WinogradOptions,
): void {
  tileProduct(
    {
      batch: g.batch,
      source: planeOf(g.inSize, g.inChannels),
      result: planeOf(g.outSize, g.outChannels),
      padding: [g.padding[0], g.padding[1]],
      weight,
      sourceStride: 1,
      resultStride: g.inChannels,
      flip: false,
    },
    input,
    out,
    options,
  );
}

/**
 * Gradient of a convolution's input (see `convInputGradF32`) on Winograd tiles: the convolution of the output's gradient with flipped
 * filters. Rounding and infinities as in {@link winogradForwardF32}.
 *
 * @param gradOut `[batch][…outSize][outChannels]`
 * @param weight `[outChannels][inChannels][3][3]`
 * @param out `[batch][…inSize][inChannels]`, written
 */
export function winogradInputGradF32(
  gradOut: Float32Array,
  weight: Float32Array,
  g: ConvGeometryF32,
  out: Float32Array,
  options: WinogradOptions,
): void {
  tileProduct(
    {
      batch: g.batch,
      source: planeOf(g.outSize, g.outChannels),
      result: planeOf(g.inSize, g.inChannels),
      padding: [2 - g.padding[0], 2 - g.padding[1]],
      weight,
      sourceStride: g.inChannels,
      resultStride: 1,
      flip: true,
    },
    gradOut,
    out,
    options,
  );
}

/** What {@link tileProduct} convolves, and with which filters. */
interface TileProduct {
  readonly batch: number;
  readonly source: Plane;
  readonly result: Plane;
  readonly padding: readonly [number, number];
  readonly weight: Float32Array;
  /** Distance, in filters, of neighbouring source and result channels in `weight`. */
  readonly sourceStride: number;
  readonly resultStride: number;
  /** Whether the filters' taps are read backwards. */
  readonly flip: boolean;
}

function tileProduct(
  { batch, source, result, padding, weight, sourceStride, resultStride, flip }: TileProduct,
  data: Float32Array,
  out: Float32Array,
  { bias, min, max, engine }: WinogradOptions,
): void {
  const { height, width } = result;
  const [k, n] = [source.channels, result.channels];
  const grid = new TileGrid(batch, result, WINOGRAD_PLANES * (k + n) * 4);
  const { kernels } = engine;
  const pairs = takesPairs(engine);
  engine.scratch((take) => {
    const filterBytes = k * n * 4;
    const filters = take(WINOGRAD_PLANES * filterBytes);
    // The weight as it came is needed for the transform only.
    engine.scratch((inner) => {
      const raw = inner(weight.length * 4);
      engine.heap.f32.set(weight, raw >> 2);
      kernels.f32_winograd_filters(
        raw,
        sourceStride * FILTER_BYTES,
        resultStride * FILTER_BYTES,
        flip,
        k,
        n,
        filters,
      );
    });
    const frame = new TileFrame(engine, take, grid, source, padding, 2);
    const sourcePlane = planeDistance(grid.blockTiles * k * 4);
    const resultPlane = planeDistance(grid.blockTiles * n * 4);
    const pixels = take(WINOGRAD_PLANES * sourcePlane);
    const results = take(WINOGRAD_PLANES * resultPlane);
    const rowTable = stageRowTable(engine, take, grid.blockTiles, k * 4);
    const outTable = stageRowTable(engine, take, grid.blockTiles, n * 4);
    const runTable = stageRowTable(engine, take, 1, 0);
    const zeros = stageBias(engine, take, null, n);
    const biases = stageBias(engine, take, bias, n);
    const image = take(2 * grid.stripRows * width * n * 4);
    grid.blocks((parts, tiles) => {
      for (const part of parts) {
        frame.fill(data, part);
        const to = pixels + part.firstTile * k * 4;
        kernels.f32_winograd_pixels(frame.ptr, frame.rowBytes, part.rows, grid.columns, k, to, sourcePlane);
      }
      for (let plane = 0; plane < WINOGRAD_PLANES; plane++) {
        kernels.f32_igemm(
          tiles,
          rowTable,
          pixels + plane * sourcePlane,
          outTable,
          results + plane * resultPlane,
          runTable,
          1,
          k,
          filters + plane * filterBytes,
          k * PACKED_ROW_BYTES,
          n,
          zeros,
          false,
          -Infinity,
          Infinity,
          tiles,
          pairs,
        );
      }
      for (const part of parts) {
        const from = results + part.firstTile * n * 4;
        const lines = Math.min(2 * part.rows, height - 2 * part.fromRow);
        kernels.f32_winograd_results(
          from,
          resultPlane,
          part.rows,
          grid.columns,
          n,
          image,
          lines,
          width,
          biases,
          min,
          max,
          0,
        );
        const start = (part.image * height + 2 * part.fromRow) * width * n;
        out.set(engine.heap.f32.subarray(image >> 2, (image >> 2) + lines * width * n), start);
      }
    });
  });
}

/**
 * Gradient of a convolution's weight (see `convWeightGradF32`) on Winograd tiles, where {@link suitsWinograd}: the transpose of the map
 * from filters to results. Rounding and infinities as in {@link winogradForwardF32}.
 *
 * @param input `[batch][…inSize][inChannels]`
 * @param gradOut `[batch][…outSize][outChannels]`
 * @param out `[outChannels][inChannels][3][3]`, written
 */
export function winogradWeightGradF32(
  input: Float32Array,
  gradOut: Float32Array,
  g: ConvGeometryF32,
  out: Float32Array,
  engine: Engine,
): void {
  const { batch, inChannels, outChannels } = g;
  const [height, width] = g.outSize;
  const grid = new TileGrid(batch, { height, width }, WINOGRAD_PLANES * (inChannels + outChannels) * 4);
  engine.scratch((take) => {
    const source = { height: g.inSize[0], width: g.inSize[1], channels: inChannels };
    const frame = new TileFrame(engine, take, grid, source, [g.padding[0], g.padding[1]], 2);
    const grads = new TileFrame(engine, take, grid, { height, width, channels: outChannels }, [0, 0], 0);
    const panelBytes = grid.blockTiles * PACKED_ROW_BYTES;
    const pixelPlane = planeDistance(grid.blockTiles * inChannels * 4);
    const gradPlane = planeDistance(panelCount(outChannels) * panelBytes);
    const pixels = take(WINOGRAD_PLANES * pixelPlane);
    const panels = take(WINOGRAD_PLANES * gradPlane);
    const rowTable = stageRowTable(engine, take, grid.blockTiles, inChannels * 4);
    const totalBytes = inChannels * outChannels * 4;
    const total = take(WINOGRAD_PLANES * totalBytes);
    const taps = take(out.length * 4);
    const { kernels, heap } = engine;
    const pairs = takesPairs(engine);
    heap.u8.fill(0, total, total + WINOGRAD_PLANES * totalBytes);
    grid.blocks((parts, tiles) => {
      for (const part of parts) {
        frame.fill(input, part);
        const to = pixels + part.firstTile * inChannels * 4;
        kernels.f32_winograd_pixels(
          frame.ptr,
          frame.rowBytes,
          part.rows,
          grid.columns,
          inChannels,
          to,
          pixelPlane,
        );
        grads.fill(gradOut, part);
        kernels.f32_winograd_gradients(
          grads.ptr,
          grads.rowBytes,
          part.rows,
          grid.columns,
          outChannels,
          panels + part.firstTile * PACKED_ROW_BYTES,
          gradPlane,
          panelBytes,
        );
      }
      for (let plane = 0; plane < WINOGRAD_PLANES; plane++) {
        for (let tile = 0; tile < tiles; tile += STEP_BLOCK) {
          kernels.f32_outer(
            Math.min(STEP_BLOCK, tiles - tile),
            rowTable + tile * 4,
            pixels + plane * pixelPlane,
            inChannels,
            panels + plane * gradPlane + tile * PACKED_ROW_BYTES,
            panelBytes,
            outChannels,
            total + plane * totalBytes,
            outChannels * 4,
            pairs,
          );
        }
      }
    });
    kernels.f32_winograd_taps(total, inChannels, outChannels, taps);
    out.set(heap.f32.subarray(taps >> 2, (taps >> 2) + out.length));
  });
}
