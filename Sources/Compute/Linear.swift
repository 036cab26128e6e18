import Kernels
import Parallel

/// What happens to a product before it reaches memory. `bias` always comes first.
package enum Epilogue {
  case store
  case activated(by: Activation)
  /// `output += scale · product`; nil scale is 1: a residual connection with or without layer scale. `scale` is `[1, rows of the weight]`.
  case addTo(scale: Matrix?)

  /// Exact GELU.
  package static var gelu: Epilogue { .activated(by: .gelu) }
}

/// One of the products that share an input.
package struct LinearProduct {
  package var weight: WeightMatrix
  /// `[1, weight.rows]`.
  package var bias: Matrix?
  package var epilogue: Epilogue
  /// `[tokens, weight.rows]`.
  package var output: Matrix

  package init(_ weight: WeightMatrix, bias: Matrix? = nil, _ epilogue: Epilogue = .store, to output: Matrix) {
    self.weight = weight
    self.bias = bias
    self.epilogue = epilogue
    self.output = output
  }

  func check(inputRows: Int, inputColumns: Int) {
    precondition(weight.columns == inputColumns && output.columns == weight.rows && output.rows == inputRows)
    precondition(bias.map { $0.columns == weight.rows } ?? true)
    if case .addTo(let scale?) = epilogue { precondition(scale.columns == weight.rows) }
  }
}

extension Engine {
  /// `output = epilogue(norm(input) · weightᵀ + bias)` for each product. `input` is `[tokens, columns of every weight]`.
  /// Quantized weights take the input as int8, normalised and quantized once for all products of the same group.
  /// No output may overlap the input or another output. The first `alone` rows become bit for bit what each would as the only row.
  package func linear(_ input: Matrix, norm: RowNorm? = nil, alone: Int = 0, _ products: [LinearProduct]) throws(ComputeError) {
    norm?.check(columns: input.columns)
    for product in products { product.check(inputRows: input.rows, inputColumns: input.columns) }
    if products.isEmpty { return }
    let weights = products.map(\.weight)
    for rows in Engine.parts(of: input.rows, tileBytes: inputTileBytes(weights, columns: input.columns, isNormed: norm != nil)) {
      let sources = try inputs(input[rows: rows], norm: norm, weights)
      let loops = products.enumerated().map { index, product in
        PanelLoop(
          product, sources[index], alone: Engine.alone(alone, of: input.rows) - rows.lowerBound,
          .floats(product.epilogue, product.output[rows: rows]))
      }
      try run(loops, tokens: rows.count)
      withExtendedLifetime(sources) {}
    }
    // The loops hold bare pointers.
    withExtendedLifetime((input, norm, products)) {}
  }

  /// Bytes that the rows of an operator's intermediate results take at a time: what bounds the scratch memory.
  static let partBytes = 4 << 20
  /// Bytes of weights that a task of one token takes at least: handing a task over costs as much as reading some kilobytes.
  static let chunkBytes = 32 << 10

  /// Rows that count as alone: the only one always does.
  static func alone(_ count: Int, of rows: Int) -> Int { rows == 1 ? 1 : count }

  /// All rows, in parts of about one size and whole tiles, of which `tileBytes` for each tile make `partBytes` or four tiles.
  static func parts(of rows: Int, tileBytes: Int) -> [Range<Int>] {
    let tiles = (rows + tileTokens - 1) / tileTokens
    let most = tileBytes == 0 ? max(1, tiles) : max(4, partBytes / tileBytes)
    let parts = (tiles + most - 1) / most
    return (0..<parts).map { tiles * $0 / parts * tileTokens..<min(rows, tiles * ($0 + 1) / parts * tileTokens) }
  }

  /// One parallel loop over blocks of tokens and, within each, the panels of all products: a block of the input stays in a core's L2
  /// cache while the weights pass by. In runs: a thread's tokens are those whose input it made, and of one token's weights each thread
  /// reads its part from front to back.
  func run(_ loops: [PanelLoop], tokens: Int) throws(ComputeError) {
    let block = tokensInBlock(tokens: tokens, bytesPerToken: loops.map(\.inputBytes).max() ?? 0)
    let blocks = (tokens + block - 1) / block
    var layout = ScratchLayout()
    let floats = layout.add((loops.map { $0.scratchFloats(tokens: block) }.max() ?? 0), of: Float.self)
    let kernelScratch = layout.add(loops.map { $0.scratchBytes(kernels) }.max() ?? 0, of: UInt8.self)
    let scratch = try workerScratch.reserve(layout.byteCount, workers: pool.threadCount)

    let chunkBytes = tokens == 1 ? Engine.chunkBytes : 0
    let chunks = loops.reduce(0) { $0 + $1.chunks(chunkBytes) }
    loops.withUnsafeBufferPointer { loops in
      pool.forEachInRuns(blocks * chunks) { index, worker in
        let (part, chunkOfAll) = index.quotientAndRemainder(dividingBy: chunks)
        var chunk = chunkOfAll
        var loop = 0
        while chunk >= loops[loop].chunks(chunkBytes) {
          chunk -= loops[loop].chunks(chunkBytes)
          loop += 1
        }
        let memory = scratch[worker]
        loops[loop].compute(
          panels: loops[loop].panels(chunk: chunk, chunkBytes), tokens: part * block..<min(tokens, (part + 1) * block),
          floats: memory.values(floats, of: Float.self), scratch: memory + kernelScratch, using: self)
      }
    }
  }

  /// Tokens of a task: blocks of about one size, in whole tiles, whose input takes the kernels' `inputBlockBytes`.
  func tokensInBlock(tokens: Int, bytesPerToken: Int) -> Int {
    let tiles = (tokens + tileTokens - 1) / tileTokens
    let most = max(4, kernels.quantized.inputBlockBytes / (bytesPerToken * tileTokens))
    let parts = (tiles + most - 1) / most
    return min(tokens, (tiles + parts - 1) / parts * tileTokens)
  }
}

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

extension Engine {
  /// For each weight that asks for it, the input rounded to int8 and back; nil for the others.
  func roundedInputs(_ input: Matrix, _ weights: [WeightMatrix]) throws(ComputeError) -> [Matrix?] {
    var byGroup: [Int: Matrix] = [:]
    var result: [Matrix?] = []
    for weight in weights {
      guard case .rounded(let group) = weight.input else {
        result.append(nil)
        continue
      }
      if byGroup[group] == nil { byGroup[group] = try rounded(input, group: group) }
      result.append(byGroup[group])
    }
    return result
  }

  /// What a quantized weight would see of `input`: its values after rounding to int8 by groups.
  private func rounded(_ input: Matrix, group: Int) throws(ComputeError) -> Matrix {
    let output = try Matrix(rows: input.rows, columns: input.columns)
    guard let rows = try quantize(input, groups: [group]).first else { return output }
    let interleave = kernels.quantized.interleave ?? group
    for row in 0..<input.rows {
      let (tile, lane) = row.quotientAndRemainder(dividingBy: tileTokens)
      let width = min(tileTokens, rows.count - tile * tileTokens)
      let values = rows.values + tile * tileTokens * rows.columns
      let scales = rows.scales + tile * tileTokens * rows.groups
      let target = output.row(row)
      for k in 0..<input.columns {
        let place = (k / interleave * width + lane) * interleave + k % interleave
        target[k] = scales[k / group * width + lane] * Float(values[place])
      }
    }
    return output
  }
}
