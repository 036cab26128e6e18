import Quantization
import Tensors
import TestSupport

extension SeededNumbers {
  /// Nearly normal, with this standard deviation.
  mutating func normal(_ deviation: Float) -> Float {
    var sum: Float = 0
    for _ in 0..<12 { sum += Float.random(in: -0.5...0.5, using: &self) }
    return sum * deviation
  }
}

func scheme(_ bits: Int, _ group: Int, symmetric: Bool) -> QuantizedScheme {
  QuantizedScheme(bits: bits, group: group, isSymmetric: symmetric)
}

func unevenScheme(_ group: Int) -> QuantizedScheme { QuantizedScheme(bits: 4, group: group, isSymmetric: true, isUneven: true) }

/// A quantized panel and what it stands for.
struct Panel {
  let layout: QuantizedLayout
  private(set) var codes: [UInt8]
  private(set) var scales: [UInt16]
  private(set) var minima: [UInt16]
  /// `[rows][columns]`.
  private(set) var restored: [Float]

  init(
    _ values: [Float], rows: Int, _ scheme: QuantizedScheme, _ method: QuantizationMethod = .search, moments: [Float]? = nil
  ) throws(QuantizationError) {
    let columns = values.count / rows
    guard let layout = QuantizedLayout(rows: rows, columns: columns, scheme: scheme) else { preconditionFailure("no such layout") }
    self.layout = layout
    // Not zero: every byte must be written.
    codes = [UInt8](repeating: 0xee, count: layout.panelCodeBytes)
    scales = [UInt16](repeating: 0xeeee, count: layout.panelScaleCount)
    minima = scales
    restored = [Float](repeating: .nan, count: values.count)
    var failure: QuantizationError?
    codes.withUnsafeMutableBytes { codes in
      do throws(QuantizationError) {
        try (moments ?? []).withUnsafeBufferPointer { weights throws(QuantizationError) in
          try layout.quantize(
            values, stride: columns, rows: rows, PanelQuantizer(method, moments: moments == nil ? nil : weights.baseAddress),
            codes: codes.baseAddress!, scales: &scales, minima: &minima)
        }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    codes.withUnsafeBytes { codes in
      layout.dequantize(codes: codes.baseAddress!, scales: scales, minima: minima, rows: rows, to: &restored, stride: columns)
    }
  }

  /// Each column's errors times its moment, if there are moments.
  func squaredError(_ values: [Float], _ moments: [Float]? = nil) -> Double {
    values.indices.reduce(0) { sum, index in
      let difference = Double(values[index]) - Double(restored[index])
      return sum + difference * difference * Double(moments?[index % layout.columns] ?? 1)
    }
  }
}
