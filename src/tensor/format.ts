import { product, roundHalfEven } from '../core/math.ts';
import { DTYPES } from './dtype.ts';
import type { Tensor } from './tensor.ts';

/** PyTorch's defaults (`torch.set_printoptions`). */
const PRECISION = 4;
const THRESHOLD = 1000;
const EDGE_ITEMS = 3;
const LINE_WIDTH = 80;

/**
 * The text PyTorch prints for a tensor: aligned values, elided middles above 1000 elements, and the suffix
 * (dtype, size, qparams, grad) where PyTorch adds one. Source: `torch/_tensor_str.py`.
 *
 * @example
 * formatTensor(tensor([1, 2.5])); // 'tensor([1.0000, 2.5000])'
 */
export function formatTensor(x: Tensor): string {
  const prefix = 'tensor(';
  const suffixes: string[] = [];
  const kind = DTYPES[x.dtype].kind;
  const plain = x.dtype === 'float32' || x.dtype === 'int64' || x.dtype === 'bool';
  const values = x.numbers();
  if (kind === 'quantized') {
    suffixes.push(`size=(${x.shape.join(', ')}${x.shape.length === 1 ? ',' : ''})`, `dtype=torch.${x.dtype}`);
    suffixes.push(`quantization_scheme=torch.${x.qscheme()}`);
    const q = x.qparams;
    if (q?.scheme === 'per_tensor_affine') {
      suffixes.push(`scale=${pythonFloat(q.scale)}`, `zero_point=${q.zeroPoint}`);
    } else if (q) {
      suffixes.push(`scale=${formatTensor(x.qPerChannelScales())}`);
      suffixes.push(`zero_point=${formatTensor(x.qPerChannelZeroPoints())}`, `axis=${q.axis}`);
    }
  } else if (x.numel === 0) {
    if (x.ndim !== 1) suffixes.push(`size=(${x.shape.join(', ')})`);
    if (!plain || x.dtype !== 'float32') suffixes.push(`dtype=torch.${x.dtype}`);
  } else if (!plain) {
    suffixes.push(`dtype=torch.${x.dtype}`);
  }
  if (x.gradFn) suffixes.push(`grad_fn=<${x.gradFn.name}>`);
  else if (x.requiresGrad) suffixes.push('requires_grad=True');
  const body = x.numel === 0 ? '[]' : formatBody(values, x.shape, kind, prefix.length);
  return joinSuffixes(prefix + body, suffixes, prefix.length);
}

/** A Python `float`'s `repr`: what module reprs and qparams print. */
export function pythonFloat(v: number): string {
  if (Number.isNaN(v)) return 'nan';
  if (!Number.isFinite(v)) return v > 0 ? 'inf' : '-inf';
  if (Object.is(v, -0)) return '-0.0';
  if (v === 0) return '0.0';
  const magnitude = Math.abs(v);
  if (magnitude >= 1e16 || magnitude < 1e-4) {
    const [mantissa, exponent] = v.toExponential().split('e');
    return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  const text = String(v);
  return text.includes('.') ? text : `${text}.0`;
}

function formatBody(
  values: ArrayLike<number>,
  shape: readonly number[],
  kind: string,
  indent: number,
): string {
  const summarize = product(shape) > THRESHOLD;
  const { format, width: column } = numberFormat(shownValues(values, shape, summarize), kind);
  const level = (d: number, at: number, inner: number): string => {
    if (d === shape.length) return format(values[at]);
    const n = shape[d];
    const step = inner / n;
    const picks: number[] = [];
    for (let i = 0; i < n; i++) {
      if (summarize && n > 2 * EDGE_ITEMS && i === EDGE_ITEMS) {
        picks.push(-1);
        i = n - EDGE_ITEMS;
      }
      picks.push(i);
    }
    const pad = ' '.repeat(indent + d + 1);
    if (d === shape.length - 1) {
      const parts = picks.map((i) => (i < 0 ? ' ...' : format(values[at + i])));
      const width = Math.max(1, Math.floor((LINE_WIDTH - indent - d) / (column + 2)));
      const lines: string[] = [];
      for (let i = 0; i < parts.length; i += width) lines.push(parts.slice(i, i + width).join(', '));
      return `[${lines.join(`,\n${pad}`)}]`;
    }
    const gap = `,${'\n'.repeat(shape.length - d - 1)}${pad}`;
    return `[${picks.map((i) => (i < 0 ? '...' : level(d + 1, at + i * step, step))).join(gap)}]`;
  };
  return level(0, 0, product(shape));
}

/** The values that will be seen; the format is chosen from these alone, as in PyTorch. */
function shownValues(values: ArrayLike<number>, shape: readonly number[], summarize: boolean): number[] {
  if (!summarize) return Array.from(values);
  const out: number[] = [];
  const walk = (d: number, at: number, inner: number): void => {
    if (d === shape.length) {
      out.push(values[at]);
      return;
    }
    const step = inner / shape[d];
    for (let i = 0; i < shape[d]; i++) {
      if (shape[d] > 2 * EDGE_ITEMS && i >= EDGE_ITEMS && i < shape[d] - EDGE_ITEMS) continue;
      walk(d + 1, at + i * step, step);
    }
  };
  walk(0, 0, product(shape));
  return out;
}

/** How numbers are written, and how wide PyTorch takes a column of them to be. */
interface NumberFormat {
  readonly format: (v: number) => string;
  readonly width: number;
}

function numberFormat(shown: readonly number[], kind: string): NumberFormat {
  if (kind === 'bool') return padded(shown, (v) => (v ? 'True' : 'False'));
  if (kind === 'integer') return padded(shown, String);
  // Zeros, NaN and infinities have no say in PyTorch's choice of notation and width.
  const counted = shown.filter((v) => Number.isFinite(v) && v !== 0);
  if (counted.length === 0) return padded([], (v) => special(v) ?? wholeFloat(v));
  const magnitudes = counted.map(Math.abs);
  const largest = magnitudes.reduce((a, b) => Math.max(a, b));
  const smallest = magnitudes.reduce((a, b) => Math.min(a, b));
  const whole = counted.every(Number.isInteger);
  const scientific = largest / smallest > 1000 || largest > 1e8 || (!whole && smallest < 1e-4);
  const text = scientific ? exponential : whole ? wholeFloat : fixed;
  return padded(counted, (v) => special(v) ?? text(v));
}

/** Pads every number to the widest of `counted`. */
function padded(counted: readonly number[], text: (v: number) => string): NumberFormat {
  const width = counted.reduce((widest, v) => Math.max(widest, text(v).length), 1);
  return { format: (v) => text(v).padStart(width), width };
}

function special(v: number): string | null {
  return Number.isNaN(v) ? 'nan' : Number.isFinite(v) ? null : v > 0 ? 'inf' : '-inf';
}

function wholeFloat(v: number): string {
  return `${Object.is(v, -0) ? '-0' : v}.`;
}

function fixed(v: number): string {
  // Only odd multiples of 1/32 lie halfway between two numbers of four decimals; C rounds those to even.
  const s = (Number.isInteger(v * 32) ? roundHalfEven(v * 1e4) / 1e4 : v).toFixed(PRECISION);
  return Object.is(v, -0) ? `-${s}` : s;
}

function exponential(v: number): string {
  // Thirty digits tell an exact half, which C rounds to even, from every other double.
  const [exact] = v.toExponential(30).split('e');
  const [rounded, exponent] = v.toExponential(PRECISION).split('e');
  const isHalf = /^-?\d\.\d{3}[02468]50*$/.test(exact);
  const mantissa = isHalf ? exact.slice(0, exact.indexOf('.') + 1 + PRECISION) : rounded;
  const sign = Object.is(v, -0) ? '-' : '';
  return `${sign}${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}

function joinSuffixes(text: string, suffixes: readonly string[], indent: number): string {
  let out = text;
  // PyTorch counts two characters too many here, and so breaks that much earlier.
  let column = out.length - out.lastIndexOf('\n') + 1;
  for (const suffix of suffixes) {
    if (column + suffix.length + 2 > LINE_WIDTH) {
      out += `,\n${' '.repeat(indent)}${suffix}`;
      column = indent + suffix.length;
    } else {
      out += `, ${suffix}`;
      column += suffix.length + 2;
    }
  }
  return `${out})`;
}
