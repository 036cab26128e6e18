import Kernels

/// What a product reads.
enum PanelInput {
  case floats(Matrix)
  case quantized(QuantizedRows)
}

extension Engine {
  /// Rows that are normalised before they are quantized, together: as many as kernels quantize at once.
  private static let normedRows = 4

  static func normScratchBytes(columns: Int) -> Int { normedRows * columns * MemoryLayout<Float>.stride }

  /// Bytes that a tile of `columns` inputs takes while it is made ready for these weights.
  func inputTileBytes(_ weights: [WeightMatrix], columns: Int, isNormed: Bool) -> Int {
    let groups = Set(weights.compactMap(\.inputGroup))
    let takesFloats = isNormed && (observer != nil || weights.contains { $0.inputGroup == nil })
    return groups.reduce(takesFloats ? columns * tileTokens * MemoryLayout<Float>.stride : 0) {
      $0 + QuantizedRows.tileBytes(columns: columns, group: $1)
    }
  }

  /// `norm(input)` as each of the weights takes it; the results live in scratch memory until its next use.
  func inputs(_ input: Matrix, norm: RowNorm?, _ weights: [WeightMatrix]) throws(ComputeError) -> [PanelInput] {
    var floats = input
    var norm = norm
    if let applied = norm, observer != nil || weights.contains(where: { $0.inputGroup == nil }) {
      let memory = try normScratch.reserve(input.rows * input.columns * MemoryLayout<Float>.stride)
      floats = Matrix(
        rows: input.rows, columns: input.columns, stride: input.columns, pointer: memory.assumingMemoryBound(to: Float.self),
        owner: normScratch)
      normalize(input, applied, to: floats)
      norm = nil
    }
    if let observer { for weight in weights { try observer(weight, floats) } }
    let rounded = try roundedInputs(floats, weights)
    var groups: [Int] = []
    for group in weights.compactMap(\.inputGroup) where !groups.contains(group) { groups.append(group) }
    let quantized = try quantize(floats, norm: norm, groups: groups)
    return weights.enumerated().map { index, weight in
      if let rows = quantized.first(where: { $0.group == weight.inputGroup }) { return .quantized(rows) }
      return .floats(rounded[index] ?? floats)
    }
  }

  /// Quantizes the rows of `norm(input)` for each of the group sizes.
  func quantize(_ input: Matrix, norm: RowNorm? = nil, groups: [Int]) throws(ComputeError) -> [QuantizedRows] {
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
    let scratch = try workerScratch.reserve(norm == nil ? 0 : Engine.normScratchBytes(columns: input.columns), workers: pool.threadCount)
    // Whole tiles of tokens: their rows share cache lines.
    forEachRows((input.rows + tileTokens - 1) / tileTokens, columns: input.columns * tileTokens) { tiles, worker in
      let end = min(input.rows, tiles.upperBound * tileTokens)
      for first in stride(from: tiles.lowerBound * tileTokens, to: end, by: Engine.normedRows) {
        let tokens = first..<min(end, first + Engine.normedRows)
        var values = UnsafePointer(input.row(first))
        var rowStride = input.stride
        if let norm {
          let normed = scratch[worker].assumingMemoryBound(to: Float.self)
          for token in tokens {
            norm.apply(input.row(token), input.columns, to: normed + (token - first) * input.columns, using: kernels.float)
          }
          (values, rowStride) = (UnsafePointer(normed), input.columns)
        }
        for result in results { kernels.quantized.quantizeRows(values, rowStride, input.columns, result, tokens, 0..<result.groups) }
      }
    }
    return results
  }
}

extension QuantizedRows {
  /// Groups of an input of so many columns.
  static func groups(columns: Int, group: Int) -> Int { (columns + group - 1) / group }

  /// Bytes of a whole tile of so many columns.
  static func tileBytes(columns: Int, group: Int) -> Int {
    byteCount(count: tileTokens, groups: groups(columns: columns, group: group), group: group)
  }

  /// The tiles that hold the tokens of `range`, which begins with a tile.
  func tokens(_ range: Range<Int>) -> QuantizedRows {
    tiles(range.lowerBound / tileTokens..<(range.upperBound + tileTokens - 1) / tileTokens)
  }
}
