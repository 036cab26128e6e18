import Kernels

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
  init(_ product: LinearProduct, _ input: PanelInput, _ output: PanelOutput) {
    self.init(PanelProduct(product.weight, input), nil, bias: product.bias, activation: .store, output)
  }

  /// `output = silu(input · gateᵀ) · (input · upᵀ)` or `GELU(input · weightᵀ + bias)`.
  init(_ inner: PerceptronInner, _ inputs: [PanelInput], _ output: PanelOutput) {
    switch inner {
    case .gelu(let weight, let bias):
      self.init(PanelProduct(weight, inputs[0]), nil, bias: bias, activation: .gelu, output)
    case .gated(let gate, let up):
      self.init(PanelProduct(gate, inputs[0]), PanelProduct(up, inputs[1]), bias: nil, activation: .store, output)
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
      case .gelu: (finish, scale) = (.gelu, nil)
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
