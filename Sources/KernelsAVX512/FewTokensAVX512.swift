import CIntrinsics
import Kernels

/// All 32 rows by `tokens` (a constant) tokens straight from the packed codes, in steps of 128 bytes of 4-bit or 256 of 8-bit codes: eight
/// inputs, the first four and the last four added up apart so that a sum waits for its predecessor less often. The upper halves of 4-bit
/// codes stay where they are, so that their sums come out 16 times too large, which costs one shift a group in place of one a vector.
@inline(__always)
func multiplyPackedCodes(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  var first = zeros8()
  var last = zeros8()
  var results = floatZeros8()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    for token in 0..<tokens {
      let offset = start(rows.offsets + group * tokens + token, bits: bits)
      for vector in 0..<2 {
        first[unchecked: 2 * token + vector] = offset
        last[unchecked: 2 * token + vector] = avx512_fill32(0)
      }
    }
    for _ in 0..<panel.group / 8 {
      for vector in 0..<2 {
        let packed = avx512_load(codes + 64 * vector)
        let left = bits == 4 ? avx512_and(packed, avx512_fill8(0x0f)) : packed
        let right = bits == 4 ? avx512_and(packed, avx512_fill8(-16)) : avx512_load(codes + 64 * vector + 128)
        for token in 0..<tokens {
          let index = 2 * token + vector
          first[unchecked: index] = avx512_dot(first[unchecked: index], left, avx512_broadcast(values + 4 * token))
          last[unchecked: index] = avx512_dot(last[unchecked: index], right, avx512_broadcast(values + 4 * tokens + 4 * token))
        }
      }
      codes += 32 * bits
      values += 8 * tokens
    }
    forget_memory()
    let row = group * panelRows
    let upper = avx512_load_halves(panel.scales + row)
    let lower = avx512_load_halves(panel.scales + row + 16)
    for token in 0..<tokens {
      for vector in 0..<2 {
        let rest = last[unchecked: 2 * token + vector]
        let sum = avx512_add32(first[unchecked: 2 * token + vector], bits == 4 ? avx512_divide16(rest) : rest)
        let index = 2 * token + vector
        results[unchecked: index] = add(
          sum, vector == 0 ? upper : lower, rows.scales + group * tokens + token, to: results[unchecked: index])
      }
    }
    if let halves = panel.minima {
      let upper = minima(halves + row, upper, bits: bits)
      let lower = minima(halves + row + 16, lower, bits: bits)
      for token in 0..<tokens {
        let factor = rows.sums + group * tokens + token
        results[unchecked: 2 * token] = add(upper, factor, to: results[unchecked: 2 * token])
        results[unchecked: 2 * token + 1] = add(lower, factor, to: results[unchecked: 2 * token + 1])
      }
    }
  }
  for index in 0..<2 * tokens { avx512_store_floats(output + 16 * index, results[unchecked: index]) }
}
