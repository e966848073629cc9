import { TraceError } from '../core/errors.ts';

/** Folder of the library itself: `src/`, or the package where it is built into `dist/`. */
const LIBRARY = plainPath(new URL('..', import.meta.url).href);
/** Ready-made models are written like a user's, and are reported like one's. */
const MODELS = /^(models\/|dist\/models[-.])/;

/** A {@link TraceError} that names the line of the caller's code. */
export function traceError(details: {
  readonly fn: string;
  readonly argument: string;
  readonly expected: string;
  readonly got: string;
  readonly fix: string;
}): TraceError {
  return new TraceError({ ...details, location: callerLocation() });
}

/** `file:line:column` of the innermost frame outside the library. */
function callerLocation(): string | null {
  // A deep model can stand between the caller and the default ten frames.
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 100;
  const stack = new Error().stack ?? '';
  Error.stackTraceLimit = limit;
  for (const line of stack.split('\n').slice(1)) {
    const place = /((?:file:|https?:|\/|[A-Za-z]:\\)[^()]*:\d+:\d+)\)?$/.exec(line)?.[1];
    if (!place) continue;
    const path = plainPath(place);
    if (!path.startsWith(LIBRARY) || MODELS.test(path.slice(LIBRARY.length))) return path;
  }
  return null;
}

function plainPath(url: string): string {
  return url.replace(/^file:\/\//, '').replace(/\?[^:]*(?=:\d+:\d+$)/, '');
}
