import Kernels

/// The product of one weight matrix with an input, cut into panels of 32 weight rows: what a task of a linear layer computes.
///
/// Plain pointers, so that tasks count no references; whoever runs them keeps the matrices alive.
struct PanelProduct {
  /// Inputs whose weights are packed at a time, where they are floats: 24 KiB a panel, so that it stays in the L1 cache.
  static let floatBlock = 192

  private let rows: Int
  private let columns: Int
  private let input: UnsafePointer<Float>
  private let inputStride: Int
  private let storage: WeightMatrix.Storage
  /// The input as int8; nil where it is taken as floats.
  private let quantized: QuantizedRows?

  init(_ weight: WeightMatrix, _ input: Matrix, _ inputs: [QuantizedRows]) {
    rows = weight.rows
    columns = weight.columns
    self.input = UnsafePointer(input.pointer)
    inputStride = input.stride
    storage = weight.storage
    if case .quantized(_, let group, _, _, _) = weight.storage, weight.input != .exact {
      quantized = inputs.first { $0.group == group }
    } else {
      quantized = nil
    }
  }

  var panels: Int { (rows + panelRows - 1) / panelRows }

  /// Bytes of weights in a panel.
  var panelBytes: Int {
    switch storage {
    case .float(let type, _): return panelRows * columns * type.size
    case .quantized(let bits, let group, _, _, _): return panelRows * QuantizedRows.groups(columns: columns, group: group) * (group * bits / 8 + 2)
    }
  }

  /// Bytes of scratch that `compute` needs.
  func scratchBytes(_ kernels: KernelTable) -> Int {
    if quantized != nil { return kernels.quantized.scratchBytes }
    let block = PanelProduct.floatBlock * panelRows * MemoryLayout<Float>.stride
    if case .quantized = storage { return 2 * block }
    return block
  }

  /// `tile[t][r] = Σ_k weight[32 · panel + r][k] · input[tokens][k]`, `[tokens][32]`; what lies beyond the weight's rows is undefined.
  func compute(
    panel: Int, tokens: Range<Int>, tile: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer, using engine: Engine
  ) {
    switch storage {
    case .quantized(let bits, let group, let codes, let scales, let minima):
      guard let quantized else { return computeDecoded(panel: panel, tokens: tokens, tile: tile, scratch: scratch, using: engine) }
      let groups = quantized.groups
      let operand = QuantizedPanel(
        codes: codes + panel * (quantized.columns * panelRows * bits / 8), scales: scales + panel * groups * panelRows,
        minima: minima.map { $0 + panel * groups * panelRows }, groups: groups, group: group)
      if bits == 4 {
        engine.kernels.quantized.multiply4(operand, quantized.tokens(tokens), tile, scratch)
      } else {
        engine.kernels.quantized.multiply8(operand, quantized.tokens(tokens), tile, scratch)
      }
    case .float(let type, let base):
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
    panel: Int, tokens: Range<Int>, tile: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer, using engine: Engine
  ) {
    guard case .quantized(let bits, let group, let codes, let scales, let minima) = storage else { return }
    let count = min(panelRows, rows - panel * panelRows)
    let packed = scratch.assumingMemoryBound(to: Float.self)
    let decoded = packed + PanelProduct.floatBlock * panelRows
    for first in stride(from: 0, to: columns, by: PanelProduct.floatBlock) {
      let range = first..<min(columns, first + PanelProduct.floatBlock)
      for row in 0..<count {
        let packedRow = PackedRow(
          row: panel * panelRows + row, columns: columns, bits: bits, group: group, codes: codes, scales: scales, minima: minima)
        packedRow.decode(range, to: decoded + row * range.count)
      }
      engine.kernels.float.packPanel(.float32, decoded, range.count, count, range.count, packed)
      engine.kernels.float.multiply(
        tokens.count, range.count, input + tokens.lowerBound * inputStride + first, inputStride, packed, panelRows, tile, panelRows, first > 0)
    }
  }
}
