import Kernels

extension Engine {
  /// Attention of `[tokens, heads · headDimension]` over a cache; `heads` a multiple of the cache's, grouped in order; scores scaled by
  /// 1/√headDimension. Causal: row i sees the first `causalOffset + i + 1` entries; with a nil offset every row sees all. Online softmax:
  /// no full score matrix. `output` has the queries' shape, and may not be the queries. A row that sees no entry becomes zeros.
  package func attention(
    _ queries: Matrix, heads: Int, over cache: KeyValueCache, causalOffset: Int?, to output: Matrix
  ) throws(ComputeError) {
    precondition(heads > 0 && heads % cache.heads == 0 && queries.columns == heads * cache.headDimension)
    precondition(output.rows == queries.rows && output.columns == queries.columns && (causalOffset ?? 0) >= 0)
    if queries.rows == 0 { return }
    let operands = AttentionOperands(
      queries: queries, output: output, cache: cache, group: heads / cache.heads, causalOffset: causalOffset, kernels: kernels)
    let tokensPerTile = max(1, AttentionTile.rows / operands.group)
    let tiles = (queries.rows + tokensPerTile - 1) / tokensPerTile
    // Whether the context is split depends on the shapes alone, never on the number of threads: so neither does the result.
    let tasks = tiles * cache.heads
    let wanted = min((AttentionTile.fewestTasks + tasks - 1) / tasks, cache.count / AttentionTile.chunk)
    let block = KeyValueCache.block
    let splitLength = wanted <= 1 ? max(1, cache.count) : ((cache.count + wanted - 1) / wanted + block - 1) / block * block
    let splits = max(1, (cache.count + splitLength - 1) / splitLength)
    let rows = min(queries.rows, tokensPerTile) * operands.group

    var layout = ScratchLayout()
    let state = AttentionState.Layout(rows: rows, cache: cache, in: &layout)
    let work = AttentionTile.Layout(rows: rows, cache: cache, kernels: kernels, in: &layout)
    let scratch = try workerScratch.reserve(layout.byteCount, workers: pool.threadCount)

    if splits == 1 {
      pool.forEachInRuns(tasks) { index, worker in
        // Last tokens first: with a causal mask theirs are the longest tasks.
        let first = (tiles - 1 - index / cache.heads) * tokensPerTile
        let tile = AttentionTile(
          operands, head: index % cache.heads, tokens: first..<min(queries.rows, first + tokensPerTile), work, scratch[worker])
        let partial = AttentionState(state, scratch[worker])
        tile.compute(entries: 0..<cache.count, into: partial)
        tile.write(partial)
      }
      return
    }

    var partialLayout = ScratchLayout()
    let partialState = AttentionState.Layout(rows: rows, cache: cache, in: &partialLayout)
    let partials = try sharedScratch.reserve(partialLayout.byteCount * splits * tasks)
    let partial = { (task: Int, split: Int) in
      AttentionState(partialState, partials + (task * splits + split) * partialLayout.byteCount)
    }
    let tile = { (task: Int, memory: UnsafeMutableRawPointer) in
      let first = task / cache.heads * tokensPerTile
      return AttentionTile(
        operands, head: task % cache.heads, tokens: first..<min(queries.rows, first + tokensPerTile), work, memory)
    }
    // Neighbours read neighbouring entries of one head.
    pool.forEachInRuns(tasks * splits) { index, worker in
      let (task, split) = index.quotientAndRemainder(dividingBy: splits)
      let entries = split * splitLength..<min(cache.count, (split + 1) * splitLength)
      tile(task, scratch[worker]).compute(entries: entries, into: partial(task, split))
    }
    pool.forEachInRuns(tasks) { task, worker in
      let merging = tile(task, scratch[worker])
      for split in 1..<splits { merging.merge(partial(task, split), into: partial(task, 0)) }
      merging.write(partial(task, 0))
    }
  }
}

/// What all tasks of one attention share.
struct AttentionOperands {
  let queries: Matrix
  let output: Matrix
  let cache: KeyValueCache
  /// Query heads to a key head.
  let group: Int
  let causalOffset: Int?
  let kernels: KernelTable

  /// Entries that a token sees.
  func limit(token: Int) -> Int {
    guard let causalOffset else { return cache.count }
    return min(cache.count, causalOffset + token + 1)
  }
}

/// A softmax under way, for the rows of a tile: of all entries so far, the greatest score, the sum of `exp(score − greatest)` and the sum
/// of the values weighted so.
struct AttentionState {
  /// `[rows][32 · slices]`.
  let sums: UnsafeMutablePointer<Float>
  /// `[rows]`.
  let greatest: UnsafeMutablePointer<Float>
  /// `[rows]`.
  let weights: UnsafeMutablePointer<Float>

  struct Layout {
    let sums: Int
    let greatest: Int
    let weights: Int

    init(rows: Int, cache: KeyValueCache, in layout: inout ScratchLayout) {
      sums = layout.add(rows * cache.slices * KeyValueCache.block, of: Float.self)
      greatest = layout.add(rows, of: Float.self)
      weights = layout.add(rows, of: Float.self)
    }
  }

  init(_ layout: Layout, _ memory: UnsafeMutableRawPointer) {
    sums = memory.values(layout.sums, of: Float.self)
    greatest = memory.values(layout.greatest, of: Float.self)
    weights = memory.values(layout.weights, of: Float.self)
  }
}

/// Some tokens' queries of all heads that share one key head: the rows of the products below, token by token, head by head.
struct AttentionTile {
  /// Rows that a tile aims at: a multiple of what kernels multiply at once, also with seven heads to a key head, and three buffers of so
  /// many rows in an L2 cache.
  static let rows = 168
  /// Where tokens and heads make fewer tasks, the context is split as well.
  static let fewestTasks = 32
  /// Entries between two looks at the greatest score.
  static let chunk = 128

  let operands: AttentionOperands
  let head: Int
  private let tokens: Range<Int>
  /// `[rows][headDimension]`, scaled.
  let queries: UnsafeMutablePointer<Float>
  /// `[rows][chunk]`.
  let scores: UnsafeMutablePointer<Float>
  /// A block of keys or a slice of values as floats.
  private let unpacked: UnsafeMutablePointer<Float>
  /// Of keys and values in 8 bits.
  private let digits: AttentionDigits?

  struct Layout {
    let queries: Int
    let scores: Int
    let unpacked: Int
    let digits: AttentionDigits.Layout?

    init(rows: Int, cache: KeyValueCache, kernels: KernelTable, in layout: inout ScratchLayout) {
      // Of 8 bits, what the first digits leave comes after them.
      let digits = cache.type == .int8 ? 2 : 1
      queries = layout.add(digits * rows * cache.headDimension, of: Float.self)
      scores = layout.add(digits * rows * AttentionTile.chunk, of: Float.self)
      unpacked = layout.add(digits == 1 ? KeyValueCache.block * max(cache.headDimension, AttentionTile.chunk) : 0, of: Float.self)
      self.digits = digits == 2 ? AttentionDigits.Layout(rows: rows, headDimension: cache.headDimension, kernels, in: &layout) : nil
    }
  }

  init(_ operands: AttentionOperands, head: Int, tokens: Range<Int>, _ layout: Layout, _ memory: UnsafeMutableRawPointer) {
    self.operands = operands
    self.head = head
    self.tokens = tokens
    queries = memory.values(layout.queries, of: Float.self)
    scores = memory.values(layout.scores, of: Float.self)
    unpacked = memory.values(layout.unpacked, of: Float.self)
    digits = layout.digits.map { AttentionDigits($0, memory, headDimension: operands.cache.headDimension) }
  }

  private var kernels: FloatKernels { operands.kernels.float }
  private var cache: KeyValueCache { operands.cache }
  var rowCount: Int { tokens.count * operands.group }
  private var width: Int { cache.slices * KeyValueCache.block }

  /// Starts `state` and takes `entries` into it.
  func compute(entries: Range<Int>, into state: AttentionState) {
    state.sums.update(repeating: 0, count: rowCount * width)
    state.weights.update(repeating: 0, count: rowCount)
    state.greatest.update(repeating: -.infinity, count: rowCount)
    copyQueries()
    digits?.splitQueries(self)
    let end = min(entries.upperBound, operands.limit(token: tokens.upperBound - 1))
    var first = entries.lowerBound
    while first < end {
      let chunk = first..<min(end, first + AttentionTile.chunk)
      if let digits { digits.computeScores(self, chunk) } else { computeScores(chunk) }
      softmax(chunk, state)
      if let digits { digits.addValues(self, chunk, to: state.sums) } else { addValues(chunk, state) }
      first = chunk.upperBound
    }
  }

  private func copyQueries() {
    let dimension = cache.headDimension
    let columns = operands.group * dimension
    for (index, token) in tokens.enumerated() {
      (queries + index * columns).update(from: operands.queries.row(token) + head * columns, count: columns)
    }
    kernels.scale(queries, 1 / Float(dimension).squareRoot(), rowCount * dimension)
  }

  private func computeScores(_ entries: Range<Int>) {
    let block = KeyValueCache.block
    let dimension = cache.headDimension
    for first in stride(from: entries.lowerBound, to: entries.upperBound, by: block) {
      multiply(
        dimension, queries, dimension, cache.keys(head: head, block: first / block), scores + (first - entries.lowerBound),
        AttentionTile.chunk, accumulate: false)
    }
  }

  /// Scores become weights; zeros where a row does not see the entry.
  private func softmax(_ entries: Range<Int>, _ state: AttentionState) {
    for row in 0..<rowCount {
      let visible = max(0, min(entries.upperBound, operands.limit(token: tokens.lowerBound + row / operands.group)) - entries.lowerBound)
      let rowScores = scores + row * AttentionTile.chunk
      if visible > 0 {
        let greatest = max(state.greatest[row], kernels.maximum(rowScores, visible))
        if greatest > state.greatest[row] {
          rescale(row, state, by: state.greatest[row] - greatest)
          state.greatest[row] = greatest
        }
        state.weights[row] += kernels.exponentiate(rowScores, greatest, visible)
      }
      if visible < entries.count { (rowScores + visible).update(repeating: 0, count: entries.count - visible) }
    }
  }

  private func rescale(_ row: Int, _ state: AttentionState, by exponent: Float) {
    if state.weights[row] == 0 { return }
    var factor = exponent
    _ = kernels.exponentiate(&factor, 0, 1)
    state.weights[row] *= factor
    kernels.scale(state.sums + row * width, factor, width)
  }

  private func addValues(_ entries: Range<Int>, _ state: AttentionState) {
    let block = KeyValueCache.block
    for slice in 0..<cache.slices {
      multiply(
        entries.count, scores, AttentionTile.chunk, cache.values(head: head, slice: slice, position: entries.lowerBound),
        state.sums + slice * block, width, accumulate: true)
    }
  }

  /// The tile's rows by `[inner][32]` of the cache.
  private func multiply(
    _ inner: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ stored: UnsafeMutableRawPointer, _ c: UnsafeMutablePointer<Float>,
    _ cStride: Int, accumulate: Bool
  ) {
    let block = KeyValueCache.block
    if cache.type == .float16 && rowCount <= kernels.halfRows {
      kernels.multiplyHalf(rowCount, inner, a, aStride, stored.assumingMemoryBound(to: UInt16.self), block, c, cStride, accumulate)
      return
    }
    var floats = UnsafePointer(stored.assumingMemoryBound(to: Float.self))
    if cache.type != .float32 {
      kernels.toFloat(.float16, stored, inner * block, unpacked)
      floats = UnsafePointer(unpacked)
    }
    kernels.multiply(rowCount, inner, a, aStride, floats, block, c, cStride, accumulate)
  }

  /// Adds what `other` has of the same rows and other entries.
  func merge(_ other: AttentionState, into state: AttentionState) {
    for row in 0..<rowCount where other.weights[row] != 0 {
      let greatest = max(state.greatest[row], other.greatest[row])
      if greatest > state.greatest[row] {
        rescale(row, state, by: state.greatest[row] - greatest)
        state.greatest[row] = greatest
      }
      if greatest > other.greatest[row] { rescale(row, other, by: other.greatest[row] - greatest) }
      state.weights[row] += other.weights[row]
      kernels.addMultiple(1, other.sums + row * width, width, state.sums + row * width)
    }
  }

  /// The output's rows: the weighted sums over the weights' sum.
  func write(_ state: AttentionState) {
    let dimension = cache.headDimension
    for row in 0..<rowCount {
      let (token, member) = row.quotientAndRemainder(dividingBy: operands.group)
      let target = operands.output.row(tokens.lowerBound + token) + (head * operands.group + member) * dimension
      let sums = state.sums + row * width
      // No entry seen: zeros. A weight that is not a number passes.
      if state.weights[row] != 0 { kernels.scale(sums, 1 / state.weights[row], width) }
      target.update(from: sums, count: dimension)
    }
  }
}

// MARK: 8 bits

/// Attention over keys and values of 8 bits, for the rows of an `AttentionTile`: products of int8, by the kernels for quantized weights.
///
/// Queries and softmax weights are no more exact than keys and values if they become int8 alone, and worse where a few weights are great.
/// So each row of them is taken as two (`CodeKernels.takeDigit`), which pass over the same codes together, and their products are added up:
/// only keys and values are rounded.
struct AttentionDigits {
  /// `[2 · rows]` of queries, in the keys' groups: first digits, then second ones.
  private let queryRows: UnsafeMutableRawPointer
  /// `[2 · rows]` of weights, a chunk in one group.
  private let weightRows: UnsafeMutableRawPointer
  /// `[2 · rows][32]`.
  private let products: UnsafeMutablePointer<Float>
  /// float16 bits of 1, `[32]`: values have scales by position.
  private let ones: UnsafeMutablePointer<UInt16>
  /// Of the kernels.
  private let scratch: UnsafeMutableRawPointer
  private let (group, groups): (Int, Int)

  struct Layout {
    let queryRows: Int
    let weightRows: Int
    let products: Int
    let ones: Int
    let scratch: Int

    init(rows: Int, headDimension: Int, _ kernels: KernelTable, in layout: inout ScratchLayout) {
      let (group, groups) = (KeyValueCache.keyGroup(headDimension), KeyValueCache.keyGroups(headDimension))
      queryRows = layout.add(QuantizedRows.byteCount(count: 2 * rows, groups: groups, group: group), of: UInt8.self)
      weightRows = layout.add(QuantizedRows.byteCount(count: 2 * rows, groups: 1, group: AttentionTile.chunk), of: UInt8.self)
      products = layout.add(2 * rows * panelRows, of: Float.self)
      ones = layout.add(panelRows, of: UInt16.self)
      scratch = layout.add(kernels.quantized.scratchBytes, of: UInt8.self)
    }
  }

  init(_ layout: Layout, _ memory: UnsafeMutableRawPointer, headDimension: Int) {
    queryRows = memory + layout.queryRows
    weightRows = memory + layout.weightRows
    products = memory.values(layout.products, of: Float.self)
    ones = memory.values(layout.ones, of: UInt16.self)
    ones.update(repeating: Float16(1).bitPattern, count: panelRows)
    scratch = memory + layout.scratch
    (group, groups) = (KeyValueCache.keyGroup(headDimension), KeyValueCache.keyGroups(headDimension))
  }

  private func queries(_ tile: AttentionTile) -> QuantizedRows {
    QuantizedRows(memory: queryRows, count: 2 * tile.rowCount, groups: groups, group: group)
  }

  /// The tile's queries, scaled, as two digits.
  func splitQueries(_ tile: AttentionTile) {
    let (kernels, dimension, rows) = (tile.operands.kernels, tile.operands.cache.headDimension, tile.rowCount)
    for row in 0..<rows {
      let (x, rest) = (tile.queries + row * dimension, tile.queries + (rows + row) * dimension)
      for first in stride(from: 0, to: dimension, by: group) {
        kernels.float.codes.takeDigit(x + first, nil, min(group, dimension - first), rest + first)
      }
    }
    kernels.quantized.quantizeRows(tile.queries, dimension, dimension, queries(tile), 0..<2 * rows, 0..<groups)
  }

  func computeScores(_ tile: AttentionTile, _ entries: Range<Int>) {
    let (kernels, cache, block) = (tile.operands.kernels, tile.operands.cache, KeyValueCache.block)
    let queries = queries(tile)
    for first in stride(from: entries.lowerBound, to: entries.upperBound, by: block) {
      kernels.quantized.multiply8(cache.keyPanel(head: tile.head, block: first / block), queries, products, scratch)
      kernels.float.codes.addDigits(
        tile.rowCount, products, tile.scores + (first - entries.lowerBound), AttentionTile.chunk, false)
    }
  }

  /// Weights, lost here, by the values: added to `sums` `[rows][32 · slices]`.
  func addValues(_ tile: AttentionTile, _ entries: Range<Int>, to sums: UnsafeMutablePointer<Float>) {
    let (kernels, cache, rows) = (tile.operands.kernels, tile.operands.cache, tile.rowCount)
    let (chunk, block, count) = (AttentionTile.chunk, KeyValueCache.block, entries.count)
    let scales = cache.valueScales(head: tile.head, position: entries.lowerBound)
    for row in 0..<rows { kernels.float.codes.takeDigit(tile.scores + row * chunk, scales, count, tile.scores + (rows + row) * chunk) }
    let weights = QuantizedRows(memory: weightRows, count: 2 * rows, groups: 1, group: (count + block - 1) / block * block)
    kernels.quantized.quantizeRows(tile.scores, chunk, count, weights, 0..<2 * rows, 0..<1)
    for slice in 0..<cache.slices {
      let panel = QuantizedPanel(
        codes: cache.values(head: tile.head, slice: slice, position: entries.lowerBound), scales: ones, minima: nil, groups: 1,
        group: weights.group)
      kernels.quantized.multiply8(panel, weights, products, scratch)
      kernels.float.codes.addDigits(rows, products, sums + slice * block, cache.slices * block, true)
    }
  }
}
