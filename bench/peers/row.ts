import type { DType } from './models.ts';

/** What was measured of one model in one engine. */
export interface Row {
  readonly model: string;
  readonly engine: string;
  readonly dtype: DType;
  readonly threads: number;
  readonly medianMs: number;
  readonly minMs: number;
  /** Processor time of the cheapest run, all threads together; null where it cannot be told, in a page. */
  readonly cpuMs: number | null;
  /** Size of the file that the engine loads; null where it loads none. */
  readonly bytes: number | null;
  /** Signal over noise of the output, taken against ours in the same form; null where they are equal to the bit. */
  readonly decibels: number | null;
  /** How many times it was measured. */
  readonly rounds: number;
  /**
   * Ours on several threads: how long one thread takes over how long these take, the median of runs in turn in one process.
   * Rows of other jobs were measured minutes before, when the machine may have been another.
   */
  readonly overOneThread?: number;
}

/** What could not be measured, and why. */
export interface Absent {
  readonly model: string;
  readonly engine: string;
  readonly dtype: DType;
  readonly threads: number;
  readonly why: string;
}

/** What a measuring process is to do. */
export interface Job {
  readonly model: string;
  readonly threads: number;
  readonly rounds: number;
  /** After this time no further round begins. */
  readonly seconds: number;
  readonly engines: readonly string[];
}

/** What a measuring process says. */
export type Message = { readonly progress: string } | { readonly row: Row } | { readonly absent: Absent };
