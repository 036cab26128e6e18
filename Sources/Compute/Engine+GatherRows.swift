import Kernels

extension Engine {
  /// `output[r] = table[ids[r]]` as floats. Reads the rows asked for and no other. The caller has checked that each id is in
  /// `0 ..< table.rows`.
  public func gatherRows(_ ids: [Int32], of table: WeightMatrix, to output: Matrix) {
    precondition(output.rows == ids.count && output.columns == table.columns)
    let toFloat = kernels.float.toFloat
    forEachRows(ids.count, columns: table.columns) { rows in
      for row in rows {
        let id = Int(ids[row])
        precondition(id >= 0 && id < table.rows)
        switch table.storage {
        case .float(let type, let base):
          toFloat(type, base + id * table.columns * type.size, table.columns, output.row(row))
        case .quantized(let bits, let group, let codes, let scales, let minima):
          let layout = PackedRow(row: id, columns: table.columns, bits: bits, group: group, codes: codes, scales: scales, minima: minima)
          layout.decode(to: output.row(row))
        }
      }
    }
  }
}

/// One row of a quantized matrix, spread over its panel: see `QuantizedPanel`.
private struct PackedRow {
  let columns: Int
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
    self.columns = columns
    self.group = group
    self.bits = bits
    self.codes = (codes + panel * groups * group * panelRows * bits / 8 + 4 * lane).assumingMemoryBound(to: UInt8.self)
    self.scales = scales + panel * groups * panelRows + lane
    self.minima = minima.map { $0 + panel * groups * panelRows + lane }
  }

  func decode(to output: UnsafeMutablePointer<Float>) {
    let zero: Float = bits == 4 ? 8 : 128
    for k in 0..<columns {
      let g = k / group
      let scale = Float(Float16(bitPattern: scales[g * panelRows]))
      let offset = minima.map { Float(Float16(bitPattern: $0[g * panelRows])) } ?? -zero * scale
      let code: UInt8
      if bits == 4 {
        let byte = codes[k / 8 * 128 + k % 4]
        code = k % 8 < 4 ? byte & 15 : byte >> 4
      } else {
        code = codes[k / 4 * 128 + k % 4]
      }
      output[k] = scale * Float(code) + offset
    }
  }
}
