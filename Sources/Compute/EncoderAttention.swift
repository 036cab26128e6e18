import Kernels
import Tensors

extension Engine {
  /// Attention in which every token sees every entry, straight from the projections: `queries`, `output` `[tokens, heads · dimension]`,
  /// `keys`, `values` `[entries, key heads · dimension]`, `heads` a multiple of the key heads, grouped in order; scores scaled by
  /// 1/√dimension. `output` may be `queries`, and no other operand. Of no entries it is zeros.
  ///
  /// With `asCodes` the products are of int8, as those of quantized weights are: see `CodedEntries`. Else they are of floats:
  /// a task is one head of 32 tokens, and computes the transpose: scores `[entries][32]` are keys by a panel of queries, the output
  /// `[dimension][32]` is the values' transpose by the weights. So keys and values are read where they are, a dimension needs no padding,
  /// and each token's softmax has a lane of its own.
  package func attention(
    _ queries: Matrix, heads: Int, keys: Matrix, values: Matrix, asCodes: Bool = false, to output: Matrix
  ) throws(ComputeError) {
    precondition(heads > 0 && queries.columns > 0 && queries.columns % heads == 0 && output.columns == queries.columns)
    let dimension = queries.columns / heads
    precondition(keys.columns > 0 && queries.columns % keys.columns == 0 && keys.columns % dimension == 0)
    precondition(output.rows == queries.rows && values.rows == keys.rows && values.columns == keys.columns)
    if asCodes, keys.rows > 0, queries.rows > 0 { return try codedAttention(queries, heads: heads, keys: keys, values: values, to: output) }
    let group = queries.columns / keys.columns
    let width = panelRows
    let panels = (queries.rows + width - 1) / width

    var layout = ScratchLayout()
    let query = layout.add(dimension * width, of: Float.self)
    let scores = layout.add(Engine.encoderChunk * width, of: Float.self)
    let sums = layout.add(dimension * width, of: Float.self)
    let greatest = layout.add(width, of: Float.self)
    let weights = layout.add(width, of: Float.self)
    let turned = layout.add(width * width, of: Float.self)
    let scratch = try workerScratch.reserve(layout.byteCount, workers: pool.threadCount)
    let kernels = kernels.float

    // Neighbours read the same keys and values.
    pool.forEachInRuns(panels * heads) { index, worker in
      let (head, panel) = index.quotientAndRemainder(dividingBy: panels)
      let tokens = panel * width..<min(queries.rows, (panel + 1) * width)
      let memory = scratch[worker]
      let query = memory.values(query, of: Float.self)
      let scores = memory.values(scores, of: Float.self)
      let sums = memory.values(sums, of: Float.self)
      let greatest = memory.values(greatest, of: Float.self)
      let weights = memory.values(weights, of: Float.self)
      kernels.packPanel(.float32, queries.row(tokens.lowerBound) + head * dimension, queries.stride, tokens.count, dimension, query)
      kernels.scale(query, 1 / Float(dimension).squareRoot(), dimension * width)
      sums.update(repeating: 0, count: dimension * width)
      greatest.update(repeating: -.infinity, count: width)
      weights.update(repeating: 0, count: width)
      let column = head / group * dimension
      for first in stride(from: 0, to: keys.rows, by: Engine.encoderChunk) {
        let count = min(Engine.encoderChunk, keys.rows - first)
        kernels.multiply(count, dimension, keys.row(first) + column, keys.stride, query, width, scores, width, false)
        kernels.softmaxColumns(scores, count, greatest, weights, sums, dimension)
        kernels.multiplyTransposed(dimension, count, values.row(first) + column, values.stride, scores, width, sums, width, true)
      }

      write(
        sums, dimension: dimension, over: weights, memory.values(turned, of: Float.self), tokens, head: head, to: output, using: kernels)
    }
    withExtendedLifetime((queries, keys, values, output)) {}
  }

  /// Entries between two looks at the greatest score.
  static let encoderChunk = 128

  /// A head's output of some tokens: `sums` `[dimension][32]`, each token's over its weight where there are any. `turned` has 32 · 32
  /// floats.
  private func write(
    _ sums: UnsafePointer<Float>, dimension: Int, over weights: UnsafePointer<Float>? = nil, _ turned: UnsafeMutablePointer<Float>,
    _ tokens: Range<Int>, head: Int, to output: Matrix, using kernels: FloatKernels
  ) {
    for first in stride(from: 0, to: dimension, by: panelRows) {
      let rows = min(panelRows, dimension - first)
      kernels.packPanel(.float32, sums + first * panelRows, panelRows, rows, panelRows, turned)
      for (lane, token) in tokens.enumerated() {
        let values = turned + lane * panelRows
        // Of no entries it is zeros.
        if let weights, weights[lane] != 0 { kernels.scale(values, 1 / weights[lane], rows) }
        (output.row(token) + head * dimension + first).update(from: values, count: rows)
      }
    }
  }
}

// MARK: int8

extension Engine {
  /// See `attention(_:heads:keys:values:asCodes:to:)`. As with floats, a task is one head of 32 tokens: their queries are a panel of
  /// weights for the keys' rows, and what their softmax makes of the scores is one for the rows of the values' transpose.
  private func codedAttention(
    _ queries: Matrix, heads: Int, keys: Matrix, values: Matrix, to output: Matrix
  ) throws(ComputeError) {
    let dimension = queries.columns / heads
    let group = queries.columns / keys.columns
    let width = panelRows
    let panels = (queries.rows + width - 1) / width
    let entries = CodedEntries(count: keys.rows, dimension: dimension, heads: keys.columns / dimension)
    let store = try sharedScratch.reserve(entries.byteCount)

    let layout = CodedAttentionLayout(entries, kernels)
    let scratch = try workerScratch.reserve(layout.byteCount, workers: pool.threadCount)
    let (float, quantized) = (kernels.float, kernels.quantized)
    let table = kernels

    pool.forEach(2 * entries.heads) { index, worker in
      let work = scratch[worker].values(layout.scores, of: Float.self)
      if index % 2 == 0 {
        entries.store(keys: keys, head: index / 2, in: store, work: work, using: table)
      } else {
        entries.store(values: values, head: index / 2, in: store, work: work, using: table)
      }
    }

    // Neighbours read the same keys and values.
    pool.forEachInRuns(panels * heads) { index, worker in
      let (head, panel) = index.quotientAndRemainder(dividingBy: panels)
      let tokens = panel * width..<min(queries.rows, (panel + 1) * width)
      let memory = scratch[worker]
      let query = memory.values(layout.query, of: Float.self)
      let scores = memory.values(layout.scores, of: Float.self)
      let products = memory.values(layout.products, of: Float.self)
      let greatest = memory.values(layout.greatest, of: Float.self)
      let weights = memory.values(layout.weights, of: Float.self)
      let kernelScratch = memory + layout.kernelScratch

      float.packPanel(.float32, queries.row(tokens.lowerBound) + head * dimension, queries.stride, tokens.count, dimension, query)
      let queryPanel = CodedPanel(memory + layout.codes, groups: entries.keyGroups, group: entries.keyGroup)
      queryPanel.store(query, count: dimension, using: float)
      quantized.multiply8(queryPanel.panel, entries.keys(head: head / group, in: store), scores, kernelScratch)

      greatest.update(repeating: -.infinity, count: width)
      weights.update(repeating: 0, count: width)
      float.softmaxColumns(scores, entries.count, greatest, weights, products, 0)
      let weightPanel = CodedPanel(memory + layout.codes, groups: entries.valueGroups, group: entries.valueGroup)
      weightPanel.store(scores, count: entries.count, over: weights, using: float)
      quantized.multiply8(weightPanel.panel, entries.values(head: head / group, in: store), products, kernelScratch)
      write(products, dimension: dimension, memory.values(layout.turned, of: Float.self), tokens, head: head, to: output, using: float)
    }
    withExtendedLifetime((queries, keys, values, output)) {}
  }
}

/// What a task of attention as int8 has of scratch memory.
struct CodedAttentionLayout {
  let query: Int
  let scores: Int
  let products: Int
  let greatest: Int
  let weights: Int
  let turned: Int
  let codes: Int
  let kernelScratch: Int
  let byteCount: Int

  init(_ entries: CodedEntries, _ kernels: KernelTable) {
    var layout = ScratchLayout()
    query = layout.add(entries.dimension * panelRows, of: Float.self)
    // Before there are any, what storing a head needs.
    scores = layout.add(max(entries.count * panelRows, entries.workFloats), of: Float.self)
    products = layout.add(entries.dimension * panelRows, of: Float.self)
    greatest = layout.add(panelRows, of: Float.self)
    weights = layout.add(panelRows, of: Float.self)
    turned = layout.add(panelRows * panelRows, of: Float.self)
    codes = layout.add(
      CodedPanel.byteCount(columns: max(entries.keyGroups * entries.keyGroup, entries.valueGroups * entries.valueGroup)), of: UInt8.self)
    kernelScratch = layout.add(kernels.quantized.scratchBytes, of: UInt8.self)
    byteCount = layout.byteCount
  }
}

/// A panel of 32 rows of weights that is made of floats: 8-bit codes, each row's with a scale for each group.
struct CodedPanel {
  let panel: QuantizedPanel

  /// What a panel takes at most, in groups of 32 or more.
  static func byteCount(columns: Int) -> Int { columns * panelRows + columns / QuantizedScheme.groupUnit * panelRows * 2 }

  init(_ memory: UnsafeMutableRawPointer, groups: Int, group: Int) {
    let scales = (memory + groups * group * panelRows).assumingMemoryBound(to: UInt16.self)
    panel = QuantizedPanel(codes: memory, scales: scales, minima: nil, groups: groups, group: group)
  }

  /// `x` `[count][32]`: a column for each row of the panel, divided by the row's divisor where there are any.
  func store(_ x: UnsafePointer<Float>, count: Int, over divisors: UnsafePointer<Float>? = nil, using kernels: FloatKernels) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * panelRows) { numbers in
      guard let numbers = numbers.baseAddress else { return }
      let rounded = numbers + panelRows
      for group in 0..<panel.groups {
        let first = group * panel.group
        let known = min(panel.group, count - first)
        kernels.codes.greatestMagnitudes(x + first * panelRows, known, numbers)
        for row in 0..<panelRows { numbers[row] /= 127 * (divisors?[row] ?? 1) }
        // The next float16 that is not below, so that codes stay within −127 ... 127.
        let scales = UnsafeMutablePointer(mutating: panel.scales) + group * panelRows
        kernels.toHalf(numbers, panelRows, scales)
        kernels.toFloat(.float16, scales, panelRows, rounded)
        for row in 0..<panelRows { scales[row] += rounded[row] < numbers[row] ? 1 : 0 }
        kernels.toFloat(.float16, scales, panelRows, rounded)
        for row in 0..<panelRows {
          let inverse = 1 / (rounded[row] * (divisors?[row] ?? 1))
          numbers[row] = inverse.isFinite ? inverse : 0
        }
        kernels.codes.toCodesOfRows(
          x + first * panelRows, known, panel.group, numbers, UnsafeMutableRawPointer(mutating: panel.codes) + first * panelRows)
      }
    }
  }
}

/// Where all heads' keys, and the transpose of their values, stand as int8, as inputs of products do.
///
/// Keys are taken less the mean of some, which adds the same to all scores of a query and so nothing to its weights: what is left is
/// smaller, and rounded finer. A key has one scale, a column of the values one for 128 entries, as the weights have.
struct CodedEntries {
  let count: Int
  let dimension: Int
  let heads: Int

  /// Keys at most that the mean is of.
  private static let samples = 64

  /// Few enough for a kernel's sums: one group, for heads as they are.
  var keyGroups: Int { (dimension + largestGroup - 1) / largestGroup }
  var keyGroup: Int { ((dimension + keyGroups - 1) / keyGroups + 31) / 32 * 32 }
  var valueGroup: Int { 128 }
  var valueGroups: Int { (count + valueGroup - 1) / valueGroup }
  private var keyBytes: Int { (QuantizedRows.byteCount(count: count, groups: keyGroups, group: keyGroup) + 63) / 64 * 64 }
  private var valueBytes: Int { (QuantizedRows.byteCount(count: dimension, groups: valueGroups, group: valueGroup) + 63) / 64 * 64 }

  var byteCount: Int { heads * (keyBytes + valueBytes) }
  /// Floats of scratch that storing a head needs: a mean and some keys, or a group of the values and some of it the other way round.
  var workFloats: Int { max(1 + tileTokens, valueGroup + panelRows) * dimension }

  /// `[count][dimension]`.
  func keys(head: Int, in memory: UnsafeMutableRawPointer) -> QuantizedRows {
    QuantizedRows(memory: memory + head * keyBytes, count: count, groups: keyGroups, group: keyGroup)
  }

  /// `[dimension][count]`.
  func values(head: Int, in memory: UnsafeMutableRawPointer) -> QuantizedRows {
    QuantizedRows(memory: memory + heads * keyBytes + head * valueBytes, count: dimension, groups: valueGroups, group: valueGroup)
  }

  /// A head's keys, of `keys` `[count, heads · dimension]`, scaled by 1/√dimension.
  func store(
    keys: Matrix, head: Int, in memory: UnsafeMutableRawPointer, work: UnsafeMutablePointer<Float>, using kernels: KernelTable
  ) {
    let (float, column) = (kernels.float, head * dimension)
    let (mean, some) = (work, work + dimension)
    mean.update(repeating: 0, count: dimension)
    let step = (count + CodedEntries.samples - 1) / CodedEntries.samples
    let sampled = stride(from: 0, to: count, by: step)
    for entry in sampled { float.addMultiple(1, keys.row(entry) + column, dimension, mean) }
    let factor = 1 / Float(dimension).squareRoot()
    float.scale(mean, -factor / Float(sampled.underestimatedCount), dimension)
    let target = self.keys(head: head, in: memory)
    for first in stride(from: 0, to: count, by: tileTokens) {
      let entries = first..<min(count, first + tileTokens)
      for (row, entry) in entries.enumerated() {
        (some + row * dimension).update(from: mean, count: dimension)
        float.addMultiple(factor, keys.row(entry) + column, dimension, some + row * dimension)
      }
      kernels.quantized.quantizeRows(some, dimension, dimension, target, entries, 0..<keyGroups)
    }
  }

  /// A head's values, of `values` `[count, heads · dimension]`.
  func store(
    values: Matrix, head: Int, in memory: UnsafeMutableRawPointer, work: UnsafeMutablePointer<Float>, using kernels: KernelTable
  ) {
    let (turned, some) = (work, work + valueGroup * dimension)
    let target = self.values(head: head, in: memory)
    for group in 0..<valueGroups {
      let entries = group * valueGroup..<min(count, (group + 1) * valueGroup)
      // `[dimension][128]`, by way of `[dimension][32]`.
      for first in stride(from: entries.lowerBound, to: entries.upperBound, by: panelRows) {
        let known = min(panelRows, entries.upperBound - first)
        kernels.float.packPanel(.float32, values.row(first) + head * dimension, values.stride, known, dimension, some)
        for row in 0..<dimension {
          (turned + (row * valueGroup + first - entries.lowerBound)).update(from: some + row * panelRows, count: known)
        }
      }
      kernels.quantized.quantizeRows(turned, valueGroup, entries.count, target, 0..<dimension, group..<group + 1)
    }
  }
}
