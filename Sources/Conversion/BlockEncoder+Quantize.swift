import ModelFile

extension BlockEncoder {
  /// Encodes one panel: up to 32 rows to codes, scales and, where the codes are asymmetric, minima.
  func quantize(
    _ rows: Range<Int>, _ layout: QuantizedLayout, to planes: [UnsafeMutableRawPointer], scratch: ConversionScratch
  ) throws(ConversionError) -> Bool {
    let stride = layout.paddedColumns
    let floats = try scratch.block(count: rows.count * stride)
    let isFinite = try source.floats(rows, to: floats, stride: stride, scratch: scratch)
    if !isFinite {
      try refuseNonfinite(rows, scratch)
      for index in 0..<rows.count * stride where !floats[index].isFinite { floats[index] = 0 }
    }
    let codes = planes[0].assumingMemoryBound(to: UInt8.self)
    let scales = planes[1].assumingMemoryBound(to: UInt16.self)
    for i in 0..<layout.codesPerPanel { codes[i] = layout.bits == 4 ? 0x88 : 0x80 }
    for i in 0..<layout.scalesPerPanel / 2 { scales[i] = 0 }
    for row in 0..<rows.count {
      for g in 0..<layout.groups {
        let start = g * layout.group
        let end = min(source.columns, start + layout.group)
        var top: Float = 0
        for c in start..<end { top = max(top, abs(floats[row * stride + c])) }
        let limit: Float = layout.bits == 4 ? 7 : 127
        let scale = Float(Float16(top / limit))
        scales[g * 32 + row] = Float16(scale).bitPattern
        if !scale.isFinite { try refuseTooLarge(rows, scratch) }
        for c in start..<end {
          let value = scale == 0 ? 0 : (floats[row * stride + c] / scale).rounded(.toNearestOrEven)
          let q = Int(min(limit, max(-limit, value)))
          let k = c - start
          if layout.bits == 8 {
            codes[g * layout.group * 32 + (k / 4) * 128 + row * 4 + k % 4] = UInt8(q + 128)
          } else {
            let place = g * layout.group * 16 + (k / 8) * 128 + row * 4 + k % 4
            let code = UInt8(q + 8)
            codes[place] = k % 8 < 4 ? codes[place] & 0xF0 | code : codes[place] & 0x0F | code << 4
          }
        }
      }
    }
    return isFinite
  }
}
