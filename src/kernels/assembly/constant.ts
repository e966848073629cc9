// V8 makes a vector constant anew at every use, with three instructions that compete with the arithmetic. From memory it takes one, so functions that
// are made of constants keep them in tables: `memory.data<f32>([…])`.

/** Number `i` of a table of floats, in every lane. */
// @ts-ignore: decorator
@inline
export function f32_at(table: usize, i: usize): v128 {
  return v128.load32_splat(table + (i << 2));
}

/** Number `i` of a table of doubles, in both lanes. */
// @ts-ignore: decorator
@inline
export function f64_at(table: usize, i: usize): v128 {
  return v128.load64_splat(table + (i << 3));
}
