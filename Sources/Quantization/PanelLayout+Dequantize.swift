extension PanelLayout {
  /// The weights that a panel stands for: `rows` rows of `columns` floats, row r at `values + r · stride`. Planes as `quantize` writes them.
  package func dequantize(
    codes: UnsafeRawPointer, scales: UnsafePointer<UInt16>, minima: UnsafePointer<UInt16>?, rows: Int,
    to values: UnsafeMutablePointer<Float>,
    stride: Int
  ) {
    precondition(rows >= 1 && rows <= Self.rows && stride >= columns && (scheme.isSymmetric || minima != nil))
    let zero: Int32 = scheme.isSymmetric ? 1 << Int32(scheme.bits - 1) : 0
    // Inputs in 128 bytes of codes.
    let block = 32 / scheme.bits
    for row in 0..<rows {
      let output = values + row * stride
      for column in 0..<columns {
        let place = column / scheme.group * Self.rows + row
        let input = column % block
        let byte = codes.load(fromByteOffset: column / block * 128 + row * 4 + input % 4, as: UInt8.self)
        let code = scheme.bits == 8 ? byte : input < 4 ? byte & 15 : byte >> 4
        let scale = Float(Float16(bitPattern: scales[place]))
        let minimum = scheme.isSymmetric ? 0 : minima.map { Float(Float16(bitPattern: $0[place])) } ?? 0
        output[column] = scale * Float(Int32(code) - zero) + minimum
      }
    }
  }
}
