import ModelFile
import Quantization

extension BlockEncoder {
  /// Encodes one panel: up to 32 rows to codes, scales and, where the codes are asymmetric, minima.
  func quantize(
    _ rows: Range<Int>, _ layout: QuantizedLayout, to planes: [UnsafeMutableRawPointer], scratch: ConversionScratch
  ) throws(ConversionError) -> Bool {
    guard let quantizer = RoundToNearest(bits: layout.bits, group: layout.group, isSymmetric: layout.symmetric) else {
      throw .invalidGroup(layout.group)
    }
    let floats = try scratch.block(count: rows.count * source.columns)
    let isFinite = try source.floats(rows, to: floats, stride: source.columns, scratch: scratch)
    if !isFinite {
      try refuseNonfinite(rows, scratch)
      for index in 0..<rows.count * source.columns where !floats[index].isFinite { floats[index] = 0 }
    }
    let fits = quantizer.quantize(
      floats, stride: source.columns, rows: rows.count, columns: source.columns, codes: planes[0],
      scales: planes[1].assumingMemoryBound(to: UInt16.self),
      minima: layout.symmetric ? nil : planes[2].assumingMemoryBound(to: UInt16.self))
    if !fits { try refuseTooLarge(rows, limit: quantizer.largestWeight, scratch) }
    return isFinite
  }
}
