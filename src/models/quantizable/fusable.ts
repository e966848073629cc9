import type { AnyModule, Module } from '../../nn/module.ts';
import { type ChannelPair, fuseModules, fuseModulesQat } from '../../quantization/index.ts';

/** A model with stubs at its borders and observable additions, ready for eager-mode quantization. */
export interface QuantizableModel extends Module {
  /**
   * Fuses every convolution or linear layer with what follows it, in place, and returns the model: in evaluation mode for
   * `prepare`, in training mode for `prepareQat`. Source: `fuse_model` of `torchvision.models.quantization`.
   */
  fuseModel(): this;
}

/** Where in a fused model the rescue methods may work. */
export interface RescuePlan {
  /** Layers whose channels can be balanced, in the order they run. */
  readonly pairs: readonly ChannelPair[];
  /** A module at the end that loses much in integers and costs little in float. */
  readonly floatTail?: string;
}

/** A model that knows its {@link RescuePlan}. */
export interface RescuableModel extends QuantizableModel {
  /** For the fused model; paths as in it. */
  rescuePlan(): RescuePlan;
}

/** Fuses sequences of children in place, for the mode that the module is in. */
export function fuseChildren(module: AnyModule, names: readonly (readonly string[])[]): void {
  const fuse = module.training ? fuseModulesQat : fuseModules;
  fuse(module, names, { inplace: true });
}

/** Fuses, in a plain chain of children (a Sequential), every run whose class names read like one of `runs`. */
export function fuseChain(chain: AnyModule, runs: readonly (readonly string[])[]): void {
  const children = chain.namedChildren();
  const longestFirst = [...runs].sort((a, b) => b.length - a.length);
  for (let at = 0; at < children.length; ) {
    const run = longestFirst.find((types) =>
      types.every((type, i) => children[at + i]?.[1].typeName === type),
    );
    if (run) {
      fuseChildren(chain, [children.slice(at, at + run.length).map(([name]) => name)]);
    }
    at += run?.length ?? 1;
  }
}
