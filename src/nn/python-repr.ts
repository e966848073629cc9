/** `True` or `False`, as module reprs print booleans. */
export function pythonBool(value: boolean): string {
  return value ? 'True' : 'False';
}

/** `(3,)`, `(3, 5)`: a Python tuple of integers. */
export function pythonTuple(values: readonly number[]): string {
  return values.length === 1 ? `(${values[0]},)` : `(${values.join(', ')})`;
}

/** A size as the caller gave it: `2` for a number, `(2, 2)` for a list. */
export function pythonSize(value: number | readonly number[]): string {
  return typeof value === 'number' ? String(value) : pythonTuple(value);
}
