import Compute
import Foundation
import ModelFile
import Models
import Quantization
import Support
import Tensors

/// Finds factors that make a unit's inputs easier to quantize and its weights not much harder: loud inputs are divided, their weights
/// multiplied, and the layer before divides without rounding. The model's layers say where that changes nothing else (`LayerBuilder.fold`).
///
/// Factors are powers of the inputs' loudness (as in AWQ, Lin et al. 2023). Which power, the quantized layer itself says: int8 inputs and
/// quantized weights against floats, on inputs that were seen.
struct FoldSearch {
  let engine: Engine
  let encodings: [String: TensorEncoding]

  private static let exponents: [Float] = [0.15, 0.3, 0.45, 0.6]
  /// Rows of a matrix that errors are measured on.
  private static let rowLimit = 512
  /// The error must fall to this part for a fold to be worth its while.
  private static let gain = 0.99

  func search(_ unit: ModelUnit, _ prepared: PreparedUnit, _ source: any WeightSource) throws(SlowFastError) {
    for fold in unit.folds {
      let slots = fold.readers.compactMap(prepared.slot)
      guard let divisors = try best(slots, source) else { continue }
      for slot in slots { slot.divisors = divisors }
      let inverses = divisors.map { 1 / $0 }
      for name in fold.vectors { prepared.vectorFactors[name] = inverses }
      if let matrix = fold.rows { prepared.rowFactors[matrix] = inverses }
    }
  }

  private func best(_ slots: [InputSlot], _ source: any WeightSource) throws(SlowFastError) -> [Float]? {
    var samples: [FoldSample] = []
    for slot in slots {
      for name in slot.names {
        guard case .quantized(let scheme)? = encodings[name], let statistics = slot.statistics, statistics.samples > 0 else { continue }
        let sample = try FoldSample(try source.matrix(name), statistics, scheme, rowLimit: Self.rowLimit, engine)
        // A fold would change a matrix unseen.
        guard let sample else { return nil }
        samples.append(sample)
      }
    }
    guard let count = samples.first?.columns else { return nil }
    // Inputs that go through one norm are as loud as they are on average.
    var moments = [Float](repeating: 0, count: count)
    for slot in slots {
      let own = slot.statistics?.moments ?? []
      let mean = own.reduce(0, +) / Float(max(1, own.count))
      for index in own.indices { moments[index] += own[index] / mean }
    }
    var least = try error(samples, [Float](repeating: 1, count: count)) * Self.gain
    var best: [Float]?
    for exponent in Self.exponents {
      let divisors = Self.divisors(moments, exponent)
      let found = try error(samples, divisors)
      if found < least { (least, best) = (found, divisors) }
    }
    return best
  }

  /// Loudness to a power, about 1.
  static func divisors(_ moments: [Float], _ exponent: Float) -> [Float] {
    let logarithms = moments.map { $0 > 0 ? exponent * 0.5 * logarithm($0) : 0 }
    let mean = logarithms.reduce(0, +) / Float(max(1, logarithms.count))
    return logarithms.map { exponential(min(7, max(-7, $0 - mean))) }
  }

  private func error(_ samples: [FoldSample], _ divisors: [Float]) throws(SlowFastError) -> Double {
    try classified { () throws(ComputeError) in
      var total = 0.0
      for sample in samples { total += try sample.error(divisors, engine) }
      return total
    }
  }
}

func logarithm(_ x: Float) -> Float { log(x) }
func exponential(_ x: Float) -> Float { exp(x) }

/// Some rows of a matrix and some of its inputs, to measure what quantizing both costs.
struct FoldSample {
  private let inputs: Matrix  // [samples, columns]
  private let weights: Matrix  // [rows, columns]
  private let outputs: Matrix  // [samples, rows]
  private let energy: Double
  private let moments: [Float]
  private let layout: QuantizedLayout

  var columns: Int { weights.columns }

  /// nil where the matrix has no floats, or not the scheme's layout.
  init?(
    _ weight: WeightMatrix, _ statistics: InputStatistics, _ scheme: QuantizedScheme, rowLimit: Int, _ engine: Engine
  ) throws(SlowFastError) {
    guard let layout = QuantizedLayout(rows: min(rowLimit, weight.rows), columns: weight.columns, scheme: scheme),
      case .float(let type, let base) = weight.storage
    else { return nil }
    self.layout = layout
    moments = statistics.moments
    (inputs, weights, outputs) = try classified { () throws(ComputeError) in
      let inputs = try Matrix(rows: statistics.rows.count, columns: weight.columns, values: statistics.rows.flatMap { $0 })
      // Runs of rows, evenly spread.
      let count = min(rowLimit, weight.rows)
      let weights = try Matrix(rows: count, columns: weight.columns)
      for row in 0..<count {
        let source = row * weight.rows / count
        engine.kernels.float.toFloat(type, base + source * weight.columns * type.size, weight.columns, weights.row(row))
      }
      let outputs = try Matrix(rows: inputs.rows, columns: count)
      try engine.linear(inputs, [LinearProduct(WeightMatrix(weights), to: outputs)])
      return (inputs, weights, outputs)
    }
    energy = Self.sum(outputs) { value, _, _ in Double(value) * Double(value) }
    withExtendedLifetime(weight) {}
  }

  /// The squared error of the outputs, as a part of their squares, with inputs divided by `divisors` and weights multiplied with them.
  func error(_ divisors: [Float], _ engine: Engine) throws(ComputeError) -> Double {
    let (x, w) = (try inputs.copied(), try weights.copied())
    for row in 0..<x.rows {
      for column in 0..<x.columns { x.row(row)[column] /= divisors[column] }
    }
    for row in 0..<w.rows {
      for column in 0..<w.columns { w.row(row)[column] *= divisors[column] }
    }
    guard let quantized = try quantize(w, zip(moments, divisors).map { $0 / ($1 * $1) }, engine) else { return .infinity }
    let found = try Matrix(rows: outputs.rows, columns: outputs.columns)
    try engine.linear(x, [LinearProduct(quantized, to: found)])
    let error = Self.sum(outputs) { value, row, column in
      let difference = Double(value) - Double(found.row(row)[column])
      return difference * difference
    }
    return energy > 0 ? error / energy : 0
  }

  /// nil where a weight does not fit.
  private func quantize(_ values: Matrix, _ moments: [Float], _ engine: Engine) throws(ComputeError) -> WeightMatrix? {
    let (bytes, scaleBytes) = (layout.codeBytes, layout.scaleBytes)
    guard let memory = AlignedMemory(byteCount: bytes + 2 * scaleBytes) else { throw .outOfMemory(bytes: bytes + 2 * scaleBytes) }
    let scales = (memory.base + bytes).assumingMemoryBound(to: UInt16.self)
    let minima = scales + layout.panels * layout.panelScaleCount
    var isDone = true
    moments.withUnsafeBufferPointer { moments in
      do throws(QuantizationError) {
        try engine.pool.forEach(layout.panels) { panel, _ throws(QuantizationError) in
          let first = panel * QuantizedLayout.panelRows
          try layout.quantize(
            values.row(first), stride: values.stride, rows: min(QuantizedLayout.panelRows, values.rows - first),
            PanelQuantizer(.search, moments: moments.baseAddress), codes: memory.base + panel * layout.panelCodeBytes,
            scales: scales + panel * layout.panelScaleCount, minima: minima + panel * layout.panelScaleCount)
        }
      } catch { isDone = false }
    }
    guard isDone else { return nil }
    let planes = QuantizedPlanes(codes: memory.base, scales: scales, minima: layout.scheme.isSymmetric ? nil : minima)
    return WeightMatrix(rows: values.rows, columns: values.columns, storage: .quantized(layout, planes), owner: memory)
  }

  private static func sum(_ matrix: Matrix, _ body: (Float, Int, Int) -> Double) -> Double {
    var total = 0.0
    for row in 0..<matrix.rows {
      for column in 0..<matrix.columns { total += body(matrix.row(row)[column], row, column) }
    }
    return total
  }
}
