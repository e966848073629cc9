import { product } from '../../core/math.ts';
import type { Engine } from '../engine.ts';
import { PANEL_COLUMNS } from './panels.ts';
import type { AxisPhase, Phase, Sweep } from './window.ts';

/** Bytes of source or destination that a block may take, so that what is copied in is still in L2 when it is used. */
const BLOCK_BYTES = 256 * 1024;

type Take = (bytes: number) => number;

/** One phase of a sweep with its frame and tables in wasm memory. All tables hold byte offsets. */
export interface StagedPhase {
  readonly phase: Phase;
  /** Where window rows start, relative to the block's source. */
  readonly rowTable: number;
  /** Where destination rows start, relative to the block's destination. */
  readonly outTable: number;
  /** Offsets of the runs of contiguous floats that a window reads. */
  readonly runTable: number;
  readonly runs: number;
  /** Floats per run: one tap's channels of a group, or a whole row of taps where they lie next to each other. */
  readonly runLength: number;
  /** Flat kernel index of every tap, in reading order. */
  readonly taps: readonly number[];
}

/** What one step of {@link Sliding.blocks} offers: part of the destination and everything its windows read. */
export interface Block {
  /** First float and number of floats of this part in the destination array. */
  readonly destOffset: number;
  readonly destLength: number;
  /** Address of a phase's source; row and run tables are relative to it. Frames it first where windows leave the source. */
  source(staged: StagedPhase): number;
  /** Destination positions of a phase within this part. */
  rows(staged: StagedPhase): number;
}

interface Frame extends StagedPhase {
  /** Whether windows can leave the source, so that it has to be copied into zeros. */
  readonly framed: boolean;
  readonly extent: readonly [number, number, number];
  /** Source coordinate of the frame's first element (of the first strip). */
  readonly origin: readonly [number, number, number];
  readonly ptr: number;
  filled: string;
}

/**
 * Walks a sweep of windows in blocks that fit the cache: several images, or strips of a large one.
 *
 * A block's source is copied into wasm memory once, into a frame of zeros where windows reach over the border. That makes the address of
 * every tap a constant distance from its window's first, so the indirection needs one table entry per window row and one per run,
 * and neither im2col nor a pointer per window and tap.
 */
export class Sliding {
  readonly engine: Engine;
  readonly sweep: Sweep;
  readonly phases: readonly StagedPhase[];
  /** Largest number of destination floats in a block. */
  readonly blockFloats: number;
  readonly #frames: readonly Frame[];
  readonly #images: number;
  readonly #strip: number;
  readonly #stripAxis: number;
  readonly #stage: number;

  constructor(engine: Engine, take: Take, sweep: Sweep) {
    this.engine = engine;
    this.sweep = sweep;
    const { sourceSize, destSize, sourceChannels, destChannels, batch } = sweep;
    const sourceBytes = product(sourceSize) * sourceChannels * 4;
    const destBytes = product(destSize) * destChannels * 4;
    const fits = Math.floor(BLOCK_BYTES / Math.max(1, sourceBytes, destBytes));
    this.#images = Math.max(1, Math.min(batch, fits));
    const axis = destSize.findIndex((size) => size > 1);
    this.#stripAxis = axis < 0 ? 2 : axis;
    const positions = Math.max(1, ...sweep.phases.map((phase) => phase[this.#stripAxis].count));
    const share = BLOCK_BYTES / Math.max(sourceBytes, destBytes);
    this.#strip = fits >= 1 ? positions : Math.max(1, Math.min(positions, Math.floor(positions * share)));
    const step = sweep.phases[0]?.[this.#stripAxis].step ?? 1;
    const inner = product(destSize.slice(this.#stripAxis + 1)) * destChannels;
    this.blockFloats = this.#images * Math.min(destSize[this.#stripAxis], this.#strip * step) * inner;
    this.#stage = take(this.#stagedFloats() * 4 + PANEL_COLUMNS * 4);
    this.#frames = sweep.phases
      .filter((phase) => phase.every((axisPhase) => axisPhase.count > 0))
      .map((phase) => this.#frame(take, phase));
    this.phases = this.#frames;
  }

  /** Whether the sweep is cut into strips of single images. */
  get #strips(): boolean {
    return this.#strip < Math.max(1, ...this.sweep.phases.map((phase) => phase[this.#stripAxis].count));
  }

  /** Source range [from, to) along the strip axis that positions [j0, j1) read in any phase, cut to the source. */
  #sourceRange(j0: number, j1: number): [number, number] {
    const size = this.sweep.sourceSize[this.#stripAxis];
    if (!this.#strips) return [0, size];
    let from = size;
    let to = 0;
    for (const phase of this.sweep.phases) {
      const { taps, inStep } = phase[this.#stripAxis];
      if (taps.length === 0) continue;
      from = Math.min(from, j0 * inStep + taps[0].offset);
      to = Math.max(to, (j1 - 1) * inStep + taps[taps.length - 1].offset + 1);
    }
    from = Math.min(size, Math.max(0, from));
    return [from, Math.max(from, Math.min(size, to))];
  }

  #stagedFloats(): number {
    const { sourceSize, sourceChannels } = this.sweep;
    const axis = this.#stripAxis;
    let rows = sourceSize[axis];
    if (this.#strips) {
      rows = 0;
      for (let j = 0; j < this.sweep.destSize[axis]; j += this.#strip) {
        const [from, to] = this.#sourceRange(j, j + this.#strip);
        rows = Math.max(rows, to - from);
      }
    }
    return (this.#images * product(sourceSize) * sourceChannels * rows) / Math.max(1, sourceSize[axis]);
  }

  #frame(take: Take, phase: Phase): Frame {
    const { sweep, engine } = this;
    const { sourceSize, sourceChannels, destSize, destChannels, groups } = sweep;
    const extent: [number, number, number] = [0, 0, 0];
    const origin: [number, number, number] = [0, 0, 0];
    let framed = false;
    const counts = phase.map((axisPhase, axis) =>
      axis === this.#stripAxis ? Math.min(this.#strip, axisPhase.count) : axisPhase.count,
    );
    phase.forEach(({ taps, inStep }, axis) => {
      if (taps.length === 0) return;
      const low = taps[0].offset;
      const high = (counts[axis] - 1) * inStep + taps[taps.length - 1].offset;
      if (axis === this.#stripAxis && this.#strips) {
        // Strips in the middle lie inside the source; whether one has to be framed is decided strip by strip.
        origin[axis] = low;
        extent[axis] = high - low + 1;
      } else if (low >= 0 && high < sourceSize[axis]) {
        extent[axis] = sourceSize[axis];
      } else {
        framed = true;
        origin[axis] = low;
        extent[axis] = high - low + 1;
      }
    });
    const pixel = sourceChannels * 4;
    const strides = [extent[1] * extent[2] * pixel, extent[2] * pixel, pixel];
    const imageBytes = extent[0] * strides[0];
    const taps: number[] = [];
    const offsets: number[] = [];
    for (const a of phase[0].taps) {
      for (const b of phase[1].taps) {
        for (const c of phase[2].taps) {
          taps.push((a.index * sweep.kernel[1] + b.index) * sweep.kernel[2] + c.index);
          offsets.push(
            (a.offset - origin[0]) * strides[0] +
              (b.offset - origin[1]) * strides[1] +
              (c.offset - origin[2]) * strides[2],
          );
        }
      }
    }
    const merged = groups === 1 && taps.length > 0 && adjacent(phase[2]) ? phase[2].taps.length : 1;
    const runs = offsets.filter((_, i) => i % merged === 0);
    const rows = this.#images * product(counts);
    const rowTable = take(rows * 4);
    const outTable = take(rows * 4);
    const runTable = take(runs.length * 4);
    const ptr = framed || this.#strips ? take(this.#images * imageBytes + PANEL_COLUMNS * 4) : 0;
    const u32 = engine.heap.u32;
    u32.set(runs, runTable >> 2);
    const destImage = product(destSize) * destChannels * 4;
    let at = 0;
    for (let image = 0; image < this.#images; image++) {
      for (let i = 0; i < counts[0]; i++) {
        for (let j = 0; j < counts[1]; j++) {
          const row =
            image * imageBytes + i * phase[0].inStep * strides[0] + j * phase[1].inStep * strides[1];
          const line =
            (phase[0].start + i * phase[0].step) * destSize[1] + phase[1].start + j * phase[1].step;
          for (let l = 0; l < counts[2]; l++, at++) {
            u32[(rowTable >> 2) + at] = row + l * phase[2].inStep * strides[2];
            const position = line * destSize[2] + phase[2].start + l * phase[2].step;
            u32[(outTable >> 2) + at] = image * destImage + position * destChannels * 4;
          }
        }
      }
    }
    return {
      phase,
      rowTable,
      outTable,
      runTable,
      runs: runs.length,
      runLength: merged * (sourceChannels / groups),
      taps,
      framed,
      extent,
      origin,
      ptr,
      filled: '',
    };
  }

  /** Copies the source block by block and hands each block to `use`. */
  blocks(source: Float32Array, use: (block: Block) => void): void {
    const { batch, destSize, destChannels, sourceSize, sourceChannels, phases } = this.sweep;
    const axis = this.#stripAxis;
    const positions = Math.max(0, ...phases.map((phase) => phase[axis].count));
    const step = phases[0]?.[axis].step ?? 1;
    const destRow = product(destSize.slice(axis + 1)) * destChannels;
    const destImage = product(destSize) * destChannels;
    const sourceRow = product(sourceSize.slice(axis + 1)) * sourceChannels;
    const outer = product(sourceSize.slice(0, axis));
    for (let image = 0; image < batch; image += this.#images) {
      const images = Math.min(this.#images, batch - image);
      for (let j0 = 0; j0 < positions; j0 += this.#strip) {
        const j1 = Math.min(positions, j0 + this.#strip);
        const [from, to] = this.#sourceRange(j0, j1);
        const f32 = this.engine.heap.f32;
        const lines = images * outer;
        const lineFloats = sourceSize[axis] * sourceRow;
        if (to - from === sourceSize[axis]) {
          const first = image * outer * lineFloats;
          f32.set(source.subarray(first, first + lines * lineFloats), this.#stage >> 2);
        } else {
          for (let line = 0; line < lines; line++) {
            const first = (image * outer + line) * lineFloats + from * sourceRow;
            const count = (to - from) * sourceRow;
            f32.set(source.subarray(first, first + count), (this.#stage >> 2) + line * count);
          }
        }
        const destFrom = j0 * step;
        const destTo = Math.min(destSize[axis], j1 * step);
        use({
          destOffset: image * destImage + destFrom * destRow,
          destLength: images === 1 ? (destTo - destFrom) * destRow : images * destImage,
          source: (staged) => this.#source(staged as Frame, images, j0, from, to),
          rows: ({ phase }) => {
            const inStrip = Math.max(0, Math.min(j1, phase[axis].count) - j0);
            return phase.reduce((rows, { count }, i) => rows * (i === axis ? inStrip : count), images);
          },
        });
      }
    }
  }

  /** Address of what a phase reads in the current block: the staged source, or a frame it is copied into. */
  #source(frame: Frame, images: number, j0: number, from: number, to: number): number {
    if (frame.taps.length === 0) return frame.ptr;
    const { sourceSize, sourceChannels } = this.sweep;
    const axis = this.#stripAxis;
    const pixel = sourceChannels * 4;
    const staged = [...sourceSize];
    staged[axis] = to - from;
    const rowBytes = product(staged.slice(axis + 1)) * pixel;
    const origin = [...frame.origin];
    if (this.#strips) {
      origin[axis] += j0 * frame.phase[axis].inStep;
      const inside = origin[axis] >= from && origin[axis] + frame.extent[axis] <= to;
      if (inside && !frame.framed && product(sourceSize.slice(0, axis)) === 1) {
        return this.#stage + (origin[axis] - from) * rowBytes;
      }
      origin[axis] -= from;
    } else if (!frame.framed) return this.#stage;
    const { extent } = frame;
    const low = origin.map((o) => Math.max(0, o));
    const counts = origin.map((o, i) => Math.max(0, Math.min(staged[i], o + extent[i]) - low[i]));
    const shift = low.map((l, i) => l - origin[i]);
    const filled = `${images} ${counts} ${shift}`;
    if (frame.filled !== filled) {
      // The same cells are overwritten in every block of the same shape; the border stays zero.
      const floats = this.#images * product(extent);
      this.engine.heap.f32.fill(0, frame.ptr >> 2, (frame.ptr >> 2) + floats * sourceChannels);
      frame.filled = filled;
    }
    const sourcePlane = staged[1] * staged[2] * pixel;
    const framePlane = extent[1] * extent[2] * pixel;
    if (product(counts) > 0) {
      const src = this.#stage + low[0] * sourcePlane + (low[1] * staged[2] + low[2]) * pixel;
      const dst = frame.ptr + shift[0] * framePlane + (shift[1] * extent[2] + shift[2]) * pixel;
      for (let image = 0; image < images; image++) {
        this.engine.kernels.f32_copy_strided(
          src + image * staged[0] * sourcePlane,
          sourcePlane,
          staged[2] * pixel,
          0,
          dst + image * extent[0] * framePlane,
          framePlane,
          extent[2] * pixel,
          0,
          counts[0],
          counts[1],
          1,
          counts[2] * pixel,
        );
      }
    }
    return frame.ptr;
  }
}

/** Whether the taps of an axis read neighbouring positions, so that together they read one contiguous run. */
function adjacent({ taps }: AxisPhase): boolean {
  return taps.every((tap, i) => i === 0 || tap.offset === taps[i - 1].offset + 1);
}
