/**
 * What the pages of the browser tests do, with the library as they import it: load a program and its input, run them in every
 * way, and give plain data back.
 */

/** The bits of a tensor, as Node's side of the test writes them. */
function bitsOf(tensor) {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return Array.from(new Uint8Array(buffer, byteOffset, byteLength), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/** Turns that the page's event loop gets while a promise is pending. */
async function ticksDuring(promise) {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await promise;
  clearInterval(timer);
  return ticks;
}

/** The samples of a batch over and over: one long run. */
function repeated(data, times) {
  const all = new Float32Array(data.length * times);
  for (let i = 0; i < times; i++) all.set(data, i * data.length);
  return all;
}

export async function runEverything({ jit, fromStorage }, names) {
  const results = {};
  for (const { name, shape, threads } of names) {
    const program = await jit.load(`/${name}.safetensors`);
    const data = new Float32Array(await (await fetch(`/${name}.input`)).arrayBuffer());
    const x = fromStorage(data, shape, 'float32');
    const large = fromStorage(repeated(data, 32), [32 * shape[0], ...shape.slice(1)], 'float32');
    const result = { bits: {}, chunks: {}, why: {}, ticks: null, error: null };
    for (const n of threads) {
      const got = await jit.setNumThreads(n);
      program.run(x);
      result.bits[`run, ${n} asked, ${got} given`] = bitsOf(program.run(x));
      const description = program.describe([x]);
      result.chunks[n] = Math.max(...description.steps.map((step) => step.chunks));
      result.why[n] = description.whyOneThread;
      result.text = String(description);
      const answers = await Promise.all([1, 2, 3, 4].map(() => program.runAsync(x)));
      for (const [i, y] of answers.entries()) result.bits[`runAsync ${i}, ${n} asked`] = bitsOf(y);
      result.ticks = await ticksDuring(program.runAsync(large));
    }
    result.error = await program.runAsync(fromStorage(new Float32Array(4), [4], 'float32')).then(
      () => null,
      (error) => ({ name: error.name, message: error.message }),
    );
    result.profileRows = program.profile([x], { runs: 2 }).rows.length;
    program.free();
    await jit.setNumThreads(1);
    results[name] = result;
  }
  return { isolated: globalThis.crossOriginIsolated, results };
}
