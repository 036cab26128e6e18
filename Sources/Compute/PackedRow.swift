import Kernels

/// One row of a quantized matrix, spread over its panel: see `QuantizedPanel`.
struct PackedRow {
  let group: Int
  let bits: Int
  /// The row's first byte; the next input's four bytes are 128 further.
  let codes: UnsafePointer<UInt8>
  let scales: UnsafePointer<UInt16>
  let minima: UnsafePointer<UInt16>?

  init(
    row: Int, columns: Int, bits: Int, group: Int, codes: UnsafeRawPointer, scales: UnsafePointer<UInt16>, minima: UnsafePointer<UInt16>?
  ) {
    let (panel, lane) = row.quotientAndRemainder(dividingBy: panelRows)
    let groups = (columns + group - 1) / group
    self.group = group
    self.bits = bits
    self.codes = (codes + panel * groups * group * panelRows * bits / 8 + 4 * lane).assumingMemoryBound(to: UInt8.self)
    self.scales = scales + panel * groups * panelRows + lane
    self.minima = minima.map { $0 + panel * groups * panelRows + lane }
  }

  /// The weights of some inputs, the first at `output`.
  func decode(_ range: Range<Int>, to output: UnsafeMutablePointer<Float>) {
    let zero: Float = bits == 4 ? 8 : 128
    var first = range.lowerBound
    while first < range.upperBound {
      let g = first / group
      let end = min(range.upperBound, (g + 1) * group)
      let scale = Float(Float16(bitPattern: scales[g * panelRows]))
      let offset = minima.map { Float(Float16(bitPattern: $0[g * panelRows])) } ?? -zero * scale
      let target = output - range.lowerBound
      if bits == 4 {
        for k in first..<end {
          let byte = codes[(k >> 3) &* 128 &+ (k & 3)]
          target[k] = scale * Float(k & 4 == 0 ? byte & 15 : byte >> 4) + offset
        }
      } else {
        for k in first..<end { target[k] = scale * Float(codes[(k >> 2) &* 128 &+ (k & 3)]) + offset }
      }
      first = end
    }
  }
}
