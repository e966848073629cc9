import type * as fx from '../../src/fx/index.ts';
import { Interpreter } from '../../src/fx/index.ts';
import { crc32 } from '../../src/io/crc32.ts';
import { FixedQParamsObserver, ObserverBase } from '../../src/quantization/index.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

/** [observed node, its observer by first use, the users of the observed tensor, class, scale and zero point]. */
export type ObserverRow = readonly [
  source: string,
  observer: number,
  users: readonly string[],
  type: string,
  qparams: readonly [number, number] | null,
];

/** [checksum of the integers, shape, scale, zero point]. */
export type IntegerRow = readonly [number, readonly number[], number, number];

/** Our names of nodes as PyTorch spells them. */
export function spelled(name: string): string {
  return name
    .replace(/^quantized_/, '')
    .replace(/^(slice|select)/, 'getitem')
    .replace(/^sum$/, 'sum_1')
    .replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

/** What an observer found. */
function foundQParams(observer: ObserverBase): [number, number] {
  const { scale, zeroPoint } = observer.calculateQParams();
  return [scale.item(), zeroPoint.item()];
}

/** Where the observers of a prepared graph stand, as `observers_of` of test/golden/fx.py tells it. */
export function observersOf(
  prepared: fx.GraphModule<any, any>,
  named: (node: string) => string = spelled,
  qparamsOf: (observer: ObserverBase) => [number, number] = foundQParams,
): ObserverRow[] {
  const seen: unknown[] = [];
  return prepared.graph.nodes.flatMap((node): ObserverRow[] => {
    const observer = node.op === 'call_module' ? prepared.getSubmodule(node.targetName) : null;
    if (!(observer instanceof ObserverBase)) return [];
    if (!seen.includes(observer)) seen.push(observer);
    const users = [...node.users].map((user) => named(user.name));
    const source = named((node.args[0] as fx.Node).name);
    const qparams = observer.isDynamic ? null : qparamsOf(observer);
    return [[source, seen.indexOf(observer), users, observer.typeName, qparams]];
  });
}

/** Groups of observed nodes that have one observer between them. */
export function sharing(rows: readonly ObserverRow[]): string[] {
  const groups = new Map<number, string[]>();
  for (const [source, index] of rows) groups.set(index, [...(groups.get(index) ?? []), source]);
  return [...groups.values()].map((g) => g.sort().join(' = ')).sort();
}

/** Observed node, class, users: one line each, in any order. */
export function placed(rows: readonly ObserverRow[]): string[] {
  return rows
    .map(([source, , users, type]) => `${source} → ${type} → ${[...users].sort().join(', ')}`)
    .sort();
}

/**
 * Gives the observers of a prepared graph the parameters of others at the same places: what follows then differs by no last
 * bit of a float sum.
 */
export function takeQParams(
  prepared: fx.GraphModule<any, any>,
  theirs: readonly ObserverRow[],
  named: (node: string) => string = (node) => node,
): void {
  const byPlace = new Map(theirs.map((row) => [`${row[0]} ${[...row[2]].sort()}`, row[4]]));
  for (const node of prepared.graph.nodes) {
    if (node.op !== 'call_module') continue;
    const observer = prepared.getSubmodule(node.targetName);
    if (!(observer instanceof ObserverBase)) continue;
    const users = [...node.users].map((user) => named(spelled(user.name))).sort();
    const qparams = byPlace.get(`${named(spelled((node.args[0] as fx.Node).name))} ${users}`);
    if (!qparams) continue;
    const [scale, zeroPoint] = qparams;
    const { dtype } = observer as FixedQParamsObserver;
    prepared.addModule(node.targetName, new FixedQParamsObserver({ scale, zeroPoint, dtype }));
  }
}

/** Runs a converted graph and takes checksums of the integers of every quantized result. */
export class IntegerRecorder extends Interpreter {
  readonly integers: Map<string, IntegerRow> = new Map();
  readonly #counts = new Map<string, number>();
  readonly #named: (node: string) => string;

  constructor(converted: fx.GraphModule<any, any>, named: (node: string) => string = spelled) {
    super(converted.graph, converted);
    this.#named = named;
  }

  /** Quantized operators and `cat` by their name and how many of it ran before; other nodes by theirs. */
  #nameOf(node: fx.Node): string {
    if (!node.targetName.startsWith('quantized::') && node.target !== 'cat') return this.#named(node.name);
    const base = node.targetName.replace('quantized::', '').replace(/_scalar$/, '');
    const count = this.#counts.get(base) ?? 0;
    this.#counts.set(base, count + 1);
    return `${base}#${count}`;
  }

  override runNode(node: fx.Node): unknown {
    const result = super.runNode(node);
    if (result instanceof Tensor && result.isQuantized) this.integers.set(this.#nameOf(node), rowOf(result));
    return result;
  }
}

function rowOf(x: Tensor): IntegerRow {
  return [checksum(x.intRepr()), [...x.shape], x.qScale(), x.qZeroPoint()];
}

/** CRC of the elements' bytes. */
export function checksum(t: Tensor): number {
  const { data } = t.contiguous();
  return crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}
