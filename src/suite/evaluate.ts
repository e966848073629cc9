import { ArgumentError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { cat } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * Runs a model over batches of inputs and returns all outputs as one tensor [N, ...]. Gradients are off; the model
 * should be in evaluation mode.
 *
 * @param onBatch Called after each batch with the number of samples done so far.
 */
export function collectOutputs(
  model: AnyModule,
  batches: Iterable<Tensor>,
  onBatch?: (done: number) => void,
): Tensor {
  const outputs: Tensor[] = [];
  let done = 0;
  for (const batch of batches) {
    outputs.push(noGrad(() => model(batch)) as Tensor);
    done += batch.shape[0];
    onBatch?.(done);
  }
  if (outputs.length === 0) {
    throw new ArgumentError({
      fn: 'collectOutputs',
      argument: 'batches',
      expected: 'at least one batch',
      got: 'none',
    });
  }
  return noGrad(() => cat(outputs, 0));
}

/** The time one call takes. */
export interface Latency {
  readonly medianMs: number;
  readonly minMs: number;
}

/**
 * Times several functions in turn, round by round, so that a machine's drift hits all of them alike.
 *
 * @param candidates Name → what to time.
 * @param rounds Timed rounds after three that only warm up.
 * @example
 * const { float, int8 } = measureLatency({ float: () => net(x), int8: () => qnet(x) });
 */
export function measureLatency<K extends string>(
  candidates: Readonly<Record<K, () => unknown>>,
  rounds = 15,
): Record<K, Latency> {
  const names = Object.keys(candidates) as K[];
  const times = new Map(names.map((name) => [name, [] as number[]]));
  for (let round = -3; round < rounds; round++) {
    for (const name of names) {
      const start = performance.now();
      noGrad(candidates[name]);
      const elapsed = performance.now() - start;
      if (round >= 0) times.get(name)?.push(elapsed);
    }
  }
  return Object.fromEntries([...times].map(([name, list]) => [name, latencyOf(list)])) as Record<K, Latency>;
}

/** Median and minimum of measured times in milliseconds. */
export function latencyOf(times: readonly number[]): Latency {
  const sorted = [...times].sort((a, b) => a - b);
  return { medianMs: sorted[sorted.length >> 1], minMs: sorted[0] };
}
