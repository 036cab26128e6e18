import Kernels

/// The rows of a linear layer's input as int8, for one group size.
struct QuantizedInput {
  let group: Int
  let paddedColumns: Int
  let values: UnsafeMutablePointer<Int8>
  let scales: UnsafeMutablePointer<Float>
  let sums: UnsafeMutablePointer<Int32>

  var groups: Int { paddedColumns / group }

  /// Some of the rows, as the kernels take them.
  func rows(_ range: Range<Int>) -> QuantizedRows {
    QuantizedRows(
      values: values + range.lowerBound * paddedColumns, scales: scales + range.lowerBound * groups,
      sums: sums + range.lowerBound * groups, count: range.count)
  }

  /// Bytes of a row, for a block of tokens that shall fit a cache.
  static func bytesPerRow(columns: Int, group: Int) -> Int {
    let padded = (columns + group - 1) / group * group
    return padded + padded / group * 8
  }
}

extension Engine {
  /// Quantizes rows of `input` for each of the group sizes; the result lives in the shared scratch until its next use.
  func quantize(_ input: Matrix, groups: [Int]) throws(ComputeError) -> [QuantizedInput] {
    if groups.isEmpty { return [] }
    var layout = ScratchLayout()
    var offsets: [(group: Int, padded: Int, values: Int, scales: Int, sums: Int)] = []
    for group in groups {
      let padded = (input.columns + group - 1) / group * group
      offsets.append(
        (
          group, padded, layout.add(input.rows * padded, of: Int8.self), layout.add(input.rows * (padded / group), of: Float.self),
          layout.add(input.rows * (padded / group), of: Int32.self)
        ))
    }
    let base = try sharedScratch.reserve(layout.byteCount)
    let results = offsets.map {
      QuantizedInput(
        group: $0.group, paddedColumns: $0.padded, values: base.values($0.values, of: Int8.self),
        scales: base.values($0.scales, of: Float.self), sums: base.values($0.sums, of: Int32.self))
    }
    let quantizeRow = kernels.quantized.quantizeRow
    forEachRows(input.rows, columns: input.columns) { rows in
      for result in results {
        for row in rows {
          quantizeRow(
            input.row(row), input.columns, result.paddedColumns, result.group, result.values + row * result.paddedColumns,
            result.scales + row * result.groups, result.sums + row * result.groups)
        }
      }
    }
    return results
  }
}
