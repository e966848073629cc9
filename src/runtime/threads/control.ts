/**
 * The words by which the threads of a pool find their work, in memory that all of them share, and the two moves on them
 * that caller and workers have in common: taking a chunk, and waiting for a word to change.
 *
 * A run is opened by the caller, which publishes one step after the other. Workers join an open run and leave it at its end.
 * The chunks of a step lie in one queue for each thread, the same part of the step for the same thread every time, so that
 * it finds in its caches what it made before; who is done helps the others. A queue holds the step in its high bits and its
 * next chunk in its low bits, so that a late thread can never take a chunk of a step that it does not know to be current.
 * The caller goes on when as many chunks are done as the step has; a worker that never wakes up costs nothing but its help.
 */

/** Words of 32 bits. Those that threads write often lie on cache lines of their own. */
const LINE = 16;
/** Counts runs; idle workers sleep on it. */
export const GENERATION: number = 0 * LINE;
/** {@link OPEN} while a run may be joined, plus the number of workers in it. */
export const STATE: number = 1 * LINE;
/** The current step of the run; {@link END} behind the last. */
export const TICKET: number = 2 * LINE;
/** Chunks of the current step that are done. */
export const DONE: number = 3 * LINE;
/** How many workers sleep on {@link GENERATION}, and on {@link TICKET}; whether the caller sleeps on {@link DONE}. */
export const IDLE_SLEEPERS: number = 4 * LINE;
export const RUN_SLEEPERS: number = 5 * LINE;
export const CALLER_SLEEPS: number = 6 * LINE;
/** Set when the workers shall end. */
export const STOP: number = 7 * LINE;
/** Place and length in doubles of the script of the current run, and a number that is new for every script. */
export const SCRIPT_PTR: number = 8 * LINE;
export const SCRIPT_LENGTH: number = 8 * LINE + 1;
export const SCRIPT_ID: number = 8 * LINE + 2;
/** Set to the number of a worker that caught an error; what it said follows, as length and character codes. */
export const FAULT: number = 9 * LINE;
export const MESSAGE: number = 10 * LINE;
const MESSAGE_LENGTH = 240;
/** One queue for each thread. */
const QUEUES = 26 * LINE;
/** More threads than this never pay. */
export const MOST_THREADS: number = 64;
export const CONTROL_WORDS: number = QUEUES + MOST_THREADS * LINE;

export const OPEN: number = 1 << 30;
const CHUNK_BITS = 12;
const CHUNK_MASK = (1 << CHUNK_BITS) - 1;
/** Most chunks of a step, and most steps that can be told apart. */
export const MOST_CHUNKS: number = CHUNK_MASK;
export const MOST_STEPS: number = (1 << (31 - CHUNK_BITS)) - 1;
/** The ticket behind the last step. */
export const END: number = MOST_STEPS;

/** A step that a thread can run chunk by chunk. */
export interface Chunks {
  readonly chunks: number;
  run(chunk: number): void;
}

/** The first chunk of a thread's queue, which ends where the next one's begins. */
function firstOf(thread: number, threads: number, chunks: number): number {
  return Math.floor((chunks * thread) / threads);
}

/** Fills the queues with the chunks of a step, and makes it the current one. Only when all chunks of the one before are done. */
export function publish(control: Int32Array, step: number, chunks: number, threads: number): void {
  Atomics.store(control, DONE, 0);
  for (let thread = 0; thread < threads; thread++) {
    Atomics.store(control, QUEUES + thread * LINE, (step << CHUNK_BITS) | firstOf(thread, threads, chunks));
  }
  Atomics.store(control, TICKET, step);
}

/** Takes the next chunk from a thread's queue; −1 where it is empty, or the step is not the current one any more. */
export function takeChunk(
  control: Int32Array,
  step: number,
  chunks: number,
  owner: number,
  threads: number,
): number {
  const word = QUEUES + owner * LINE;
  const end = firstOf(owner + 1, threads, chunks);
  for (;;) {
    const next = Atomics.load(control, word);
    const chunk = next & CHUNK_MASK;
    if (next >>> CHUNK_BITS !== step || chunk >= end) return -1;
    if (Atomics.compareExchange(control, word, next, next + 1) === next) return chunk;
  }
}

/** Runs chunks of a step until none is left: this thread's own first. */
export function work(
  control: Int32Array,
  step: number,
  bound: Chunks,
  thread: number,
  threads: number,
): void {
  for (let i = 0; i < threads; i++) {
    const owner = (thread + i) % threads;
    for (;;) {
      const chunk = takeChunk(control, step, bound.chunks, owner, threads);
      if (chunk < 0) break;
      bound.run(chunk);
      Atomics.add(control, DONE, 1);
      wakeCaller(control, DONE);
    }
  }
}

/** Joins the current run if it is open. */
export function join(control: Int32Array): boolean {
  for (;;) {
    const state = Atomics.load(control, STATE);
    if ((state & OPEN) === 0) return false;
    if (Atomics.compareExchange(control, STATE, state, state + 1) === state) return true;
  }
}

/** Leaves the run that {@link join} joined. */
export function leave(control: Int32Array): void {
  Atomics.sub(control, STATE, 1);
  wakeCaller(control, STATE);
}

function wakeCaller(control: Int32Array, word: number): void {
  if (Atomics.load(control, CALLER_SLEEPS) !== 0) Atomics.notify(control, word);
}

/** Says in the control block that a worker failed, and how. */
export function reportFault(control: Int32Array, worker: number, error: unknown): void {
  const text = String(error).slice(0, MESSAGE_LENGTH);
  control[MESSAGE] = text.length;
  for (let i = 0; i < text.length; i++) control[MESSAGE + 1 + i] = text.charCodeAt(i);
  Atomics.store(control, FAULT, worker);
  wakeCaller(control, DONE);
}

/** What {@link reportFault} wrote. */
export function faultMessage(control: Int32Array): string {
  const at = MESSAGE + 1;
  return String.fromCharCode(...control.subarray(at, at + control[MESSAGE]));
}

const pause: (() => void) | undefined = (Atomics as { pause?: () => void }).pause;

/** Looks at a word for some time; true as soon as it differs from `value`. */
export function spin(control: Int32Array, word: number, value: number, milliseconds: number): boolean {
  const until = performance.now() + milliseconds;
  do {
    for (let i = 0; i < 64; i++) {
      if (Atomics.load(control, word) !== value) return true;
      pause?.();
    }
  } while (performance.now() < until);
  return false;
}

/** Spins, then sleeps until the word differs from `value`; `sleepers` counts who must be woken. Never on a page's own thread. */
export function waitForChange(
  control: Int32Array,
  word: number,
  value: number,
  sleepers: number,
  spinMilliseconds: number,
): void {
  if (spin(control, word, value, spinMilliseconds)) return;
  Atomics.add(control, sleepers, 1);
  Atomics.wait(control, word, value);
  Atomics.sub(control, sleepers, 1);
}
