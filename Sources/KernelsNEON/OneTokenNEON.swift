import CIntrinsics
import Kernels

// One token, straight from the packed codes: each code is read once, from memory, and unpacked in registers.

/// Inputs that an int16 takes of unsigned 4-bit codes: a product for each four, at most 15 · 127 each.
private let inputsOfInt16 = 64

/// All 32 rows: two accumulators of int16 for each four.
@inline(never)
func multiplyOneToken4(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros16x16()
  var wide = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = neon_fill(rows.offsets[group])
    for index in 0..<8 { wide[unchecked: index] = offset }
    var rest = panel.group
    while rest > 0 {
      let some = smaller(inputsOfInt16, rest)
      rest -= some
      for index in 0..<16 { sums[unchecked: index] = neon_int16() }
      for _ in 0..<some / 8 {
        neon_prefetch(codes + prefetchDistance)
        neon_prefetch(codes + prefetchDistance + 64)
        let first = neon_broadcast(values)
        let last = neon_broadcast(values + 4)
        for vector in 0..<8 {
          let packed = neon_load(codes + 16 * vector)
          let low = neon_low_codes(packed)
          let high = neon_high_codes(packed)
          let index = 2 * vector
          sums[unchecked: index] = neon_add_products_low(sums[unchecked: index], low, first)
          sums[unchecked: index + 1] = neon_add_products_high(sums[unchecked: index + 1], low, first)
          sums[unchecked: index] = neon_add_products_low(sums[unchecked: index], high, last)
          sums[unchecked: index + 1] = neon_add_products_high(sums[unchecked: index + 1], high, last)
        }
        codes += 128
        values += 8
      }
      for index in 0..<8 {
        let left = neon_add_pairs(neon_int32(), sums[unchecked: 2 * index])
        let right = neon_add_pairs(neon_int32(), sums[unchecked: 2 * index + 1])
        wide[unchecked: index] = neon_add(wide[unchecked: index], neon_join_pairs(left, right))
      }
    }
    addGroup(bits: 4, wide, panel, rows, group, output)
  }
}

/// The same for 8-bit codes: two accumulators of int32 for each four rows.
@inline(never)
func multiplyOneToken8(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros16()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    for index in 0..<16 { sums[unchecked: index] = neon_int32() }
    for _ in 0..<panel.group / 8 {
      for line in 0..<4 { neon_prefetch(codes + prefetchDistance + 64 * line) }
      let first = neon_broadcast(values)
      let last = neon_broadcast(values + 4)
      for vector in 0..<8 {
        let left = neon_less_128(neon_load(codes + 16 * vector))
        let right = neon_less_128(neon_load(codes + 16 * vector + 128))
        let low = neon_add_products_low(neon_products_low(left, first), right, last)
        let high = neon_add_products_high(neon_products_high(left, first), right, last)
        sums[unchecked: 2 * vector] = neon_add_pairs(sums[unchecked: 2 * vector], low)
        sums[unchecked: 2 * vector + 1] = neon_add_pairs(sums[unchecked: 2 * vector + 1], high)
      }
      codes += 256
      values += 8
    }
    var wide = zeros24()
    for index in 0..<8 {
      wide[unchecked: index] = neon_join_pairs(sums[unchecked: 2 * index], sums[unchecked: 2 * index + 1])
    }
    addGroup(bits: 8, wide, panel, rows, group, output)
  }
}
