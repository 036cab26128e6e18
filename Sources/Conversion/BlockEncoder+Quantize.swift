import Quantization
import Tensors

extension BlockEncoder {
  /// Encodes one panel: up to 32 rows to codes, scales and, where the codes are asymmetric, minima.
  func quantize(
    _ rows: Range<Int>, _ layout: QuantizedLayout, to planes: [UnsafeMutableRawPointer], scratch: ConversionScratch
  ) throws(ConversionError) -> Bool {
    let columns = source.columns
    let floats = try scratch.block(count: rows.count * columns)
    let isFinite = try source.floats(rows, to: floats, stride: columns, scratch: scratch)
    if !isFinite {
      try refuseNonfinite(rows, scratch)
      for index in 0..<rows.count * columns where !floats[index].isFinite { floats[index] = 0 }
    }
    var failure: QuantizationError?
    (treatment.moments ?? []).withUnsafeBufferPointer { moments in
      do throws(QuantizationError) {
        try layout.quantize(
          floats, stride: columns, rows: rows.count, PanelQuantizer(method, moments: treatment.moments == nil ? nil : moments.baseAddress),
          codes: planes[0], scales: planes[1].assumingMemoryBound(to: UInt16.self),
          minima: layout.scheme.isSymmetric ? nil : planes[2].assumingMemoryBound(to: UInt16.self))
      } catch { failure = error }
    }
    if let failure { throw try refusal(of: failure, rows, scratch) }
    return isFinite
  }

  /// The error in the checkpoint's terms: its first weight that is beyond the limit, by its place there.
  func refusal(
    of error: QuantizationError, _ rows: Range<Int>, _ scratch: ConversionScratch
  ) throws(ConversionError) -> ConversionError {
    let name = source.tensor.name
    switch error {
    case .notFinite(let row, let column, let value): return .nonFinite(tensor: name, index: [rows.lowerBound + row, column], value: value)
    case .tooLarge(let row, let column, let value, let limit):
      try refuseTooLarge(rows, limit: limit, scratch)
      return .weightTooLarge(
        tensor: name, index: [rows.lowerBound + row, column], value: value, limit: limit, encoding: descriptor.encoding)
    }
  }
}
