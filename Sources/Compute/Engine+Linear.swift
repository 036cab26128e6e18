import Kernels
import Parallel

extension Engine {
  /// `output = epilogue(input · weightᵀ + bias)` for each product. `input` is `[tokens, columns of every weight]`.
  /// Quantized weights take the input as int8, quantized once for all products of the same group.
  /// No output may overlap the input or another output.
  public func linear(_ input: Matrix, _ products: [LinearProduct]) throws(ComputeError) {
    for product in products {
      let rows = product.weight.rows
      precondition(product.weight.columns == input.columns && product.output.columns == rows && product.output.rows == input.rows)
      precondition(product.bias.map { $0.columns == rows } ?? true)
      if case .addTo(let scale?) = product.epilogue { precondition(scale.columns == rows) }
    }
    try multiply(input, products, up: nil)
  }

  /// `output = silu(input · gateᵀ) · (input · upᵀ)`; `output` `[tokens, gate.rows]`, not overlapping the input.
  public func gatedLinear(_ input: Matrix, gate: WeightMatrix, up: WeightMatrix, to output: Matrix) throws(ComputeError) {
    precondition(gate.columns == input.columns && up.columns == input.columns && gate.rows == up.rows)
    precondition(output.columns == gate.rows && output.rows == input.rows)
    try multiply(input, [LinearProduct(gate, to: output)], up: up)
  }

  /// Bytes of input that are quantized at a time: what bounds the scratch memory.
  static let quantizedInputBytes = 4 << 20
  /// Bytes of input of a task: half of a usual L2 cache.
  static let inputBlockBytes = 256 << 10
  /// Bytes of weights that a task of one token takes at least: handing a task over costs as much as reading some kilobytes.
  static let chunkBytes = 32 << 10

  /// All products of one input; with `up` there is one, the gate.
  private func multiply(_ input: Matrix, _ products: [LinearProduct], up: WeightMatrix?) throws(ComputeError) {
    if input.rows == 0 || products.isEmpty { return }
    if let observer {
      for product in products { try observer(product.weight, input) }
      if let up { try observer(up, input) }
    }
    let groups = groupSizes(products.map(\.weight) + (up.map { [$0] } ?? []))
    let tileBytes = groups.reduce(0) {
      $0 + QuantizedRows.byteCount(count: tileTokens, groups: QuantizedRows.groups(columns: input.columns, group: $1), group: $1)
    }
    let rowsAtOnce = tileBytes == 0 ? input.rows : max(8, Engine.quantizedInputBytes / tileBytes) * tileTokens
    let bytesPerToken = max(tileBytes / tileTokens, PanelProduct.floatBlock * MemoryLayout<Float>.stride)
    for first in stride(from: 0, to: input.rows, by: rowsAtOnce) {
      let rows = first..<min(input.rows, first + rowsAtOnce)
      let part = input[rows: rows]
      let rounded = try roundedInputs(part, products.map(\.weight))
      let quantized = try quantize(part, groups: groups)
      let loops = products.enumerated().map {
        PanelLoop(
          $1, up: up, input: rounded[$0] ?? part, quantized: quantized, output: $1.output[rows: rows],
          chunkBytes: rows.count == 1 ? Engine.chunkBytes : 0)
      }
      try run(loops, tokens: rows.count, bytesPerToken: bytesPerToken)
      withExtendedLifetime(rounded) {}
    }
    // The loops hold bare pointers.
    withExtendedLifetime((input, products, up)) {}
  }

  /// The different group sizes of quantized weights that take int8.
  private func groupSizes(_ weights: [WeightMatrix]) -> [Int] {
    var result: [Int] = []
    for weight in weights {
      if case .quantized(_, let group, _, _, _) = weight.storage, weight.input != .exact, !result.contains(group) { result.append(group) }
    }
    return result
  }

  /// One parallel loop over blocks of tokens and, within each, the panels of all products: a block of the input stays in a core's L2
  /// cache while the weights pass by.
  private func run(_ loops: [PanelLoop], tokens: Int, bytesPerToken: Int) throws(ComputeError) {
    let block = Engine.tokensInBlock(tokens: tokens, bytesPerToken: bytesPerToken)
    let blocks = (tokens + block - 1) / block

    let tileCount = block * panelRows
    var layout = ScratchLayout()
    let products = layout.add((loops.map(\.tiles).max() ?? 1) * tileCount, of: Float.self)
    let kernelScratch = layout.add(loops.map { $0.scratchBytes(kernels) }.max() ?? 0, of: UInt8.self)
    let scratch = try workerScratch.reserve(layout.byteCount, workers: pool.threadCount)

    let chunks = loops.reduce(0) { $0 + $1.chunks }
    loops.withUnsafeBufferPointer { loops in
      let body = { (index: Int, worker: Int) in
        let (part, chunkOfAll) = index.quotientAndRemainder(dividingBy: chunks)
        var chunk = chunkOfAll
        var loop = 0
        while chunk >= loops[loop].chunks {
          chunk -= loops[loop].chunks
          loop += 1
        }
        let memory = scratch[worker]
        loops[loop].compute(
          chunk: chunk, tokens: part * block..<min(tokens, (part + 1) * block), tiles: memory.values(products, of: Float.self),
          tileCount: tileCount, scratch: memory + kernelScratch, using: self)
      }
      // One token: memory is what takes the time, and a thread should read it from front to back.
      if tokens == 1 { pool.forEachInRuns(chunks, body) } else { pool.forEach(blocks * chunks, body) }
    }
  }

  /// Tokens of a task: blocks of about one size, in whole tiles, whose input fits half of an L2 cache.
  static func tokensInBlock(tokens: Int, bytesPerToken: Int) -> Int {
    let tiles = (tokens + tileTokens - 1) / tileTokens
    let most = max(4, inputBlockBytes / (bytesPerToken * tileTokens))
    let parts = (tiles + most - 1) / most
    return min(tokens, (tiles + parts - 1) / parts * tileTokens)
  }
}
