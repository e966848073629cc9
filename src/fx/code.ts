import { formatTable } from '../core/table.ts';
import type { Graph } from './graph.ts';
import { type Arg, BatchSize, followsBatch, isDict, Node } from './node.ts';

/** One node as `print(graph)` shows it. Source: `torch.fx.Node.format_node`. */
export function formatNode(node: Node): string {
  if (node.op === 'output') return `return ${node.args.map((arg) => formatArg(arg)).join(', ')}`;
  const head = `%${node.name} : [#users=${node.users.size}] = ${node.op}[target=${node.targetName}]`;
  if (node.op === 'placeholder' || node.op === 'get_attr') return head;
  const args = node.args.map((arg) => formatArg(arg, '%'));
  return `${head}(args = (${args.join(', ')}${args.length === 1 ? ',' : ''}))`;
}

/** See `Graph.formatTabular`. Source: `torch.fx.Graph.print_tabular`. */
export function formatTabular(graph: Graph): string {
  return formatTable(
    ['opcode', 'name', 'target', 'args', 'shape'].map((title) => ({ title })),
    graph.nodes.map((node) => [
      node.op,
      node.name,
      node.targetName,
      `(${node.args.map((arg) => formatArg(arg)).join(', ')}${node.args.length === 1 ? ',' : ''})`,
      node.meta.shape ? `[${node.meta.shape.join(', ')}]` : '',
    ]),
  );
}

/** The graph as the source of a `forward` method: to be read, never run. */
export function formatCode(graph: Graph): string {
  const lines: string[] = [];
  const parameters = graph.inputs.map((input, i) => {
    if (input instanceof Node) return input.name;
    const name = `input_${i}`;
    lines.push(...unpack(input, name));
    return name;
  });
  if (graph.nodes.some((node) => followsBatch(node.args))) {
    const first = batchSource(graph);
    if (first) lines.push(`const batch = ${first.name}.shape[${graph.batch?.dim ?? 0}];`);
  }
  for (const node of graph.nodes) {
    const call = (callee: string, args: readonly Arg[] = node.args): string =>
      `const ${node.name} = ${callee}(${args.map((arg) => formatArg(arg)).join(', ')});`;
    const name = node.targetName;
    if (node.op === 'get_attr') lines.push(`const ${node.name} = this${memberPath(name)};`);
    else if (node.op === 'call_module') lines.push(call(`this${memberPath(name)}`));
    else if (node.op === 'call_method')
      lines.push(call(`${formatArg(node.args[0])}.${name}`, node.args.slice(1)));
    else if (node.op === 'output') lines.push(`return ${formatArg(node.args[0])};`);
    else if (name === 'getitem' && typeof node.target === 'string') {
      lines.push(`const ${node.name} = ${formatArg(node.args[0])}${member(String(node.args[1]))};`);
    } else if (node.op === 'call_function')
      lines.push(call(typeof node.target === 'string' ? `ops${member(name)}` : name));
  }
  return `forward(${parameters.join(', ')}) {\n${lines.map((line) => `  ${line}\n`).join('')}}`;
}

/** The input that the batch is read from: the first one that had the dimension when it was traced. */
export function batchSource(graph: Graph): Node | undefined {
  const inputs = graph.inputNodes();
  return inputs.find((node) => (node.meta.shape?.length ?? 0) > (graph.batch?.dim ?? 0));
}

/** An argument as code; nodes by name, with `mark` before it. */
export function formatArg(arg: Arg, mark = ''): string {
  if (arg instanceof Node) return mark + arg.name;
  if (arg instanceof BatchSize) return String(arg);
  if (Array.isArray(arg)) return `[${arg.map((item: Arg) => formatArg(item, mark)).join(', ')}]`;
  if (isDict(arg)) {
    const rows = Object.entries(arg).map(([key, item]) => `${property(key)}: ${formatArg(item, mark)}`);
    return rows.length > 0 ? `{ ${rows.join(', ')} }` : '{}';
  }
  return typeof arg === 'string' ? `'${arg}'` : Object.is(arg, -0) ? '-0' : String(arg);
}

function unpack(input: Arg, from: string): string[] {
  if (input instanceof Node) return [`const ${input.name} = ${from};`];
  if (Array.isArray(input)) return input.flatMap((item: Arg, i) => unpack(item, `${from}[${i}]`));
  if (isDict(input)) return Object.entries(input).flatMap(([key, item]) => unpack(item, from + member(key)));
  return [];
}

function memberPath(path: string): string {
  return path.split('.').map(member).join('');
}

function member(key: string): string {
  if (/^\d+$/.test(key)) return `[${key}]`;
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `['${key}']`;
}

function property(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : `'${key}'`;
}
