import { clampNumber } from '../core/math.ts';

/**
 * Draws round pen strokes with soft edges (up to 2 pixels wide) into a square grayscale image. A pixel's ink is how far it lies inside the
 * nearest stroke, so crossings do not get darker.
 */
export class PenCanvas {
  readonly size: number;
  /** Pen radius minus distance to the nearest stroke, per pixel, in pixels. */
  readonly #depth: Float32Array;

  constructor(size: number) {
    this.size = size;
    this.#depth = new Float32Array(size * size);
    this.clear();
  }

  /** Wipes the canvas. */
  clear(): void {
    this.#depth.fill(-1e3);
  }

  /** Draws from (x0, y0) to (x1, y1), in pixels (centres at halves), with a pen whose radius goes from r0 to r1. */
  segment(x0: number, y0: number, r0: number, x1: number, y1: number, r1: number): void {
    const { size } = this;
    const depth = this.#depth;
    const reach = Math.max(r0, r1) + 1;
    const left = Math.max(0, Math.floor(Math.min(x0, x1) - reach));
    const right = Math.min(size - 1, Math.ceil(Math.max(x0, x1) + reach));
    const top = Math.max(0, Math.floor(Math.min(y0, y1) - reach));
    const bottom = Math.min(size - 1, Math.ceil(Math.max(y0, y1) + reach));
    const dx = x1 - x0;
    const dy = y1 - y0;
    const inverse = 1 / (dx * dx + dy * dy + 1e-12);
    for (let y = top; y <= bottom; y++) {
      const py = y + 0.5 - y0;
      for (let x = left; x <= right; x++) {
        const px = x + 0.5 - x0;
        const t = clampNumber((px * dx + py * dy) * inverse, 0, 1);
        const ex = px - t * dx;
        const ey = py - t * dy;
        const inside = r0 + t * (r1 - r0) - Math.sqrt(ex * ex + ey * ey);
        const at = y * size + x;
        if (inside > depth[at]) depth[at] = inside;
      }
    }
  }

  /** Ink of every pixel, 0 to 1, written to `out` from `offset`. Edges fade over `softness` pixels, at most 2. */
  develop(out: Float32Array, offset: number, softness: number): void {
    const depth = this.#depth;
    const slope = 1 / softness;
    for (let i = 0; i < depth.length; i++) {
      out[offset + i] = clampNumber(0.5 + depth[i] * slope, 0, 1);
    }
  }
}
