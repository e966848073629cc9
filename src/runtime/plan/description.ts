import { formatBytes, formatTable } from '../../core/table.ts';
import type { KernelBuild } from '../../kernels/engine.ts';
import { whyNotWide } from '../../kernels/wide.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Plan } from './plan.ts';

/** One step of a {@link ProgramDescription}. */
export interface StepDescription {
  readonly name: string;
  readonly op: string;
  readonly shape: Shape;
  /** Kernels that run it; empty for what the calling thread does without. */
  readonly kernels: readonly string[];
  /** True for the eager operator, which has no kernel of its own here. */
  readonly eager: boolean;
  readonly macs: number;
  readonly bytes: number;
  /** How many chunks the threads share; 1 where one thread does it all. */
  readonly chunks: number;
}

/** How a program runs on inputs of some shapes: plain data, and a text. */
export interface ProgramDescription {
  readonly steps: readonly StepDescription[];
  /** Size of the memory that intermediate results share, of constants, and of all results if none shared its memory. */
  readonly arenaBytes: number;
  readonly constantBytes: number;
  readonly resultBytes: number;
  readonly threads: number;
  /** Why it is one thread although more were asked for; null where that is not so. */
  readonly whyOneThread: string | null;
  readonly build: KernelBuild;
  /** Why it is not the wide build; null where it is. */
  readonly whyNotWide: string | null;
  /** Whether 8-bit dot products are exact on this machine; int8 weights are widened to 16 bits where not. */
  readonly exactDot8: boolean;
  toString(): string;
}

/** Describes a plan. */
export function describePlan(
  plan: Plan,
  constantBytes: number,
  threads: number,
  whyOneThread: string | null,
): ProgramDescription {
  const chunks = plan.chunks();
  const steps = plan.steps.map((step, i): StepDescription => {
    const { name, op, shape } = step;
    const kernels = step.kind === 'kernels' ? [...new Set(step.calls.map((call) => call.kernel))] : [];
    return { name, op, shape, kernels, eager: step.kind === 'operator', ...step.cost, chunks: chunks[i] };
  });
  const { arenaBytes, resultBytes } = plan;
  const { build, exactDot8 } = plan.engine;
  const description = {
    steps,
    arenaBytes,
    constantBytes,
    resultBytes,
    threads,
    whyOneThread,
    build,
    whyNotWide: build === 'wide' ? null : (whyNotWide() ?? 'not chosen'),
    exactDot8,
  };
  return { ...description, toString: () => descriptionText(description) };
}

function descriptionText(of: Omit<ProgramDescription, 'toString'>): string {
  const table = formatTable(
    [
      { title: 'step' },
      { title: 'op' },
      { title: 'shape' },
      { title: 'kernels' },
      { title: 'MMAC', align: 'right' },
      { title: 'bytes', align: 'right' },
      { title: 'chunks', align: 'right' },
    ],
    of.steps.map((step) => [
      step.name,
      step.op,
      step.shape.join('×'),
      step.eager ? 'none: the eager operator' : step.kernels.join(', ') || 'none: copies where it lies',
      step.macs === 0 ? '' : (step.macs / 1e6).toFixed(1),
      formatBytes(step.bytes),
      String(step.chunks),
    ]),
  );
  const operators = of.steps.filter((step) => step.eager).length;
  const why = of.whyOneThread === null ? '' : ` (${of.whyOneThread})`;
  return [
    table,
    `steps      ${of.steps.length}, ${operators} of them without kernels`,
    `arena      ${formatBytes(of.arenaBytes)} for results of ${formatBytes(of.resultBytes)}`,
    `constants  ${formatBytes(of.constantBytes)} beside the weights that layers own`,
    `threads    ${of.threads}${why}`,
    `kernels    ${of.build}, 8-bit dot products ${of.exactDot8 ? 'exact' : 'widened to 16 bits'}`,
    `vectors    ${of.whyNotWide === null ? '32 bytes' : `16 bytes (${of.whyNotWide})`}`,
  ].join('\n');
}
