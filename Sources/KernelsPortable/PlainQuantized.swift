import Kernels

public let plainQuantizedKernels = QuantizedKernels(
  quantizeRow: { x, columns, padded, group, values, scales, sums in
    for g in 0..<(padded / group) {
      var greatest: Float = 0
      for k in g * group..<min(columns, (g + 1) * group) where x[k].magnitude > greatest { greatest = x[k].magnitude }
      let inverse = greatest > 0 ? 127 / greatest : 0
      var sum: Int32 = 0
      for k in g * group..<(g + 1) * group {
        let value = k < columns ? Int32((x[k] * inverse).rounded(.toNearestOrEven)) : 0
        values[k] = Int8(truncatingIfNeeded: value)
        sum += value
      }
      scales[g] = greatest / 127
      sums[g] = sum
    }
  },
  multiply4: { panel, rows, output, stride, _ in multiplyPlain(4, panel, rows, output, stride) },
  multiply8: { panel, rows, output, stride, _ in multiplyPlain(8, panel, rows, output, stride) },
  scratchBytes: { _ in 0 })

private func multiplyPlain(_ bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ stride: Int) {
  let codes = panel.codes.assumingMemoryBound(to: UInt8.self)
  let perBlock = 32 / bits
  for t in 0..<rows.count {
    for r in 0..<32 {
      var total: Float = 0
      for g in 0..<panel.groups {
        var dot: Int32 = 0
        for k in 0..<panel.group {
          let at = g * panel.group + k
          let j = k % perBlock
          let byte = codes[((at / perBlock) * 32 + r) * 4 + j % 4]
          let code = bits == 8 ? Int32(byte) : Int32(j < 4 ? byte & 15 : byte >> 4)
          dot += code * Int32(rows.values[t * panel.groups * panel.group + at])
        }
        let a = rows.scales[t * panel.groups + g]
        let sum = rows.sums[t * panel.groups + g]
        let scale = Float(Float16(bitPattern: panel.scales[g * 32 + r]))
        if let minima = panel.minima {
          total += a * (scale * Float(dot) + Float(Float16(bitPattern: minima[g * 32 + r])) * Float(sum))
        } else {
          total += a * scale * Float(dot - (bits == 8 ? 128 : 8) * sum)
        }
      }
      output[t * stride + r] = total
    }
  }
}
