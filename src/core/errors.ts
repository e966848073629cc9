/** What every zeropoint error states. `expected` and `got` are phrases, `fix` is a sentence. */
export interface ErrorDetails {
  /** Function or class that rejected its input, as the user calls it (`conv2d`, `MinMaxObserver`). */
  readonly fn: string;
  /** Name of the argument (or state) at fault. */
  readonly argument: string;
  readonly expected: string;
  readonly got: string;
  /** What to do about it. */
  readonly fix?: string;
}

/**
 * Base class of every error zeropoint throws on purpose. The message reads
 * `fn: argument: expected …, got …. fix`, and the parts stay available as fields.
 *
 * @example
 * try { conv2d(x, w) } catch (e) { if (e instanceof ZeropointError) console.log(e.fn, e.expected, e.got) }
 */
export class ZeropointError extends Error {
  readonly fn: string;
  readonly argument: string;
  readonly expected: string;
  readonly got: string;
  readonly fix: string;
  /** Dotted path of the module whose `forward` threw; null outside of modules. */
  modulePath: string | null = null;

  constructor(details: ErrorDetails, options?: ErrorOptions) {
    const fix = details.fix ?? '';
    super(
      `${details.fn}: ${details.argument}: expected ${details.expected}, got ${details.got}.${fix ? ` ${fix}` : ''}`,
      options,
    );
    this.name = new.target.name;
    this.fn = details.fn;
    this.argument = details.argument;
    this.expected = details.expected;
    this.got = details.got;
    this.fix = fix;
  }

  /** Adds where in a model it happened; the first call counts. Modules call this as the error passes through them. */
  locate(modulePath: string, typeName: string): void {
    if (this.modulePath !== null) return;
    this.modulePath = modulePath;
    this.message += ` (in ${modulePath === '' ? typeName : `${modulePath}, a ${typeName}`})`;
  }
}

/** Runs `body`; an error of the library that comes out of it says which module it is about. */
export function locating<T>(modulePath: string, typeName: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof ZeropointError) error.locate(modulePath, typeName);
    throw error;
  }
}

/** A value of the wrong kind or out of range. */
export class ArgumentError extends ZeropointError {}

/** Shapes, ranks or sizes that do not fit together. */
export class ShapeError extends ZeropointError {}

/** A dtype or quantization scheme that the operation does not take. */
export class DTypeError extends ZeropointError {}

/** Misuse of automatic differentiation (no graph, non-scalar loss, in-place change of a recorded tensor). */
export class AutogradError extends ZeropointError {}

/** A state dict that does not fit the module (missing, unexpected or mis-shaped keys). */
export class StateDictError extends ZeropointError {}

/** A quantization flow used in a way that cannot work; names the module path and the fix. */
export class QuantizationError extends ZeropointError {}

/** Something a traced graph cannot hold: a value read while tracing, a change in place, an object of unknown kind. */
export class TraceError extends ZeropointError {
  /** Where in the caller's code it happened, as `file:line:column`; null where the stack does not tell. */
  readonly location: string | null;

  constructor(details: ErrorDetails & { readonly location: string | null }) {
    super({ ...details, got: details.location ? `${details.got} at ${details.location}` : details.got });
    this.location = details.location;
  }
}

/** The kernel engine cannot do what was asked (out of memory, missing SIMD). */
export class KernelError extends ZeropointError {}

/** What a {@link FileFormatError} adds: which file, and where in it. */
export interface FileErrorDetails extends ErrorDetails {
  /** Path or label of the file. */
  readonly file: string;
  /** Byte offset of the fault, counted from the start of the file. */
  readonly offset: number;
}

/** A file that is truncated, corrupt, lying about its sizes, or asks for something unsafe. */
export class FileFormatError extends ZeropointError {
  readonly file: string;
  readonly offset: number;

  constructor(details: FileErrorDetails, options?: ErrorOptions) {
    super({ ...details, argument: `${details.file} (byte ${details.offset}): ${details.argument}` }, options);
    this.file = details.file;
    this.offset = details.offset;
  }
}
