import Kernels

extension Engine {
  /// `output[r] = table[ids[r]]` as floats. Reads the rows asked for and no other. The caller has checked that each id is in
  /// `0 ..< table.rows`.
  package func gatherRows(_ ids: [Int32], of table: WeightMatrix, to output: Matrix) {
    precondition(output.rows == ids.count && output.columns == table.columns)
    let toFloat = kernels.float.toFloat
    forEachRows(ids.count, columns: table.columns) { rows, _ in
      for row in rows {
        let id = Int(ids[row])
        precondition(id >= 0 && id < table.rows)
        switch table.storage {
        case .float(let type, let base):
          toFloat(type, base + id * table.columns * type.size, table.columns, output.row(row))
        case .quantized(let layout, let planes): layout.decode(row: id, 0..<table.columns, of: planes, to: output.row(row))
        }
      }
    }
  }
}
