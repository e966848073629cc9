import type { Tensor } from '../../../src/index.ts';
import type { Engine, Runner, Task } from './engine.ts';

/** What is used of `onnxruntime-common`. */
interface OnnxRuntime {
  readonly env: { logLevel: string; readonly wasm: { numThreads?: number } };
  readonly Tensor: new (type: string, data: unknown, shape: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(bytes: Uint8Array, options: object): Promise<Session>;
  };
}

interface Session {
  run(feeds: object): Promise<Record<string, { readonly data: Float32Array }>>;
  release(): Promise<void>;
}

/** Loads one of the two packages, which share their interface. */
async function load(name: string, threads: number): Promise<OnnxRuntime> {
  const ort: OnnxRuntime = await import(name);
  ort.env.logLevel = 'error';
  ort.env.wasm.numThreads = threads;
  return ort;
}

function feed(ort: OnnxRuntime, x: Tensor): unknown {
  if (x.dtype === 'float32') return new ort.Tensor('float32', x.data, x.shape);
  return new ort.Tensor('int64', BigInt64Array.from(x.data as Float64Array, BigInt), x.shape);
}

function engine(name: string): Engine {
  return {
    dtypes: ['fp32', 'int8'],
    async load(task: Task, dtype): Promise<Runner> {
      const ort = await load(name, task.threads);
      const bytes = await task.onnx(dtype);
      const session = await ort.InferenceSession.create(bytes, {
        executionProviders: [name === 'onnxruntime-node' ? 'cpu' : 'wasm'],
        graphOptimizationLevel: 'all',
        intraOpNumThreads: task.threads,
        interOpNumThreads: 1,
      });
      const feeds = { input: feed(ort, task.subject.input) };
      return {
        run: () => session.run(feeds),
        output: async () => (await session.run(feeds)).output.data.slice(),
        bytes: bytes.length,
        close: () => session.release(),
      };
    },
  };
}

export const onnxruntimeNode: Engine = engine('onnxruntime-node');
/** In Node it runs the same WebAssembly as in a page. */
export const onnxruntimeWeb: Engine = engine('onnxruntime-web');
