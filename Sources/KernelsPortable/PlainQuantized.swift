import Kernels

public let plainQuantizedKernels = QuantizedKernels(
  quantizeRow: { x, columns, rows, token in
    let tile = token / 12 * 12
    let w = rows.count - tile < 12 ? rows.count - tile : 12
    for g in 0..<rows.groups {
      var greatest: Float = 0
      var k = g * rows.group
      while k < columns && k < (g + 1) * rows.group {
        if x[k].magnitude > greatest { greatest = x[k].magnitude }
        k += 1
      }
      let inverse = greatest > 0 ? 127 / greatest : 0
      var sum: Int32 = 0
      for k in g * rows.group..<(g + 1) * rows.group {
        let value = k < columns ? Int32((x[k] * inverse).rounded(.toNearestOrEven)) : 0
        rows.values[tile * rows.columns + (k / 4 * w + token - tile) * 4 + k % 4] = Int8(truncatingIfNeeded: value)
        sum += value
      }
      rows.scales[tile * rows.groups + g * w + token - tile] = greatest / 127
      rows.sums[tile * rows.groups + g * w + token - tile] = greatest / 127 * Float(sum)
    }
  },
  multiply4: { panel, rows, output, stride, _ in multiplyPlain(4, panel, rows, output, stride) },
  multiply8: { panel, rows, output, stride, _ in multiplyPlain(8, panel, rows, output, stride) },
  scratchBytes: 0)

private func multiplyPlain(_ bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ stride: Int) {
  let codes = panel.codes.assumingMemoryBound(to: UInt8.self)
  let perBlock = 32 / bits
  for t in 0..<rows.count {
    let tile = t / 12 * 12
    let w = rows.count - tile < 12 ? rows.count - tile : 12
    for r in 0..<32 {
      var total: Float = 0
      for g in 0..<panel.groups {
        var dot: Int32 = 0
        for k in 0..<panel.group {
          let at = g * panel.group + k
          let j = k % perBlock
          let byte = codes[((at / perBlock) * 32 + r) * 4 + j % 4]
          let code = bits == 8 ? Int32(byte) - 128 : Int32(j < 4 ? byte & 15 : byte >> 4) - 8
          dot += code * Int32(rows.values[tile * rows.columns + (at / 4 * w + t - tile) * 4 + at % 4])
        }
        let at = tile * rows.groups + g * w + t - tile
        let scale = Float(Float16(bitPattern: panel.scales[g * 32 + r]))
        total += scale * rows.scales[at] * Float(dot)
        if let minima = panel.minima {
          total += (Float(Float16(bitPattern: minima[g * 32 + r])) + (bits == 8 ? 128 : 8) * scale) * rows.sums[at]
        }
      }
      output[t * stride + r] = total
    }
  }
}
