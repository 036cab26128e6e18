import Kernels
import Parallel

extension Engine {
  /// `output = epilogue(input · weightᵀ + bias)` for each product. `input` is `[tokens, columns of every weight]`.
  /// Quantized weights take the input as int8, quantized once for all products of the same group.
  /// No output may overlap the input or another output.
  public func linear(_ input: Matrix, _ products: [LinearProduct]) throws(ComputeError) {
    for product in products {
      precondition(product.weight.columns == input.columns && product.output.columns == product.weight.rows)
      precondition(product.output.rows == input.rows && (product.bias.map { $0.columns == product.weight.rows } ?? true))
    }
    let stages = products.map { Stage(weights: [$0.weight], finish: TileOutput($0)) }
    try run(stages, on: input)
  }

  /// `output = silu(input · gateᵀ) · (input · upᵀ)`; `output` `[tokens, gate.rows]`.
  public func gatedLinear(_ input: Matrix, gate: WeightMatrix, up: WeightMatrix, to output: Matrix) throws(ComputeError) {
    precondition(gate.columns == input.columns && up.columns == input.columns && gate.rows == up.rows)
    precondition(output.columns == gate.rows && output.rows == input.rows)
    try run([Stage(weights: [gate, up], finish: TileOutput(LinearProduct(gate, to: output)))], on: input)
  }

  /// One output, made of one weight, or of two that are combined as `silu(first) · second`.
  private struct Stage {
    let weights: [WeightMatrix]
    let finish: TileOutput
  }

  /// Input bytes that are quantized at a time: what bounds the scratch memory.
  private static let inputBytes = 4 << 20
  /// Input bytes of a task: half of a usual L2 cache.
  private static let blockBytes = 256 << 10

  private func run(_ stages: [Stage], on input: Matrix) throws(ComputeError) {
    if input.rows == 0 { return }
    var groups: [Int] = []
    for case .quantized(_, let group, _, _, _) in stages.flatMap(\.weights).map(\.storage) where !groups.contains(group) {
      groups.append(group)
    }
    let tileBytes = groups.reduce(0) {
      $0 + QuantizedRows.byteCount(count: tileTokens, groups: QuantizedRows.groups(columns: input.columns, group: $1), group: $1)
    }
    let rowsAtOnce = tileBytes == 0 ? input.rows : max(8, Engine.inputBytes / tileBytes) * tileTokens
    var first = 0
    while first < input.rows {
      let rows = first..<min(input.rows, first + rowsAtOnce)
      let part = input[rows: rows]
      let inputs = try quantize(part, groups: groups)
      let loops = stages.map { stage in
        PanelLoop(products: stage.weights.map { PanelProduct($0, part, inputs, kernels) }, output: stage.finish, firstToken: first)
      }
      try run(loops, tokens: rows.count, bytesPerToken: max(tileBytes / tileTokens, PanelProduct.floatBlock * MemoryLayout<Float>.stride))
      first = rows.upperBound
    }
  }

  /// One parallel loop over blocks of tokens and, within each, the panels of all products: a block of the input stays in a core's L2
  /// cache while the weights pass by.
  private func run(_ loops: [PanelLoop], tokens: Int, bytesPerToken: Int) throws(ComputeError) {
    // Blocks of about one size, in whole tiles of tokens.
    let tiles = (tokens + tileTokens - 1) / tileTokens
    let most = max(4, Engine.blockBytes / max(1, bytesPerToken * tileTokens))
    let parts = (tiles + most - 1) / most
    let block = min(tokens, (tiles + parts - 1) / parts * tileTokens)
    let blocks = (tokens + block - 1) / block
    let tileCount = block * panelRows
    var layout = ScratchLayout()
    let products = layout.add(2 * tileCount, of: Float.self)
    let kernelScratch = layout.add(loops.reduce(0) { max($0, $1.scratchBytes) }, of: UInt8.self)
    let scratch = try workerScratch.reserve(layout.byteCount, workers: pool.threadCount)

    // Where a task is a single token, it takes several panels: the hand-over costs as much as reading some kilobytes.
    let chunkBytes = block == 1 ? 32 << 10 : 1
    var chunksBefore: [Int] = []
    var chunks = 0
    for loop in loops {
      chunksBefore.append(chunks)
      chunks += loop.chunks(bytes: chunkBytes)
    }
    pool.forEach(blocks * chunks) { index, worker in
      let token = index / chunks * block
      let tokens = token..<min(tokens, token + block)
      let chunk = index % chunks
      let loop = chunksBefore.lastIndex { $0 <= chunk } ?? 0
      let memory = scratch[worker]
      loops[loop].compute(
        chunk: chunk - chunksBefore[loop], bytes: chunkBytes, tokens: tokens, tiles: memory.values(products, of: Float.self),
        tileCount: tileCount, scratch: memory + kernelScratch)
    }
  }
}

/// The tasks of one output.
private struct PanelLoop {
  /// One, or a gate and what it gates.
  let products: [PanelProduct]
  let output: TileOutput
  /// The input's first row in the output.
  let firstToken: Int

  var scratchBytes: Int { products.reduce(0) { max($0, $1.scratchBytes) } }

  private func panelsInChunk(_ bytes: Int) -> Int { max(1, bytes / max(1, products.reduce(0) { $0 + $1.panelBytes })) }

  /// Tasks of at least so many bytes of weights, where there are so many.
  func chunks(bytes: Int) -> Int {
    let size = panelsInChunk(bytes)
    return (products[0].panels + size - 1) / size
  }

  func compute(
    chunk: Int, bytes: Int, tokens: Range<Int>, tiles: UnsafeMutablePointer<Float>, tileCount: Int, scratch: UnsafeMutableRawPointer
  ) {
    let kernels = products[0].kernels.float
    let size = panelsInChunk(bytes)
    for panel in chunk * size..<min(products[0].panels, (chunk + 1) * size) {
      products[0].compute(panel: panel, tokens: tokens, tile: tiles, scratch: scratch)
      if products.count == 2 {
        products[1].compute(panel: panel, tokens: tokens, tile: tiles + tileCount, scratch: scratch)
        kernels.gatedSilu(tiles, tiles + tileCount, tokens.count * panelRows, tiles)
      }
      output.finish(tiles, panel: panel, firstToken: firstToken + tokens.lowerBound, tokens: tokens.count, using: kernels)
    }
  }
}

/// Where tiles of a product go, and what happens to them on the way.
private struct TileOutput {
  let kind: TileFinish
  let bias: UnsafeMutablePointer<Float>?
  let scale: UnsafeMutablePointer<Float>?
  let output: Matrix
  /// Keeps what the pointers point to alive.
  private let owners: (Matrix?, Matrix?)

  init(_ product: LinearProduct) {
    output = product.output
    bias = product.bias?.pointer
    switch product.epilogue {
    case .store:
      kind = .store
      scale = nil
      owners = (product.bias, nil)
    case .gelu:
      kind = .gelu
      scale = nil
      owners = (product.bias, nil)
    case .addTo(let factor):
      precondition(factor.map { $0.columns == product.weight.rows } ?? true)
      kind = .addTo
      scale = factor?.pointer
      owners = (product.bias, factor)
    }
  }

  func finish(_ tile: UnsafePointer<Float>, panel: Int, firstToken: Int, tokens: Int, using kernels: FloatKernels) {
    let column = panel * panelRows
    kernels.finishTile(
      kind, tile, tokens, min(panelRows, output.columns - column), bias.map { UnsafePointer($0 + column) },
      scale.map { UnsafePointer($0 + column) }, output.row(firstToken) + column, output.stride)
  }
}
