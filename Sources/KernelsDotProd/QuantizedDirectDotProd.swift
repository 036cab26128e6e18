import CIntrinsics
import Kernels

/// Up to this many tokens are multiplied straight from the packed codes: each code is read once, from memory, and unpacked in registers.
let directTokens = 1

/// Bytes ahead of the codes being read that are asked for.
private let prefetchDistance = 1024

func multiplyDirectly(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, bits: Int) {
  clear(output, 1)
  if bits == 4 { direct4(panel, rows, output) } else { direct8(panel, rows, output) }
}

/// All 32 rows. 4-bit codes stay unsigned, and the accumulators start at −8 · Σ values.
@inline(never)
func direct4(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
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
func direct8(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
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
