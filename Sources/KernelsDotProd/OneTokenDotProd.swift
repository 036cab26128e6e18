import CIntrinsics
import Kernels

// One token, straight from the packed codes: each code is read once, from memory, and unpacked in registers.

/// All 32 rows. 4-bit codes stay unsigned, and the accumulators start at −8 · Σ values.
@inline(never)
func multiplyOneToken4(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = neon_fill(rows.offsets[group])
    for index in 0..<8 { sums[unchecked: index] = offset }
    for _ in 0..<panel.group / 16 {
      for line in 0..<4 { neon_prefetch(codes + prefetchDistance + 64 * line) }
      let four = neon_load(values)
      for half in 0..<2 {
        for vector in 0..<8 {
          let packed = neon_load(codes + 128 * half + 16 * vector)
          let sum = neon_dot(sums[unchecked: vector], neon_low_codes(packed), neon_lane(four, 2 * half))
          sums[unchecked: vector] = neon_dot(sum, neon_high_codes(packed), neon_lane(four, 2 * half + 1))
        }
      }
      codes += 256
      values += 16
    }
    addGroup(bits: 4, sums, panel, rows, group, output)
  }
}

@inline(never)
func multiplyOneToken8(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    for index in 0..<8 { sums[unchecked: index] = neon_int32() }
    for _ in 0..<panel.group / 16 {
      for line in 0..<8 { neon_prefetch(codes + prefetchDistance + 64 * line) }
      let four = neon_load(values)
      for lane in 0..<4 {
        for vector in 0..<8 {
          let signed = neon_less_128(neon_load(codes + 128 * lane + 16 * vector))
          sums[unchecked: vector] = neon_dot(sums[unchecked: vector], signed, neon_lane(four, lane))
        }
      }
      codes += 512
      values += 16
    }
    addGroup(bits: 8, sums, panel, rows, group, output)
  }
}
