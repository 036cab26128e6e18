import Kernels
import Tensors

/// The product of one weight matrix with an input, cut into panels of 32 weight rows: what a task of a linear layer computes.
///
/// Plain pointers, so that tasks count no references; whoever runs them keeps the matrices alive.
struct PanelProduct {
  /// Inputs whose weights are packed at a time, where they are floats: 24 KiB a panel, so that it stays in the L1 cache.
  static let floatBlock = 192

  /// Widths of codes that the kernels multiply with int8; others are decoded and multiplied as floats.
  static func takesInt8(_ scheme: QuantizedScheme) -> Bool { scheme.bits == 4 || scheme.bits == 8 }

  private let rows: Int
  private let columns: Int
  private let storage: WeightMatrix.Storage
  private let input: Input

  private enum Input {
    case floats(UnsafePointer<Float>, stride: Int)
    case quantized(QuantizedRows)
  }

  init(_ weight: WeightMatrix, _ input: PanelInput) {
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
    }
  }

  /// Bytes of scratch that `compute` needs.
  func scratchBytes(_ kernels: KernelTable) -> Int {
    if case .quantized = input { return kernels.quantized.scratchBytes }
    let block = PanelProduct.floatBlock * panelRows * MemoryLayout<Float>.stride
    if case .quantized = storage { return 2 * block }
    return block
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
      if layout.scheme.bits == 4 {
        engine.kernels.quantized.multiply4(operand, quantized.tokens(tokens), tile, scratch)
      } else {
        engine.kernels.quantized.multiply8(operand, quantized.tokens(tokens), tile, scratch)
      }
    case (.quantized, .floats(let input, let stride)):
      computeDecoded(panel: panel, input + tokens.lowerBound * stride, stride, tokens.count, tile: tile, scratch: scratch, using: engine)
    case (.float, .quantized): preconditionFailure("floats take no int8")
    case (.float(let type, let base), .floats(let input, let inputStride)):
      let rows = min(panelRows, rows - panel * panelRows)
      let weights = base + panel * panelRows * columns * type.size
      let first = input + tokens.lowerBound * inputStride
      if tokens.count == 1 {
        engine.kernels.float.multiplyVector(type, weights, columns, rows, columns, first, tile)
        return
      }
      let packed = scratch.assumingMemoryBound(to: Float.self)
      var column = 0
      repeat {
        let count = min(PanelProduct.floatBlock, columns - column)
        engine.kernels.float.packPanel(type, weights + column * type.size, columns, rows, count, packed)
        engine.kernels.float.multiply(
          tokens.count, count, first + column, inputStride, packed, panelRows, tile, panelRows, column > 0)
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
