/**
 * Speed and memory of training: one step (forward, cross-entropy, backward, SGD with momentum) of ResNet-20 on images of
 * CIFAR's size, on one thread, against PyTorch on the same core.
 *
 *   node bench/training.ts [--rounds 12] [--steps 3] [--batch 64]   rounds of ours and PyTorch's in turn
 *   node bench/training.ts --ops                                    where a step of ours spends its time
 *   node bench/training.ts --memory 500                             memory of the process, every 100 steps
 *
 * Times are CPU time of the whole process, collector and compiler threads included; the ratio is that of the best rounds,
 * which other work on the machine disturbs least. `PYTHON` names the interpreter (default /usr/bin/python3); where it has
 * no torch, ours are printed alone.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { GradNode } from '../src/autograd/index.ts';
import { manualSeed } from '../src/core/random.ts';
import { engine } from '../src/kernels/engine.ts';
import { resnet20 } from '../src/models/cifar-resnet.ts';
import { type Interpreter, withInterpreter } from '../src/ops/dispatch.ts';
import { crossEntropy } from '../src/ops/index.ts';
import { SGD } from '../src/optim/index.ts';
import { randn, tensor } from '../src/tensor/index.ts';
import type { Tensor } from '../src/tensor/tensor.ts';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '12' },
    steps: { type: 'string', default: '3' },
    batch: { type: 'string', default: '64' },
    ops: { type: 'boolean', default: false },
    memory: { type: 'string' },
  },
});

/** Milliseconds of one step. */
interface StepTime {
  readonly cpu: number;
  readonly wall: number;
}

class Training {
  readonly #model = resnet20();
  readonly #optimizer: SGD;
  readonly #x: Tensor;
  readonly #y: Tensor;

  constructor(batch: number) {
    this.#x = randn([batch, 3, 32, 32]);
    this.#y = tensor(
      Array.from({ length: batch }, (_, i) => i % 10),
      { dtype: 'int64' },
    );
    this.#optimizer = new SGD(this.#model.parameters(), { lr: 0.01, momentum: 0.9, weightDecay: 1e-4 });
  }

  forward(): Tensor {
    return crossEntropy(this.#model(this.#x) as Tensor, this.#y);
  }

  update(): void {
    this.#optimizer.step();
  }

  clear(): void {
    this.#optimizer.zeroGrad();
  }

  /** One whole step; returns the loss before it. */
  step(): number {
    this.clear();
    const loss = this.forward();
    loss.backward();
    this.update();
    return loss.item();
  }

  time(steps: number): StepTime {
    const cpu = process.cpuUsage();
    const start = performance.now();
    for (let i = 0; i < steps; i++) this.step();
    const wall = performance.now() - start;
    const { user, system } = process.cpuUsage(cpu);
    return { cpu: (user + system) / 1000 / steps, wall: wall / steps };
  }
}

/** The peer process; answers one line per request. */
class Peer {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(batch: number) {
    const python = process.env.PYTHON ?? '/usr/bin/python3';
    this.#child = spawn(python, [join(import.meta.dirname, 'training/peer.py'), String(batch)]);
    // A missing interpreter shows as an end of output, like a missing torch.
    this.#child.on('error', () => undefined);
    this.#child.stdin.on('error', () => undefined);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** What the peer calls itself; null where it did not start. */
  async name(): Promise<string | null> {
    const { value, done } = await this.#lines.next();
    return done ? null : value;
  }

  async time(steps: number): Promise<StepTime> {
    this.#child.stdin.write(`${steps}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#child.spawnargs.join(' ')} ended early`);
    const [cpu, wall] = value.split(' ').map(Number);
    return { cpu, wall };
  }

  close(): void {
    this.#child.stdin.end();
  }
}

function summary(times: readonly StepTime[]): { median: number; best: number; wall: number } {
  const cpu = times.map((t) => t.cpu).sort((a, b) => a - b);
  return { median: cpu[cpu.length >> 1], best: cpu[0], wall: Math.min(...times.map((t) => t.wall)) };
}

async function compare(rounds: number, steps: number, batch: number): Promise<void> {
  const training = new Training(batch);
  const peer = new Peer(batch);
  const peerName = await peer.name();
  const ours: StepTime[] = [];
  const theirs: StepTime[] = [];
  training.time(4);
  if (peerName) await peer.time(2);
  for (let round = 0; round < rounds; round++) {
    ours.push(training.time(steps));
    if (peerName) theirs.push(await peer.time(steps));
  }
  peer.close();
  console.log(
    `ResNet-20, 32×32, batch ${batch}; ${rounds} rounds of ${steps} steps in turn; milliseconds of one step`,
  );
  const row = (name: string, cells: readonly string[]): void =>
    console.log(name.padEnd(30), ...cells.map((cell) => cell.padStart(11)));
  row('', ['median CPU', 'best CPU', 'best wall', 'img/s']);
  const line = (name: string, times: readonly StepTime[]): void => {
    const { median, best, wall } = summary(times);
    row(name, [median.toFixed(1), best.toFixed(1), wall.toFixed(1), ((1000 * batch) / wall).toFixed(0)]);
  };
  line(`zeropoint (${engine.build})`, ours);
  if (!peerName) {
    console.log('PyTorch was not found (see PYTHON).');
    return;
  }
  line(peerName, theirs);
  const [a, b] = [summary(ours), summary(theirs)];
  row(
    'ratio',
    [a.median / b.median, a.best / b.best, a.wall / b.wall].map((r) => r.toFixed(2)),
  );
}

/** CPU time of this thread so far, in milliseconds: what other work on the machine takes does not count. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Milliseconds (CPU time of this thread) of one step by operator, and of its three parts. */
class StepProfile {
  readonly parts = { forward: 0, backward: 0, update: 0 };
  readonly #operators = new Map<string, { forward: number; backward: number; calls: number }>();

  of(op: string): { forward: number; backward: number; calls: number } {
    let entry = this.#operators.get(op);
    if (!entry) {
      entry = { forward: 0, backward: 0, calls: 0 };
      this.#operators.set(op, entry);
    }
    return entry;
  }

  get operators(): string[] {
    return [...this.#operators.keys()];
  }
}

/** Times every operator of a step on its way forward, and every recorded one on its way back. */
function profileStep(training: Training): StepProfile {
  const profile = new StepProfile();
  const clock: Interpreter = {
    name: 'clock',
    call(op, args, next) {
      const start = threadMs();
      const result = next(op, args);
      const entry = profile.of(op);
      entry.forward += threadMs() - start;
      entry.calls++;
      return result;
    },
  };
  const start = threadMs();
  const loss = withInterpreter(clock, () => training.forward());
  profile.parts.forward = threadMs() - start;
  const seen = new Set<GradNode>();
  const open = [loss.gradFn];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (!(node instanceof GradNode) || seen.has(node)) continue;
    seen.add(node);
    open.push(...node.inputs.map((input) => input.gradFn));
    const { backward, name } = node;
    node.backward = (grads) => {
      const begin = threadMs();
      const result = backward?.(grads) ?? [];
      const op = name.replace('Backward0', '');
      profile.of(op[0].toLowerCase() + op.slice(1)).backward += threadMs() - begin;
      return result;
    };
  }
  const middle = threadMs();
  loss.backward();
  profile.parts.backward = threadMs() - middle;
  const end = threadMs();
  training.update();
  profile.parts.update = threadMs() - end;
  return profile;
}

/** Prints where a step spends its time, on average over the steps: some systems' CPU clocks tick in milliseconds. */
function operators(steps: number, batch: number): void {
  const training = new Training(batch);
  training.time(5);
  const profiles = Array.from({ length: steps }, () => {
    training.clear();
    return profileStep(training);
  });
  const mean = (value: (profile: StepProfile) => number): number =>
    profiles.reduce((sum, profile) => sum + value(profile), 0) / steps;
  const row = (name: string, calls: string, ...times: number[]): void =>
    console.log(name.padEnd(20), calls.padStart(6), ...times.map((ms) => ms.toFixed(2).padStart(10)));
  console.log('operator'.padEnd(20), ' calls', 'forward'.padStart(10), 'backward'.padStart(10));
  profiles[0].operators
    .map((op) => ({
      op,
      calls: String(profiles[0].of(op).calls),
      forward: mean((p) => p.of(op).forward),
      backward: mean((p) => p.of(op).backward),
    }))
    .sort((a, b) => b.forward + b.backward - a.forward - a.backward)
    .forEach(({ op, calls, forward, backward }) => {
      row(op, calls, forward, backward);
    });
  row(
    'whole passes',
    '',
    mean((p) => p.parts.forward),
    mean((p) => p.parts.backward),
  );
  row(
    'optimizer step',
    '',
    mean((p) => p.parts.update),
  );
}

function memory(steps: number, batch: number): void {
  const training = new Training(batch);
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`.padStart(12);
  console.log('step'.padStart(6), ...['rss', 'heap', 'arrays', 'kernels', 'loss'].map((h) => h.padStart(12)));
  for (let step = 0; step <= steps; step++) {
    const loss = training.step();
    if (step % 100 !== 0) continue;
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    const cells = [rss, heapUsed, arrayBuffers, engine.memory().reservedBytes].map(mib);
    console.log(String(step).padStart(6), ...cells, loss.toFixed(4).padStart(12));
  }
}

const [rounds, steps, batch] = [Number(flags.rounds), Number(flags.steps), Number(flags.batch)];
manualSeed(0);
console.log(`${cpus()[0].model}, Node ${process.version}, one thread`);
if (flags.ops) operators(rounds, batch);
else if (flags.memory) memory(Number(flags.memory), batch);
else await compare(rounds, steps, batch);
