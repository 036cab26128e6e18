import Kernels

/// The product of one weight matrix with an input, cut into panels of 32 weight rows: what a task of a linear layer computes.
struct PanelProduct {
  /// Inputs whose weights are packed at a time, where they are floats: 24 KiB a panel, so that it stays in the L1 cache.
  static let floatBlock = 192

  let weight: WeightMatrix
  let input: Matrix
  /// The input as int8; nil where the weight is in floats.
  let quantized: QuantizedRows?
  let kernels: KernelTable

  init(_ weight: WeightMatrix, _ input: Matrix, _ inputs: [QuantizedRows], _ kernels: KernelTable) {
    self.weight = weight
    self.input = input
    self.kernels = kernels
    if case .quantized(_, let group, _, _, _) = weight.storage {
      quantized = inputs.first { $0.group == group }
    } else {
      quantized = nil
    }
  }

  var panels: Int { (weight.rows + panelRows - 1) / panelRows }

  /// Bytes of weights in a panel.
  var panelBytes: Int {
    switch weight.storage {
    case .float(let type, _): return panelRows * weight.columns * type.size
    case .quantized(let bits, let group, _, _, _): return panelRows * ((weight.columns + group - 1) / group) * (group * bits / 8 + 2)
    }
  }

  /// Bytes of scratch that `compute` needs.
  var scratchBytes: Int {
    if quantized != nil { return kernels.quantized.scratchBytes }
    return PanelProduct.floatBlock * panelRows * MemoryLayout<Float>.stride
  }

  /// `tile[t][r] = Σ_k weight[32 · panel + r][k] · input[tokens][k]`, `[tokens][32]`; what lies beyond the weight's rows is undefined.
  func compute(panel: Int, tokens: Range<Int>, tile: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer) {
    switch weight.storage {
    case .quantized(let bits, let group, let codes, let scales, let minima):
      guard let quantized else { preconditionFailure("the input was not quantized for this group") }
      let groups = quantized.groups
      let operand = QuantizedPanel(
        codes: codes + panel * (quantized.columns * panelRows * bits / 8), scales: scales + panel * groups * panelRows,
        minima: minima.map { $0 + panel * groups * panelRows }, groups: groups, group: group)
      let multiply = bits == 4 ? kernels.quantized.multiply4 : kernels.quantized.multiply8
      multiply(operand, quantized.tokens(tokens), tile, scratch)
    case .float(let type, let base):
      let rows = min(panelRows, weight.rows - panel * panelRows)
      let weights = base + panel * panelRows * weight.columns * type.size
      if tokens.count == 1 {
        kernels.float.multiplyVector(type, weights, weight.columns, rows, weight.columns, input.row(tokens.lowerBound), tile)
        return
      }
      let packed = scratch.assumingMemoryBound(to: Float.self)
      var column = 0
      repeat {
        let columns = min(PanelProduct.floatBlock, weight.columns - column)
        kernels.float.packPanel(type, weights + column * type.size, weight.columns, rows, columns, packed)
        kernels.float.multiply(
          tokens.count, columns, input.row(tokens.lowerBound) + column, input.stride, packed, panelRows, tile, panelRows, column > 0)
        column += columns
      } while column < weight.columns
    }
  }
}
