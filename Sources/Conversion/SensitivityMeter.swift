import ModelFile
import Models
import Parallel
import Quantization
import Safetensors
import Tensors

/// Measures on some rows of a matrix what each way to store it costs.
struct SensitivityMeter {
  let checkpoint: Checkpoint
  let options: ConversionOptions
  let pool: ThreadPool

  /// Panels of 32 rows, evenly spread, that are measured.
  private static let panels = 8

  /// Encodings to choose from.
  static func encodings(_ requirement: TensorRequirement, _ options: ConversionOptions) -> [TensorEncoding] {
    let columns = StorageDefaults.columns(requirement)
    let symmetric = !options.isAsymmetric
    return QuantizedScheme.bitChoices.flatMap { bits in
      // Beside 8 bits the default group alone.
      let padding = bits < 8 ? StorageDefaults.groups : [StorageDefaults.group(columns: columns, longest: StorageDefaults.groups[0])]
      return (options.group.map { [$0] } ?? padding).map { TensorEncoding.quantized(bits: bits, group: $0, symmetric: symmetric) }
    }
  }

  /// `moments`: mean squares of the matrix's inputs; nil where they are not known and all count the same.
  func choices(_ tensor: ConversionPlan.Stored, moments: [Float]?) throws(ConversionError) -> [StorageChoice] {
    guard let source = RowSource(checkpoint, tensor.source, tensor.requirement) else {
      throw .unsupportedType(tensor: tensor.source.name, type: tensor.source.type)
    }
    let all = QuantizedLayout.panels(rows: source.rows)
    let count = min(Self.panels, all)
    let encodings = Self.encodings(tensor.requirement, options)
    var sums = [(error: Double, energy: Double)](repeating: (0, 0), count: count * encodings.count)
    try sums.withUnsafeMutableBufferPointer { sums throws(ConversionError) in
      nonisolated(unsafe) let sums = sums
      try pool.forEach(count) { index, _ throws(ConversionError) in
        let first = index * all / count * QuantizedLayout.panelRows
        let rows = first..<min(source.rows, first + QuantizedLayout.panelRows)
        let scratch = ConversionScratch()
        let values = try scratch.block(count: rows.count * source.columns)
        if try !source.floats(rows, to: values, stride: source.columns, scratch: scratch) {
          for index in 0..<rows.count * source.columns where !values[index].isFinite { values[index] = 0 }
        }
        for (number, encoding) in encodings.enumerated() {
          sums[index * encodings.count + number] = Self.error(values, rows.count, source.columns, encoding, moments)
        }
      }
    }
    let importance = RolePolicy(tensor.requirement.role).importance
    var choices: [StorageChoice] = []
    for (number, encoding) in encodings.enumerated() {
      let (error, energy) = (0..<count).reduce((0.0, 0.0)) {
        ($0.0 + sums[$1 * encodings.count + number].error, $0.1 + sums[$1 * encodings.count + number].energy)
      }
      choices.append(
        StorageChoice(encoding: encoding, byteCount: try tensor.byteCount(as: encoding), cost: energy > 0 ? importance * error / energy : 0)
      )
    }
    return choices
  }

  /// The weighted squared error of a panel's rows, and their weighted squares. Rows that do not fit cost all they are.
  private static func error(
    _ values: UnsafePointer<Float>, _ rows: Int, _ columns: Int, _ encoding: TensorEncoding, _ moments: [Float]?
  ) -> (error: Double, energy: Double) {
    guard case .quantized(let scheme) = encoding, let layout = QuantizedLayout(rows: rows, columns: columns, scheme: scheme)
    else { return (0, 0) }
    var codes = [UInt8](repeating: 0, count: layout.panelCodeBytes)
    var scales = [UInt16](repeating: 0, count: layout.panelScaleCount)
    var minima = scales
    var restored = [Float](repeating: 0, count: rows * columns)
    codes.withUnsafeMutableBytes { codes in
      (moments ?? []).withUnsafeBufferPointer { weights in
        guard let base = codes.baseAddress else { return }
        do throws(QuantizationError) {
          try layout.quantize(
            values, stride: columns, rows: rows, PanelQuantizer(.search, moments: moments == nil ? nil : weights.baseAddress), codes: base,
            scales: &scales, minima: &minima)
        } catch { return }
        layout.dequantize(codes: base, scales: scales, minima: minima, rows: rows, to: &restored, stride: columns)
      }
    }
    var (error, energy) = (0.0, 0.0)
    for row in 0..<rows {
      for column in 0..<columns {
        let weight = Double(moments?[column] ?? 1)
        let value = values[row * columns + column]
        let difference = Double(value - restored[row * columns + column])
        error += weight * difference * difference
        energy += weight * Double(value) * Double(value)
      }
    }
    return (error, energy)
  }
}
