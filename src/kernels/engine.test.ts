import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KernelError } from '../core/errors.ts';
import { FreeList } from './allocator.ts';
import { createEngine, engine, isBuildSupported, supportedBuilds } from './engine.ts';
import { whyNotShared } from './modules.ts';
import { type DotProbe, dotProbes } from './probe.ts';

const builds = supportedBuilds();

describe.each(builds)('engine (%s)', (build) => {
  it('aligns allocations to 64 bytes and counts them by owner', () => {
    const e = createEngine(build);
    const before = e.memory();
    const a = e.alloc(100, 'packed');
    const b = e.alloc(1, 'arena');
    expect(a.ptr % 64).toBe(0);
    expect(b.ptr % 64).toBe(0);
    expect(e.memory()).toMatchObject({ packedBytes: 128, packedCount: 1, arenaBytes: 64 });
    a.free();
    a.free();
    b[Symbol.dispose]();
    expect(e.memory()).toEqual(before);
  });

  it('reuses freed memory instead of growing', () => {
    const e = createEngine(build);
    e.alloc(20_000_000, 'packed').free();
    const { reservedBytes } = e.memory();
    for (let i = 0; i < 50; i++) {
      const blocks = [1e6, 5e6, 3e6, 7e6].map((n) => e.alloc(n, 'packed'));
      for (const k of [2, 0, 3, 1]) blocks[k].free();
    }
    expect(e.memory().reservedBytes).toBe(reservedBytes);
  });

  it.each([true, false])(
    'refreshes the heap views after growth and keeps the contents (shared: %s)',
    (shared) => {
      const e = createEngine(build, { shared });
      expect(e.heap.u8.buffer instanceof SharedArrayBuffer).toBe(shared);
      expect(e.shared === null).toBe(!shared);
      const a = e.alloc(4, 'packed');
      e.heap.i32[a.ptr >> 2] = 12345;
      const old = e.heap.u8;
      e.alloc(64 << 20, 'arena');
      expect(e.heap.u8).not.toBe(old);
      expect(e.heap.i32[a.ptr >> 2]).toBe(12345);
    },
  );

  it('releases scratch on return and on throw, and keeps outer scratch valid while inner scratch grows', () => {
    const e = createEngine(build);
    const result = e.scratch((take) => {
      const outer = take(1000);
      e.heap.u8.fill(7, outer, outer + 1000);
      expect(() =>
        e.scratch((inner) => {
          const ptr = inner(30 << 20);
          e.heap.u8.fill(9, ptr, ptr + (30 << 20));
          throw new RangeError('stop');
        }),
      ).toThrow(RangeError);
      return e.heap.u8.subarray(outer, outer + 1000).every((v) => v === 7);
    });
    expect(result).toBe(true);
    expect(e.memory().scratchBytes).toBe(0);
    const { reservedBytes } = e.memory();
    for (let i = 0; i < 20; i++) e.scratch((take) => take(30 << 20) + take(1000));
    expect(e.memory().reservedBytes).toBe(reservedBytes);
  });

  it('refuses what can never fit with a typed error naming the bytes, and stays usable', () => {
    const e = createEngine(build);
    expect(() => e.alloc(3 * 2 ** 30, 'packed')).toThrow(KernelError);
    expect(() => e.alloc(3 * 2 ** 30, 'packed')).toThrow(/3221225472 bytes/);
    expect(() => e.alloc(-1, 'packed')).toThrow(/non-negative integer/);
    expect(e.memory().packedCount).toBe(0);
    e.alloc(100, 'packed').free();
  });

  it('rejects taking scratch after its callback returned', () => {
    const e = createEngine(build);
    const escaped = e.scratch((take) => take);
    expect(() => escaped(8)).toThrow(KernelError);
  });
});

describe('engine selection', () => {
  it('shares memory wherever the host allows it, and says why where not', () => {
    expect(engine.shared).not.toBeNull();
    expect(whyNotShared()).toBeNull();
    process.env.ZEROPOINT_SHARED_MEMORY = '0';
    try {
      expect(createEngine('baseline').shared).toBeNull();
      expect(whyNotShared()).toMatch(/ZEROPOINT_SHARED_MEMORY=0/);
    } finally {
      delete process.env.ZEROPOINT_SHARED_MEMORY;
    }
  });

  it('always has the baseline build', () => {
    expect(isBuildSupported('baseline')).toBe(true);
  });

  it('never claims an exact 8-bit dot product for the baseline build', () => {
    expect(createEngine('baseline').exactDot8).toBe(false);
  });

  it('picks the fastest build this host supports, or the one that is asked for', () => {
    const forced = process.env.ZEROPOINT_KERNELS;
    const expected = forced ? [forced] : supportedBuilds();
    // A processor without vectors of 32 bytes compiles the wide build all the same, and is better off without it.
    if (!forced && expected[0] === 'wide' && engine.build !== 'wide') expected.shift();
    expect(engine.build).toBe(expected[0]);
  });
});

describe('FreeList', () => {
  it('never hands out overlapping spans, and merges everything back into one', () => {
    const operations = fc.array(fc.record({ size: fc.integer({ min: 1, max: 40 }), victim: fc.nat(100) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(operations, (steps) => {
        const list = new FreeList();
        list.release(64, 64 * 300);
        const live: { ptr: number; bytes: number }[] = [];
        for (const { size, victim } of steps) {
          if (victim % 3 === 0 && live.length > 0) {
            const [gone] = live.splice(victim % live.length, 1);
            list.release(gone.ptr, gone.bytes);
            continue;
          }
          const bytes = size * 64;
          const ptr = list.take(bytes);
          if (ptr === undefined) continue;
          expect(ptr).toBeGreaterThanOrEqual(64);
          expect(ptr + bytes).toBeLessThanOrEqual(64 * 301);
          for (const other of live)
            expect(ptr + bytes <= other.ptr || other.ptr + other.bytes <= ptr).toBe(true);
          live.push({ ptr, bytes });
        }
        for (const span of live) list.release(span.ptr, span.bytes);
        expect(list.spans()).toEqual([{ ptr: 64, bytes: 64 * 300 }]);
      }),
    );
  });
});

describe('dot product probes', () => {
  /** What an implementation gives on a probe, with `pair` the sum of two products and `read` the value of an activation. */
  const run = (probe: DotProbe, pair: (sum: number) => number, read: (x: number) => number): number[] =>
    Array.from(probe.start, (start, lane) => {
      const at = (i: number): number => probe.weights[4 * lane + i] * read(probe.activations[4 * lane + i]);
      return (start + pair(at(0) + at(1)) + pair(at(2) + at(3))) | 0;
    });
  const passes = (pair: (sum: number) => number, read: (x: number) => number): boolean =>
    dotProbes.every((probe) => run(probe, pair, read).every((v, i) => v === probe.expected[i]));
  const exact = (v: number): number => v;
  const saturate = (v: number): number => Math.min(Math.max(v, -32768), 32767);

  it('accept exact arithmetic', () => {
    expect(passes(exact, exact)).toBe(true);
  });

  it('reject sums that saturate at 16 bits', () => {
    expect(passes(saturate, exact)).toBe(false);
  });

  it('reject sums that wrap at 16 bits', () => {
    expect(passes((v) => (v << 16) >> 16, exact)).toBe(false);
  });

  it('reject activations read as signed', () => {
    expect(passes(exact, (x) => (x << 24) >> 24)).toBe(false);
  });

  it('reject activations cut to seven bits', () => {
    expect(passes(exact, (x) => x & 127)).toBe(false);
  });
});
