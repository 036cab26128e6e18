import CIntrinsics
import Kernels

/// `tokens` (a constant) tokens straight from the packed codes: so many vectors of 8 rows at a time that the accumulators are at most
/// eight, one for each digit of the codes, token and vector.
@inline(__always)
func multiplyPackedCodes(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  let digitCount = bits == 4 ? 1 : 2
  let vectors = tokens * digitCount > 4 ? 1 : tokens * digitCount > 2 ? 2 : 4
  // Inputs of one 128-byte block of the panel's 32 rows.
  let inputs = bits == 4 ? 8 : 4
  var sums = zeros8()
  var wide = zeros8()
  for part in 0..<4 / vectors {
    var codes = panel.codes + part * vectors * 32
    var values = UnsafeRawPointer(rows.values)
    var offsets = UnsafePointer(rows.offsets)
    for group in 0..<panel.groups {
      var rest = panel.group
      var isFirst = true
      while rest > 0 {
        let some = smaller(lanes16Inputs, rest)
        rest -= some
        for token in 0..<tokens {
          let offset = avx2_broadcast(offsets + token)
          for index in 0..<vectors * digitCount { sums[unchecked: token * vectors * digitCount + index] = offset }
        }
        offsets += tokens
        for _ in 0..<some / inputs {
          for vector in 0..<vectors {
            let packed = avx2_load(codes + 32 * vector)
            if bits == 4 {
              let low = avx2_and(packed, avx2_fill8(15))
              let high = avx2_and(avx2_shift4(packed), avx2_fill8(15))
              for token in 0..<tokens {
                let first = avx2_multiply_pairs8(low, avx2_broadcast(values + 4 * token))
                let second = avx2_multiply_pairs8(high, avx2_broadcast(values + 4 * tokens + 4 * token))
                let index = token * vectors + vector
                sums[unchecked: index] = avx2_add16(avx2_add16(first, second), sums[unchecked: index])
              }
            } else {
              let (high, low) = digits(packed)
              for token in 0..<tokens {
                let four = avx2_broadcast(values + 4 * token)
                let index = 2 * (token * vectors + vector)
                sums[unchecked: index] = avx2_add16(sums[unchecked: index], avx2_multiply_pairs8(high, four))
                sums[unchecked: index + 1] = avx2_add16(sums[unchecked: index + 1], avx2_multiply_pairs8(low, four))
              }
            }
          }
          codes += 128
          values += inputs * tokens
        }
        for index in 0..<vectors * tokens {
          let sum = bits == 4 ? widen(sums[unchecked: index]) : widen(high: sums[unchecked: 2 * index], low: sums[unchecked: 2 * index + 1])
          wide[unchecked: index] = isFirst ? sum : avx2_add32(wide[unchecked: index], sum)
        }
        isFirst = false
      }
      forget_memory()
      let row = 8 * part * vectors
      let place = output + row
      let weightScales = panel.scales + group * panelRows + row
      let scales = rows.scales + group * tokens
      for vector in 0..<vectors {
        for token in 0..<tokens {
          add(
            wide[unchecked: token * vectors + vector], avx2_load_halves(weightScales + 8 * vector), scales + token,
            to: place + token * panelRows + 8 * vector)
        }
      }
      if let halves = panel.minima {
        for vector in 0..<vectors {
          let minima = minima(halves + group * panelRows + row + 8 * vector, avx2_load_halves(weightScales + 8 * vector), bits: bits)
          for token in 0..<tokens { add(minima, rows.sums + group * tokens + token, to: place + token * panelRows + 8 * vector) }
        }
      }
    }
  }
}
