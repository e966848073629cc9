/** Float networks as chains of tfjs operators. Images lie as [batch, height, width, channels], as tfjs wants them. */
import type { Node } from '../../../src/fx/node.ts';
import type { Tensor } from '../../../src/index.ts';
import { type ConvStep, floats, type Network, type Pads, transposed } from '../network.ts';

/** What is used of a tfjs tensor. */
export interface TfTensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** `@tensorflow/tfjs-core`: its operators are called by name. */
export interface Tfjs {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tidy<T>(body: () => T): T;
  tensor(data: ArrayLike<number>, shape: readonly number[], dtype?: string): TfTensor;
  readonly fused: any;
  readonly [op: string]: any;
}

export interface TfjsGraph {
  run(): TfTensor;
  dispose(): void;
}

type Value = TfTensor | TfTensor[];
type Get = (node: Node) => any;
/** Makes what an operator needs once (constants) and gives what runs each time. */
type Rule = (tf: Tfjs, args: readonly any[], out: Node, keep: Keep) => (get: Get) => Value;
type Keep = (data: ArrayLike<number>, shape: readonly number[], dtype?: string) => TfTensor;

/** The network ready to run on one input. */
export function buildTfjs(tf: Tfjs, network: Network, input: Tensor): TfjsGraph {
  const constants: TfTensor[] = [];
  const keep: Keep = (data, shape, dtype = 'float32') => {
    constants.push(tf.tensor(data, shape, dtype));
    return constants[constants.length - 1];
  };
  const image = input.ndim === 4;
  const fed = image
    ? keep(
        floats(input.permute(0, 2, 3, 1).contiguous()),
        [0, 2, 3, 1].map((d) => input.shape[d]),
      )
    : keep(Int32Array.from(input.numbers()), input.shape, 'int32');
  const steps = network.steps.map((step) => {
    if (step.kind === 'conv') return { out: step.out, run: conv(tf, step, keep) };
    const rule = step.kind === 'op' ? RULES[step.op] : undefined;
    if (step.kind !== 'op' || !rule) throw new Error(`no tfjs rule for ${step.out.name}`);
    return { out: step.out, run: rule(tf, step.args, step.out, keep) };
  });
  return {
    run: () =>
      tf.tidy(() => {
        const values = new Map<Node, Value>([[network.input, fed]]);
        for (const { out, run } of steps)
          values.set(
            out,
            run((node) => values.get(node)),
          );
        return values.get(network.output) as TfTensor;
      }),
    dispose: () => {
      for (const x of constants) x.dispose();
    },
  };
}

function explicitPads({ begin, end }: Pads): number[][] {
  return [
    [0, 0],
    [begin[0], end[0]],
    [begin[1], end[1]],
    [0, 0],
  ];
}

function conv(tf: Tfjs, step: ConvStep, keep: Keep): (get: Get) => TfTensor {
  const [channels, perGroup, height, width] = step.shape;
  const depthwise = perGroup === 1 && step.geometry.groups === channels;
  if (!depthwise && step.geometry.groups !== 1) throw new Error('grouped convolutions are not built');
  const taps = height * width;
  const filter = new Float32Array(step.weight.length);
  // From [out, in, height, width] to [height, width, in, out]; depthwise to [height, width, channels, 1].
  for (let o = 0; o < channels; o++)
    for (let i = 0; i < perGroup; i++)
      for (let t = 0; t < taps; t++)
        filter[(t * perGroup + i) * channels + o] = step.weight[(o * perGroup + i) * taps + t];
  const common = {
    filter: keep(filter, depthwise ? [height, width, channels, 1] : [height, width, perGroup, channels]),
    strides: step.geometry.stride,
    pad: explicitPads(step.pads),
    dilations: step.geometry.dilation,
    bias: keep(step.bias, [channels]),
    activation: step.activation ?? 'linear',
  };
  const op = depthwise ? tf.fused.depthwiseConv2d : tf.fused.conv2d;
  return (get) => op({ x: get(step.input), ...common });
}

/** A call of the tfjs operator of that name on all arguments. */
function plain(name: string): Rule {
  return (tf, args, _, keep) => {
    const given = args.map((arg) =>
      typeof arg === 'object' && 'data' in arg ? keep(floats(arg), arg.shape) : arg,
    );
    return (get) => tf[name](...given.map((arg) => (isNode(arg) ? get(arg) : arg)));
  };
}

function isNode(arg: any): arg is Node {
  return typeof arg === 'object' && arg !== null && 'users' in arg;
}

/** The axis of an image in tfjs's order. */
function imageAxis(axis: number, ndim: number): number {
  return ndim === 4 ? [0, 3, 1, 2][axis] : axis;
}

const reshape: Rule =
  (tf, [x], out) =>
  (get) =>
    tf.reshape(get(x), out.meta.shape);

/** By the names of our operators. */
const RULES: Readonly<Record<string, Rule>> = {
  relu: plain('relu'),
  tanh: plain('tanh'),
  add: (tf, [a, b], out, keep) => plain('add')(tf, [a, b], out, keep),
  mul: plain('mul'),
  matmul: plain('matMul'),
  softmax: plain('softmax'),
  view: reshape,
  reshape,
  flatten: reshape,
  permute:
    (tf, [x, dims]) =>
    (get) =>
      tf.transpose(get(x), dims),
  transpose: (tf, [x, a, b]) => {
    const dims = (x.meta.shape as number[]).map((_, i) => i);
    const [from, to] = [a, b].map((d: number) => (d < 0 ? d + dims.length : d));
    [dims[from], dims[to]] = [to, from];
    return (get) => tf.transpose(get(x), dims);
  },
  expand: (tf, [x], out, keep) => {
    const shape = out.meta.shape as readonly number[];
    const given = isNode(x) ? null : keep(floats(x), x.shape);
    return (get) => tf.broadcastTo(given ?? get(x), shape);
  },
  cat: (tf, [tensors, axis], out) => {
    const at = imageAxis(axis, (out.meta.shape as number[]).length);
    return (get) => tf.concat(tensors.map(get), at);
  },
  stack:
    (tf, [tensors, axis]) =>
    (get) =>
      tf.stack(tensors.map(get), axis),
  split:
    (tf, [x, sizes, axis]) =>
    (get) =>
      tf.split(get(x), sizes, axis),
  getitem:
    (_, [x, index]) =>
    (get) =>
      get(x)[index],
  maxPool2d: (tf, [x, g]) => {
    const pad = explicitPads({ begin: g.padding, end: g.padding });
    return (get) => tf.maxPool(get(x), g.kernelSize, g.stride, pad);
  },
  avgPool2d:
    (tf, [x, g]) =>
    (get) =>
      tf.avgPool(get(x), g.kernelSize, g.stride, 'valid'),
  adaptiveAvgPool2d:
    (tf, [x]) =>
    (get) =>
      tf.mean(get(x), [1, 2], true),
  linear: (tf, [x, weight, bias], out, keep) => {
    const [rows, columns] = weight.shape;
    // Its WebAssembly backend multiplies several rows wrongly where the second matrix is to be transposed.
    const w = keep(transposed(floats(weight), rows, columns), [columns, rows]);
    const b = bias && keep(floats(bias), [rows]);
    const shape = out.meta.shape as readonly number[];
    return (get) => {
      const flat = tf.reshape(get(x), [-1, columns]);
      return tf.reshape(tf.fused.matMul({ a: flat, b: w, bias: b }), shape);
    };
  },
  gelu:
    (tf, [x]) =>
    (get) => {
      const value = get(x);
      return tf.mul(tf.mul(value, tf.add(tf.erf(tf.mul(value, Math.SQRT1_2)), 1)), 0.5);
    },
  embedding: (tf, [ids, weight], _, keep) => {
    const table = keep(floats(weight), weight.shape);
    return (get) => tf.gather(table, get(ids));
  },
  layerNorm: (tf, [x, , weight, bias, eps], _, keep) => {
    const [scale, shift] = [weight, bias].map((t: Tensor) => keep(floats(t), t.shape));
    return (get) => {
      const value = get(x);
      const centred = tf.sub(value, tf.mean(value, -1, true));
      const factor = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), eps));
      return tf.add(tf.mul(tf.mul(centred, factor), scale), shift);
    };
  },
  lstmPointwise: (tf, [gates, c], _, keep) => {
    const given = isNode(c) ? null : keep(floats(c), c.shape);
    return (get) => {
      const [i, f, g, o] = tf.split(get(gates), 4, -1);
      const next = tf.add(tf.mul(tf.sigmoid(f), given ?? get(c)), tf.mul(tf.sigmoid(i), tf.tanh(g)));
      return [tf.mul(tf.sigmoid(o), tf.tanh(next)), next];
    };
  },
};
