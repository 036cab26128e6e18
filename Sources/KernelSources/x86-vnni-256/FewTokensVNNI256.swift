import CIntrinsics
import Kernels

/// `tokens` (a constant) tokens straight from the packed codes, in steps of eight inputs: the first four and the last four are added up
/// apart so that a sum waits for its predecessor less often. The upper halves of 4-bit codes stay where they are, so that their sums come
/// out 16 times too large, which costs one shift a group in place of one a vector.
@inline(__always)
func multiplyPackedCodes(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  // Vectors of 8 rows at a time: with their tokens at most four sums of each kind.
  let vectors = tokens > 2 ? 1 : tokens == 2 ? 2 : 4
  var first = zeros8()
  var last = zeros8()
  for part in 0..<4 / vectors {
    var codes = panel.codes + part * vectors * 32
    var values = UnsafeRawPointer(rows.values)
    let place = output + part * vectors * 8
    for group in 0..<panel.groups {
      for token in 0..<tokens {
        let offset = start(rows.offsets + group * tokens + token, bits: bits)
        for vector in 0..<vectors {
          first[unchecked: token * vectors + vector] = offset
          last[unchecked: token * vectors + vector] = avx2_fill32(0)
        }
      }
      for _ in 0..<panel.group / 8 {
        for vector in 0..<vectors {
          let packed = avx2_load(codes + 32 * vector)
          let left = bits == 4 ? avx2_and(packed, avx2_fill8(0x0f)) : packed
          let right = bits == 4 ? avx2_and(packed, avx2_fill8(-16)) : avx2_load(codes + 32 * vector + 128)
          for token in 0..<tokens {
            let index = token * vectors + vector
            first[unchecked: index] = vnni256_dot(first[unchecked: index], left, avx2_broadcast(values + 4 * token))
            last[unchecked: index] = vnni256_dot(last[unchecked: index], right, avx2_broadcast(values + 4 * tokens + 4 * token))
          }
        }
        codes += 32 * bits
        values += 8 * tokens
      }
      forget_memory()
      let row = group * panelRows + part * vectors * 8
      for vector in 0..<vectors {
        let scales = avx2_load_halves(panel.scales + row + 8 * vector)
        for token in 0..<tokens {
          let index = token * vectors + vector
          let rest = last[unchecked: index]
          let sum = avx2_add32(first[unchecked: index], bits == 4 ? avx2_divide16(rest) : rest)
          add(sum, scales, rows.scales + group * tokens + token, to: place + token * panelRows + 8 * vector)
        }
        if let halves = panel.minima {
          let minima = minima(halves + row + 8 * vector, scales, bits: bits)
          for token in 0..<tokens { add(minima, rows.sums + group * tokens + token, to: place + token * panelRows + 8 * vector) }
        }
      }
    }
  }
}
