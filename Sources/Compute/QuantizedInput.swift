import Kernels

extension QuantizedRows {
  /// Groups of an input of so many columns.
  static func groups(columns: Int, group: Int) -> Int { (columns + group - 1) / group }

  /// The tiles that hold the tokens of `range`, which begins with a tile.
  func tokens(_ range: Range<Int>) -> QuantizedRows {
    tiles(range.lowerBound / tileTokens..<(range.upperBound + tileTokens - 1) / tileTokens)
  }
}

extension Engine {
  /// Quantizes the rows of `input` for each of the group sizes; the results live in the shared scratch until its next use.
  func quantize(_ input: Matrix, groups: [Int]) throws(ComputeError) -> [QuantizedRows] {
    if groups.isEmpty { return [] }
    var layout = ScratchLayout()
    var offsets: [Int] = []
    for group in groups {
      let count = QuantizedRows.groups(columns: input.columns, group: group)
      offsets.append(layout.add(QuantizedRows.byteCount(count: input.rows, groups: count, group: group), of: UInt8.self))
    }
    let base = try sharedScratch.reserve(layout.byteCount)
    let results = zip(groups, offsets).map { group, offset in
      QuantizedRows(
        memory: base + offset, count: input.rows, groups: QuantizedRows.groups(columns: input.columns, group: group), group: group)
    }
    let quantizeRow = kernels.quantized.quantizeRow
    // Whole tiles of tokens: their rows share cache lines.
    forEachRows((input.rows + tileTokens - 1) / tileTokens, columns: input.columns * tileTokens) { tiles in
      for result in results {
        for row in tiles.lowerBound * tileTokens..<min(input.rows, tiles.upperBound * tileTokens) {
          quantizeRow(input.row(row), input.columns, result, row)
        }
      }
    }
    return results
  }
}
