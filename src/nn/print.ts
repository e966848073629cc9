import type { AnyModule } from './module.ts';

/**
 * The indented tree PyTorch prints for a module. Source: `torch.nn.Module.__repr__`.
 *
 * @example
 * formatModule(new Sequential(new Linear(2, 1), new ReLU()));
 * // Sequential(
 * //   (0): Linear(in_features=2, out_features=1, bias=True)
 * //   (1): ReLU()
 * // )
 */
export function formatModule(module: AnyModule): string {
  const extra = module.extraRepr();
  const extraLines = extra === '' ? [] : extra.split('\n');
  const childLines = module
    .namedChildren()
    .map(([name, child]) => `(${name}): ${indent(formatModule(child))}`);
  const name = module.typeName;
  if (childLines.length === 0 && extraLines.length <= 1) return `${name}(${extra})`;
  return `${name}(\n  ${[...extraLines, ...childLines].join('\n  ')}\n)`;
}

function indent(text: string): string {
  return text.replaceAll('\n', '\n  ');
}
