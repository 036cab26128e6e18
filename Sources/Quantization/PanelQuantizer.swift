import Tensors

/// How the values of a panel become codes.
package struct PanelQuantizer {
  package var method: QuantizationMethod
  /// Second moments of the inputs, one a column; nil where they are not known.
  package var moments: UnsafePointer<Float>?

  package init(_ method: QuantizationMethod = .search, moments: UnsafePointer<Float>? = nil) {
    self.method = method
    self.moments = moments
  }
}

extension QuantizedLayout {
  /// Quantizes up to 32 rows of `columns` floats to one panel, each value to the nearest its group's scale allows.
  ///
  /// - Parameters:
  ///   - values: row r begins at `values + r · stride`; what lies between `columns` and `stride` is not read.
  ///   - rows: 1 … 32; the panel's other rows become padding.
  ///   - codes: takes `panelCodeBytes` bytes, at any alignment of 4.
  ///   - scales: takes `panelScaleCount` float16 bit patterns.
  ///   - minima: as `scales`; needed where codes are asymmetric, else not touched.
  /// Panels are independent of each other: several threads may quantize different ones at once.
  package func quantize(
    _ values: UnsafePointer<Float>, stride: Int, rows: Int, _ quantizer: PanelQuantizer = PanelQuantizer(),
    codes: UnsafeMutableRawPointer, scales: UnsafeMutablePointer<UInt16>, minima: UnsafeMutablePointer<UInt16>?
  ) throws(QuantizationError) {
    precondition(rows >= 1 && rows <= Self.panelRows && stride >= columns && (scheme.isSymmetric || minima != nil))
    let planes = PanelPlanes(codes: codes, scales: scales, minima: minima)
    let group = scheme.group
    var failure: QuantizationError?
    // A group's values, padded, and its codes.
    withUnsafeTemporaryAllocation(of: Float.self, capacity: group) { padded in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: group) { bytes in
        guard let padded = padded.baseAddress, let bytes = bytes.baseAddress else { return }
        for row in 0..<Self.panelRows {
          for index in 0..<groups {
            let count = row < rows ? min(group, columns - index * group) : 0
            var scale = GroupScale(scale: 0, minimum: 0)
            if count > 0 {
              var x = values + row * stride + index * group
              if count < group {
                padded.update(from: x, count: count)
                (padded + count).update(repeating: x[0], count: group - count)
                x = UnsafePointer(padded)
              }
              let weights = quantizer.moments.map { $0 + index * group }
              guard areFinite(x, group), let found = scheme.groupScale(x, count, quantizer.method, weights: weights) else {
                failure = error(x, count, row: row, column: index * group)
                return
              }
              scale = found
              scheme.encode(x, group, scale, to: bytes)
            }
            place(bytes, count, scale, row: row, group: index, in: planes)
          }
        }
      }
    }
    if let failure { throw failure }
  }

  /// Puts `count` codes of one group of a row, room for a whole group of bytes, and its scale to their places. The rest becomes padding.
  func place(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ scale: GroupScale, row: Int, group index: Int, in planes: PanelPlanes) {
    (bytes + count).update(repeating: UInt8(scheme.zero), count: scheme.group - count)
    pack(bytes, lane: row, to: planes.codes + index * groupCodeBytes)
    let place = index * Self.panelRows + row
    planes.scales[place] = Float16(scale.scale).bitPattern
    if !scheme.isSymmetric { planes.minima?[place] = Float16(scale.minimum).bitPattern }
  }

  func areFinite(_ x: UnsafePointer<Float>, _ count: Int) -> Bool {
    var bits: UInt32 = 0
    for index in 0..<count {
      let exponent = x[index].bitPattern & 0x7f80_0000
      bits = bits > exponent ? bits : exponent
    }
    return bits != 0x7f80_0000
  }

  /// The first value that is at fault in a group that could not be quantized.
  func error(_ x: UnsafePointer<Float>, _ count: Int, row: Int, column: Int) -> QuantizationError {
    let values = UnsafeBufferPointer(start: x, count: count)
    if let index = values.firstIndex(where: { !$0.isFinite }) {
      return .notFinite(row: row, column: column + index, value: x[index])
    }
    let greatest = values.indices.max { values[$0].magnitude < values[$1].magnitude } ?? 0
    return .tooLarge(row: row, column: column + greatest, value: x[greatest], limit: greatestMagnitude)
  }

  /// The greatest magnitude of a weight that can be quantized.
  package var greatestMagnitude: Float {
    let half = Float(Float16.greatestFiniteMagnitude)
    return scheme.isSymmetric ? half * -scheme.codeRange.least : half
  }
}

/// Where a panel's codes, scales and minima go.
struct PanelPlanes {
  var codes: UnsafeMutableRawPointer
  var scales: UnsafeMutablePointer<UInt16>
  var minima: UnsafeMutablePointer<UInt16>?
}

extension QuantizedLayout {
  /// The weights that a panel stands for: `rows` rows of `columns` floats, row r at `values + r · stride`. Planes as `quantize` writes
  /// them.
  package func dequantize(
    codes: UnsafeRawPointer, scales: UnsafePointer<UInt16>, minima: UnsafePointer<UInt16>?, rows: Int,
    to values: UnsafeMutablePointer<Float>, stride: Int
  ) {
    precondition(rows >= 1 && rows <= Self.panelRows && stride >= columns && (scheme.isSymmetric || minima != nil))
    let planes = QuantizedPlanes(codes: codes, scales: scales, minima: scheme.isSymmetric ? nil : minima)
    for row in 0..<rows { decode(row: row, 0..<columns, of: planes, to: values + row * stride) }
  }
}

/// How codes and scales are chosen. All write the same format.
public enum QuantizationMethod: String, Sendable, Codable, CaseIterable {
  /// Round to nearest: each group's scale is such that its extreme values fit.
  case rtn
  /// The scale (and minimum) of the least squared error found, weighted by the inputs' second moments where they are known.
  case search
  /// `search`, and each input's rounding error is compensated by the inputs that are quantized after it (needs the inputs' Hessian).
  case gptq
}

/// What makes a value unfit for quantization. Rows count from the panel's first.
package enum QuantizationError: Error, Equatable, Sendable {
  /// A NaN or an infinity.
  case notFinite(row: Int, column: Int, value: Float)
  /// Too great for a scale, or a minimum, in float16: `limit` is the greatest magnitude that fits.
  case tooLarge(row: Int, column: Int, value: Float, limit: Float)
}

extension QuantizationError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .notFinite(let row, let column, let value): return "weight [\(row), \(column)] is \(value); a finite number was expected"
    case .tooLarge(let row, let column, let value, let limit):
      return "weight [\(row), \(column)] is \(value); with this quantization its magnitude may be \(limit) at most"
    }
  }
}
