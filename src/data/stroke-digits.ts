import { ArgumentError } from '../core/errors.ts';
import { clampNumber } from '../core/math.ts';
import { Generator } from '../core/random.ts';
import { fromStorage, type Tensor } from '../tensor/tensor.ts';
import { PenCanvas } from './rasterize.ts';
import { DIGIT_SKELETONS, type Skeleton, type Stroke } from './stroke-skeletons.ts';

/** Settings of {@link strokeDigits}. */
export interface StrokeDigitsOptions {
  /** How many images. */
  readonly count: number;
  /** The same seed gives the same images; 0. */
  readonly seed?: number;
  /** Width and height in pixels; 28. */
  readonly size?: number;
  /** float32 in 0 … 1, or uint8 in 0 … 255; float32. */
  readonly dtype?: 'float32' | 'uint8';
  /** How far hands differ: 0 draws every digit alike, 1 is a careless crowd; 1. */
  readonly difficulty?: number;
}

/** Images with their digits. */
export interface StrokeDigits {
  /** [count, 1, size, size], white ink on black. */
  readonly images: Tensor;
  /** [count], int64, 0 to 9. */
  readonly labels: Tensor;
}

/**
 * Handwriting-like digits, drawn rather than loaded: each is one of several stroke skeletons of its digit under random
 * jitter, slant, stretch, wobble, pen width and pressure, with gaps, stray marks and noise. A small convolutional network
 * gets near 98 % of them right, so accuracy lost to quantization shows.
 *
 * @throws {@link ArgumentError} for a count or size that is not a whole number above 0.
 * @example
 * const { images, labels } = strokeDigits({ count: 10_000, seed: 1 });
 * const train = new TensorDataset(images, labels);
 */
export function strokeDigits(options: StrokeDigitsOptions): StrokeDigits {
  const { count, seed = 0, size = 28, dtype = 'float32', difficulty = 1 } = options;
  checkWhole('count', count, 0);
  checkWhole('size', size, 8);
  const random = new Generator(seed);
  const canvas = new PenCanvas(size);
  const pixels = new Float32Array(count * size * size);
  const labels = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const digit = random.below(10);
    labels[i] = digit;
    const ways = DIGIT_SKELETONS[digit];
    drawDigit(canvas, ways[random.below(ways.length)], random, difficulty);
    finishImage(canvas, pixels, i * size * size, random, difficulty);
  }
  const storage = dtype === 'uint8' ? toBytes(pixels) : pixels;
  return {
    images: fromStorage(storage, [count, 1, size, size], dtype),
    labels: fromStorage(labels, [count], 'int64'),
  };
}

/** Steps per span between two points of a smooth stroke. */
const STEPS = 6;

/** A hand's way of moving points: slant, stretch and wobble, from the unit square to pixels. */
class Hand {
  readonly #a: number;
  readonly #b: number;
  readonly #c: number;
  readonly #d: number;
  readonly #shiftX: number;
  readonly #shiftY: number;
  readonly #wobble: number;
  readonly #phaseX: number;
  readonly #phaseY: number;
  readonly #frequency: number;
  x = 0;
  y = 0;

  constructor(random: Generator, size: number, difficulty: number) {
    const spread = (range: number): number => (random.uniform() * 2 - 1) * range * difficulty;
    const angle = spread(0.26);
    const slant = spread(0.32) - 0.06 * difficulty;
    const width = size * (0.78 + spread(0.2));
    const height = size * (0.8 + spread(0.14));
    const cos = Math.cos(angle);
    const sin = Math.sin(angle);
    this.#a = cos * width;
    this.#b = (cos * slant - sin) * height;
    this.#c = sin * width;
    this.#d = (sin * slant + cos) * height;
    this.#shiftX = size * (0.5 + spread(0.075));
    this.#shiftY = size * (0.5 + spread(0.075));
    this.#wobble = size * (0.012 + 0.028 * random.uniform()) * difficulty;
    this.#phaseX = random.uniform() * 2 * Math.PI;
    this.#phaseY = random.uniform() * 2 * Math.PI;
    this.#frequency = 4 + 5 * random.uniform();
  }

  /** Sets {@link x} and {@link y} to where a point of the unit square lands. */
  move(u: number, v: number): void {
    const s = u - 0.5;
    const t = v - 0.5;
    const { sin } = Math;
    this.x =
      this.#a * s + this.#b * t + this.#shiftX + this.#wobble * sin(this.#frequency * t + this.#phaseX);
    this.y =
      this.#c * s + this.#d * t + this.#shiftY + this.#wobble * sin(this.#frequency * s + this.#phaseY);
  }
}

function drawDigit(canvas: PenCanvas, skeleton: Skeleton, random: Generator, difficulty: number): void {
  const { size } = canvas;
  canvas.clear();
  const hand = new Hand(random, size, difficulty);
  const radius = size * (0.044 + 0.022 * (random.uniform() * 2 - 1) * difficulty);
  const jitter = 0.03 * difficulty;
  for (const stroke of skeleton) {
    const points = stroke.points.map((v) => v + jitter * (random.uniform() + random.uniform() - 1));
    const gap = random.uniform() < 0.12 * difficulty ? random.uniform() : 2;
    drawStroke(canvas, hand, stroke, points, radius, gap, random);
  }
  if (random.uniform() < 0.15 * difficulty) strayMark(canvas, radius, random);
}

function drawStroke(
  canvas: PenCanvas,
  hand: Hand,
  stroke: Stroke,
  points: readonly number[],
  radius: number,
  gap: number,
  random: Generator,
): void {
  const spans = points.length / 2 - 1;
  const steps = spans * STEPS;
  const pressure = 0.3 * random.uniform();
  const phase = random.uniform() * 2 * Math.PI;
  // Pens land and lift a little early or late.
  const start = Math.round(random.uniform() * 0.06 * steps);
  const end = steps - Math.round(random.uniform() * 0.06 * steps);
  let x0 = 0;
  let y0 = 0;
  let r0 = 0;
  for (let i = start; i <= end; i++) {
    const span = Math.min(Math.floor(i / STEPS), spans - 1);
    const t = i / STEPS - span;
    hand.move(
      along(points, 0, span, spans, t, stroke.smooth),
      along(points, 1, span, spans, t, stroke.smooth),
    );
    const r1 = radius * (1 + pressure * Math.sin((2 * Math.PI * i) / steps + phase));
    const lifted = Math.abs(i / steps - gap) < 0.035;
    if (i > start && !lifted) canvas.segment(x0, y0, r0, hand.x, hand.y, r1);
    x0 = hand.x;
    y0 = hand.y;
    r0 = r1;
  }
}

/** A coordinate (0: x, 1: y) at `t` in 0 … 1 of a span: on a line, or on a Catmull-Rom spline. */
function along(
  points: readonly number[],
  axis: number,
  span: number,
  spans: number,
  t: number,
  smooth: boolean,
): number {
  const p1 = points[2 * span + axis];
  const p2 = points[2 * span + 2 + axis];
  if (!smooth) return p1 + t * (p2 - p1);
  const p0 = span > 0 ? points[2 * span - 2 + axis] : 2 * p1 - p2;
  const p3 = span < spans - 1 ? points[2 * span + 4 + axis] : 2 * p2 - p1;
  const m1 = (p2 - p0) / 2;
  const m2 = (p3 - p1) / 2;
  return p1 + t * (m1 + t * (3 * (p2 - p1) - 2 * m1 - m2 + t * (2 * (p1 - p2) + m1 + m2)));
}

/** A short mark near the border, such as the neighbour's pen leaves. */
function strayMark(canvas: PenCanvas, radius: number, random: Generator): void {
  const { size } = canvas;
  const angle = random.uniform() * 2 * Math.PI;
  const x = size * (0.5 + 0.46 * Math.cos(angle));
  const y = size * (0.5 + 0.46 * Math.sin(angle));
  const direction = random.uniform() * 2 * Math.PI;
  const length = size * (0.06 + 0.16 * random.uniform());
  const r = radius * (0.6 + 0.4 * random.uniform());
  canvas.segment(x, y, r, x + length * Math.cos(direction), y + length * Math.sin(direction), r);
}

function finishImage(
  canvas: PenCanvas,
  pixels: Float32Array,
  offset: number,
  random: Generator,
  difficulty: number,
): void {
  canvas.develop(pixels, offset, 1 + 0.8 * random.uniform());
  const ink = 1 - 0.35 * random.uniform() * difficulty;
  const noise = 0.25 * random.uniform() * difficulty;
  const n = canvas.size * canvas.size;
  for (let i = offset; i < offset + n; i++) {
    // Two 16-bit halves of one word: triangular noise for the price of one draw.
    const word = random.random32();
    const grain = ((word & 0xffff) + (word >>> 16)) / 65535 - 1;
    pixels[i] = clampNumber(pixels[i] * ink + noise * grain, 0, 1);
  }
}

function toBytes(pixels: Float32Array): Uint8Array {
  const bytes = new Uint8Array(pixels.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = pixels[i] * 255 + 0.5;
  return bytes;
}

function checkWhole(argument: string, value: number, low: number): void {
  if (Number.isInteger(value) && value >= low) return;
  throw new ArgumentError({
    fn: 'strokeDigits',
    argument,
    expected: `a whole number from ${low} up`,
    got: String(value),
  });
}
