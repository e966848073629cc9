/**
 * Holds the ONNX files that the peers get against ONNX's own checker, shapes included. Needs Python with onnx.
 *
 *   node bench/peers/onnx/check.ts [model …]
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jit } from '../../../src/index.ts';
import { onnxFile } from '../files.ts';
import { MODELS } from '../models.ts';

const CHECK = `import sys, onnx
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
print(len(model.graph.node), 'nodes')`;

const python = process.env.PYTHON ?? '/usr/bin/python3';
const folder = await mkdtemp(join(tmpdir(), 'zeropoint-onnx-'));
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(MODELS);
for (const name of names) {
  const subject = MODELS[name].make();
  for (const dtype of ['fp32', 'int8'] as const) {
    const model = dtype === 'fp32' ? subject.float : subject.int8;
    const program = jit.trace(model, [subject.input], { batchDim: subject.batchDim });
    const path = join(folder, `${name}-${dtype}.onnx`);
    await writeFile(path, await onnxFile(name, dtype, subject, program));
    const { status, stdout, stderr } = spawnSync(python, ['-c', CHECK, path], { encoding: 'utf8' });
    console.log(`${name} ${dtype}: ${status === 0 ? stdout.trim() : stderr.trim().split('\n').at(-1)}`);
    if (status !== 0) process.exitCode = 1;
  }
}
await rm(folder, { recursive: true });
