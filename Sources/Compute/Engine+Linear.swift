import Kernels
import Parallel

extension Engine {
  /// `output = epilogue(norm(input) · weightᵀ + bias)` for each product. `input` is `[tokens, columns of every weight]`.
  /// Quantized weights take the input as int8, normalised and quantized once for all products of the same group.
  /// No output may overlap the input or another output.
  package func linear(_ input: Matrix, norm: RowNorm? = nil, _ products: [LinearProduct]) throws(ComputeError) {
    norm?.check(columns: input.columns)
    for product in products { product.check(inputRows: input.rows, inputColumns: input.columns) }
    if products.isEmpty { return }
    let weights = products.map(\.weight)
    for rows in Engine.parts(of: input.rows, tileBytes: inputTileBytes(weights, columns: input.columns, isNormed: norm != nil)) {
      let sources = try inputs(input[rows: rows], norm: norm, weights)
      let loops = products.enumerated().map { index, product in
        PanelLoop(product, sources[index], .floats(product.epilogue, product.output[rows: rows]))
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
    let block = Engine.tokensInBlock(tokens: tokens, bytesPerToken: loops.map(\.inputBytes).max() ?? 0)
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

  /// Tokens of a task: blocks of about one size, in whole tiles, whose input takes `inputBlockBytes`.
  static func tokensInBlock(tokens: Int, bytesPerToken: Int) -> Int {
    let tiles = (tokens + tileTokens - 1) / tileTokens
    let most = max(4, inputBlockBytes / (bytesPerToken * tileTokens))
    let parts = (tiles + most - 1) / most
    return min(tokens, (tiles + parts - 1) / parts * tileTokens)
  }

  /// Bytes of input of a task: half of a usual L2 cache.
  static let inputBlockBytes = 256 << 10
}
