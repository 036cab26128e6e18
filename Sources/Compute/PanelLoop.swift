import Kernels
import Tensors

// How a product of weights is cut up. An operator (`Engine.linear`, `Engine.perceptron`) brings its input into the form that the weights
// take (`PanelInput`: floats, or int8 in groups) and makes a `PanelLoop` for each output. A loop's tasks are ranges of panels, 32 rows of
// the weight each, by blocks of tokens; `Engine.run` gives the tasks of all loops to the pool. Of a task, `PanelProduct` makes the plain
// products of a panel, with the kernel that the weight's storage and the input's form call for, as a tile `[tokens][32]` in the worker's
// scratch memory; the loop combines the tiles of two weights where there are two (`silu(gate) · up`), and applies bias, activation and
// residual or rounds to int8 for the next product. So what lies between two layers never reaches memory as floats.

/// Where the panels of a loop go.
enum PanelOutput {
  case floats(Epilogue, Matrix)
  /// As the int8 input of another product, in its groups.
  case quantized(QuantizedRows, columns: Int)
}

/// The tasks that make one output of a linear layer: panels of one weight, or of two that are combined as `silu(first) · second`.
///
/// Plain pointers, as `PanelProduct`.
struct PanelLoop {
  private enum Destination {
    case floats(UnsafeMutablePointer<Float>, stride: Int)
    case quantized(QuantizedRows)
  }

  private let first: PanelProduct
  private let second: PanelProduct?
  private let finish: TileFinish
  private let bias: UnsafePointer<Float>?
  private let scale: UnsafePointer<Float>?
  private let destination: Destination
  private let outputColumns: Int
  /// Panels that are computed together: those of one group where the output is quantized.
  private let step: Int

  /// `output = epilogue(input · weightᵀ + bias)`.
  init(_ product: LinearProduct, _ input: PanelInput, alone: Int, _ output: PanelOutput) {
    self.init(PanelProduct(product.weight, input, alone: alone), nil, bias: product.bias, activation: .store, output)
  }

  /// `output = silu(input · gateᵀ) · (input · upᵀ)` or `activation(input · weightᵀ + bias)`.
  init(_ inner: PerceptronInner, _ inputs: [PanelInput], alone: Int, _ output: PanelOutput) {
    switch inner {
    case .activated(let weight, let bias, let activation):
      self.init(PanelProduct(weight, inputs[0], alone: alone), nil, bias: bias, activation: .activated(activation), output)
    case .gated(let gate, let up):
      self.init(
        PanelProduct(gate, inputs[0], alone: alone), PanelProduct(up, inputs[1], alone: alone), bias: nil, activation: .store, output)
    }
  }

  private init(_ first: PanelProduct, _ second: PanelProduct?, bias: Matrix?, activation: TileFinish, _ output: PanelOutput) {
    self.first = first
    self.second = second
    self.bias = bias.map { UnsafePointer($0.pointer) }
    switch output {
    case .floats(let epilogue, let matrix):
      destination = .floats(matrix.pointer, stride: matrix.stride)
      outputColumns = matrix.columns
      step = 1
      switch epilogue {
      case .store: (finish, scale) = (activation, nil)
      case .activated(let by): (finish, scale) = (.activated(by), nil)
      case .addTo(let factor): (finish, scale) = (.addTo, factor.map { UnsafePointer($0.pointer) })
      }
    case .quantized(let rows, let columns):
      destination = .quantized(rows)
      outputColumns = columns
      step = rows.group / panelRows
      (finish, scale) = (activation, nil)
    }
  }

  /// Bytes of input of one token, as far as a task comes back to them.
  var inputBytes: Int { max(first.inputBytes, second?.inputBytes ?? 0) }

  /// Tasks of one panel, or of as many as make `chunkBytes` of weights.
  func chunks(_ chunkBytes: Int) -> Int {
    let panels = panelsInChunk(chunkBytes)
    return (first.panels + panels - 1) / panels
  }

  func panels(chunk: Int, _ chunkBytes: Int) -> Range<Int> {
    let panels = panelsInChunk(chunkBytes)
    return chunk * panels..<min(first.panels, (chunk + 1) * panels)
  }

  private func panelsInChunk(_ chunkBytes: Int) -> Int {
    step * max(1, chunkBytes / max(1, step * (first.panelBytes + (second?.panelBytes ?? 0))))
  }

  /// Panels of a weight that are multiplied before those of the other: of one token so many that each is read from memory in a longer run.
  private func batch(tokens: Int) -> Int { tokens == 1 ? step : 1 }

  /// Floats of scratch that a task of so many tokens needs: tiles for each weight, and a group of the output.
  func scratchFloats(tokens: Int) -> Int {
    var columns = (second == nil ? 1 : 2) * batch(tokens: tokens) * panelRows
    if case .quantized(let rows) = destination { columns += rows.group }
    return tokens * columns
  }

  func scratchBytes(_ kernels: KernelTable) -> Int { max(first.scratchBytes(kernels), second?.scratchBytes(kernels) ?? 0) }

  /// Output columns of some panels for some tokens; the first of the panels begins a group where the output is quantized.
  func compute(
    panels: Range<Int>, tokens: Range<Int>, floats: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer, using engine: Engine
  ) {
    switch destination {
    case .floats(let output, let stride):
      for panel in panels {
        compute(panels: panel..<panel + 1, tokens: tokens, tiles: floats, scratch: scratch, using: engine)
        finish(panel: panel, tokens: tokens.count, floats, output + tokens.lowerBound * stride + panel * panelRows, stride, using: engine)
      }
    case .quantized(let rows):
      let tiles = floats + tokens.count * rows.group
      for first in stride(from: panels.lowerBound, to: panels.upperBound, by: step) {
        let end = min(first + step, panels.upperBound)
        let batch = batch(tokens: tokens.count)
        for start in stride(from: first, to: end, by: batch) {
          let some = start..<min(start + batch, end)
          compute(panels: some, tokens: tokens, tiles: tiles, scratch: scratch, using: engine)
          for panel in some {
            let tile = tiles + (panel - start) * tokens.count * panelRows
            finish(panel: panel, tokens: tokens.count, tile, floats + (panel - first) * panelRows, rows.group, using: engine)
          }
        }
        let group = first / step
        let known = min(rows.group, outputColumns - first * panelRows)
        engine.kernels.quantized.quantizeRows(floats, rows.group, known, rows, tokens, group..<group + 1)
      }
    }
  }

  /// The products, or both and their combination, of some panels: `[panels][tokens][32]` floats in `tiles`.
  private func compute(
    panels: Range<Int>, tokens: Range<Int>, tiles: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer, using engine: Engine
  ) {
    let size = tokens.count * panelRows
    for (index, panel) in panels.enumerated() {
      first.compute(panel: panel, tokens: tokens, tile: tiles + index * size, scratch: scratch, using: engine)
    }
    guard let second else { return }
    let others = tiles + panels.count * size
    for (index, panel) in panels.enumerated() {
      second.compute(panel: panel, tokens: tokens, tile: others + index * size, scratch: scratch, using: engine)
    }
    engine.kernels.float.gatedSilu(tiles, others, panels.count * size, tiles)
  }

  /// A panel's tile on its way to `output`, rows `stride` apart.
  private func finish(
    panel: Int, tokens: Int, _ tile: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>, _ stride: Int, using engine: Engine
  ) {
    let column = panel * panelRows
    engine.kernels.float.finishTile(
      finish, tile, tokens, min(panelRows, outputColumns - column), bias.map { $0 + column }, scale.map { $0 + column }, output, stride)
  }
}

/// The product of one weight matrix with an input, cut into panels of 32 weight rows: what a task of a linear layer computes.
///
/// Plain pointers, so that tasks count no references; whoever runs them keeps the matrices alive.
struct PanelProduct {
  /// Inputs whose weights are packed at a time, where they are floats: 24 KiB a panel, so that it stays in the L1 cache.
  static let floatBlock = 192

  private let rows: Int
  private let columns: Int
  private let storage: WeightMatrix.Storage
  private let input: Input
  /// Tokens, the first ones, that are multiplied each as if it were the only one.
  private let alone: Int

  private enum Input {
    case floats(UnsafePointer<Float>, stride: Int)
    case quantized(QuantizedRows)
  }

  init(_ weight: WeightMatrix, _ input: PanelInput, alone: Int) {
    self.alone = alone
    rows = weight.rows
    columns = weight.columns
    storage = weight.storage
    switch input {
    case .floats(let matrix): self.input = .floats(UnsafePointer(matrix.pointer), stride: matrix.stride)
    case .quantized(let rows):
      precondition(rows.group == weight.inputGroup)
      self.input = .quantized(rows)
    }
  }

  /// Bytes of input of one token, as far as a task comes back to them.
  var inputBytes: Int {
    switch input {
    case .floats: PanelProduct.floatBlock * MemoryLayout<Float>.stride
    case .quantized(let rows): QuantizedRows.tileBytes(columns: columns, group: rows.group) / tileTokens
    }
  }

  var panels: Int { (rows + panelRows - 1) / panelRows }

  /// Bytes of weights in a panel.
  var panelBytes: Int {
    switch storage {
    case .float(let type, _): return panelRows * columns * type.size
    case .quantized(let layout, _): return layout.panelBytes
    case .absent: return 0
    }
  }

  /// Bytes of scratch that `compute` needs.
  func scratchBytes(_ kernels: KernelTable) -> Int {
    let block = PanelProduct.floatBlock * panelRows * MemoryLayout<Float>.stride
    switch (storage, input) {
    case (.quantized(let layout, _), .quantized(let rows)):
      return kernels.quantized.scratchBytes(bits: layout.scheme.bits, columns: rows.columns)
    case (.quantized, .floats): return 2 * block
    case (.float, _): return block
    case (.absent, _): return 0
    }
  }

  /// `tile[t][r] = Σ_k weight[32 · panel + r][k] · input[tokens][k]`, `[tokens][32]`; what lies beyond the weight's rows is undefined.
  func compute(
    panel: Int, tokens: Range<Int>, tile: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer, using engine: Engine
  ) {
    switch (storage, input) {
    case (.quantized(let layout, let planes), .quantized(let quantized)):
      let here = layout.panel(panel, of: planes)
      let operand = QuantizedPanel(
        codes: here.codes, scales: here.scales, minima: here.minima, groups: layout.groups, group: layout.scheme.group)
      engine.kernels.quantized.multiply(
        bits: layout.scheme.bits, isUneven: layout.scheme.isUneven, operand, quantized.tokens(tokens), tile, scratch)
    case (.quantized, .floats(let input, let stride)):
      computeDecoded(panel: panel, input + tokens.lowerBound * stride, stride, tokens.count, tile: tile, scratch: scratch, using: engine)
    case (.float, .quantized): preconditionFailure("floats take no int8")
    case (.absent, _): preconditionFailure("a weight that was not loaded")
    case (.float(let type, let base), .floats(let input, let inputStride)):
      let rows = min(panelRows, rows - panel * panelRows)
      let weights = base + panel * panelRows * columns * type.size
      let first = input + tokens.lowerBound * inputStride
      // One token's sums are added up in another order than many tokens' (quantized ones are not). The panel stays in the cache.
      let vectors = max(0, min(tokens.upperBound, alone) - tokens.lowerBound)
      for token in 0..<vectors {
        engine.kernels.float.multiplyVector(
          type, weights, columns, rows, columns, first + token * inputStride, tile + token * panelRows)
      }
      let others = tokens.count - vectors
      if others == 0 { return }
      let (from, to) = (first + vectors * inputStride, tile + vectors * panelRows)
      let packed = scratch.assumingMemoryBound(to: Float.self)
      var column = 0
      repeat {
        let count = min(PanelProduct.floatBlock, columns - column)
        engine.kernels.float.packPanel(type, weights + column * type.size, columns, rows, count, packed)
        engine.kernels.float.multiply(others, count, from + column, inputStride, packed, panelRows, to, panelRows, column > 0)
        column += count
      } while column < columns
    }
  }

  /// As `compute`, with the panel's codes made floats again: exact inputs beside quantized weights.
  private func computeDecoded(
    panel: Int, _ input: UnsafePointer<Float>, _ stride: Int, _ tokens: Int, tile: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutableRawPointer, using engine: Engine
  ) {
    guard case .quantized(let layout, let planes) = storage else { return }
    let count = min(panelRows, rows - panel * panelRows)
    let packed = scratch.assumingMemoryBound(to: Float.self)
    let decoded = packed + PanelProduct.floatBlock * panelRows
    for first in Swift.stride(from: 0, to: columns, by: PanelProduct.floatBlock) {
      let range = first..<min(columns, first + PanelProduct.floatBlock)
      for row in 0..<count {
        layout.decode(row: panel * panelRows + row, range, of: planes, to: decoded + row * range.count)
      }
      engine.kernels.float.packPanel(.float32, decoded, range.count, count, range.count, packed)
      engine.kernels.float.multiply(
        tokens, range.count, input + first, stride, packed, panelRows, tile, panelRows, first > 0)
    }
  }
}
