import Kernels

extension Engine {
  /// Attention of `[tokens, heads · headDimension]` over a cache; `heads` a multiple of the cache's, grouped in order; scores scaled by
  /// 1/√headDimension.
  /// Causal: row i sees the first `causalOffset + i + 1` entries; with a nil offset every row sees all. Online softmax: no full score matrix.
  /// `output` has the queries' shape, and may not be the queries. A row that sees no entry becomes zeros.
  package func attention(
    _ queries: Matrix, heads: Int, over cache: KeyValueCache, causalOffset: Int?, to output: Matrix
  ) throws(ComputeError) {
    precondition(heads > 0 && heads % cache.heads == 0 && queries.columns == heads * cache.headDimension)
    precondition(output.rows == queries.rows && output.columns == queries.columns && (causalOffset ?? 0) >= 0)
    if queries.rows == 0 { return }
    let operands = AttentionOperands(
      queries: queries, output: output, cache: cache, group: heads / cache.heads, causalOffset: causalOffset, kernels: kernels.float)
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
    let work = AttentionTile.Layout(rows: rows, cache: cache, in: &layout)
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
  let kernels: FloatKernels

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
