import Kernels

/// The tasks that make one output of a linear layer: panels of one weight, or of two that are combined as `silu(first) · second`.
///
/// Plain pointers, as `PanelProduct`.
struct PanelLoop {
  private let first: PanelProduct
  private let second: PanelProduct?
  private let finish: TileFinish
  private let bias: UnsafePointer<Float>?
  private let scale: UnsafePointer<Float>?
  private let output: UnsafeMutablePointer<Float>
  private let outputStride: Int
  private let outputColumns: Int
  private let panelsInChunk: Int

  /// `up` nil: `output = epilogue(input · weightᵀ + bias)`; otherwise `output = silu(input · weightᵀ) · (input · upᵀ)`.
  /// A chunk is one panel, or as many as make `chunkBytes` of weights.
  init(
    _ product: LinearProduct, up: WeightMatrix?, input: Matrix, quantized: [QuantizedRows], output: Matrix, chunkBytes: Int
  ) {
    first = PanelProduct(product.weight, input, quantized)
    second = up.map { PanelProduct($0, input, quantized) }
    bias = product.bias.map { UnsafePointer($0.pointer) }
    self.output = output.pointer
    outputStride = output.stride
    outputColumns = output.columns
    switch product.epilogue {
    case .store:
      finish = .store
      scale = nil
    case .gelu:
      finish = .gelu
      scale = nil
    case .addTo(let factor):
      finish = .addTo
      scale = factor.map { UnsafePointer($0.pointer) }
    }
    panelsInChunk = max(1, chunkBytes / max(1, first.panelBytes + (second?.panelBytes ?? 0)))
  }

  var chunks: Int { (first.panels + panelsInChunk - 1) / panelsInChunk }

  /// Tiles of `[tokens][32]` floats that a task needs.
  var tiles: Int { second == nil ? 1 : 2 }

  func scratchBytes(_ kernels: KernelTable) -> Int { max(first.scratchBytes(kernels), second?.scratchBytes(kernels) ?? 0) }

  /// Output columns of one chunk for some tokens. `tiles` holds the tiles, `tileCount` floats each.
  func compute(
    chunk: Int, tokens: Range<Int>, tiles: UnsafeMutablePointer<Float>, tileCount: Int, scratch: UnsafeMutableRawPointer, using engine: Engine
  ) {
    for panel in chunk * panelsInChunk..<min(first.panels, (chunk + 1) * panelsInChunk) {
      first.compute(panel: panel, tokens: tokens, tile: tiles, scratch: scratch, using: engine)
      if let second {
        second.compute(panel: panel, tokens: tokens, tile: tiles + tileCount, scratch: scratch, using: engine)
        engine.kernels.float.gatedSilu(tiles, tiles + tileCount, tokens.count * panelRows, tiles)
      }
      let column = panel * panelRows
      engine.kernels.float.finishTile(
        finish, tiles, tokens.count, min(panelRows, outputColumns - column), bias.map { $0 + column }, scale.map { $0 + column },
        output + tokens.lowerBound * outputStride + column, outputStride)
    }
  }
}
