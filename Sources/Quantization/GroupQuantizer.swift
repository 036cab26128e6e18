import CIntrinsics
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

/// The scale and minimum of one group of a row, as float16 holds them. Codes are computed with these very numbers.
struct GroupScale: Equatable {
  var scale: Float
  var minimum: Float
}

extension QuantizedScheme {
  /// Ratios tried of the range that is quantized to the one that the values span: cutting off the extremes a little costs them, and serves
  /// all others. With the least-squares scale of the best ratio's codes, the squared error on normal weights in groups of 64 is within 2 %
  /// of the best of 71 ratios, and 0.70 of what max / 7 gives.
  private static let ratios: [Float] = [1, 0.93, 0.86, 0.79, 1.07]
  /// The same of 3 bits, whose few codes gain by less range: with long tails (Student's of 5) and groups of 128, 0.96 of the squared error.
  private static let ratiosOf3Bits = ratios + [0.72, 0.65]
  /// The same of uneven levels, whose outer ones lie far apart: with groups of 32 normal weights 0.99 of the squared error.
  private static let ratiosOfUnevenLevels: [Float] = [1, 0.93, 0.86, 1.07, 1.14]
  /// Where some inputs count more than others, the best range may be that of a few values.
  private static let weightedRatios: [Float] = (0..<16).map { 1.1 - 0.045 * Float($0) }

  /// Codes less the zero point, or uneven levels. Symmetric 8 bits leave code 0 unused, so that negation is exact.
  var codeRange: CodeRange {
    if isUneven { return CodeRange(least: -31, greatest: 26, nearest: UnevenLevels.nearest) }
    return CodeRange(least: Float(isSymmetric && bits == 8 ? -127 : -zero), greatest: Float(greatestCode - zero))
  }

  /// The scale for `count` values, all finite, after which copies of one of them fill the group; nil where it, or the minimum, is
  /// beyond float16. `weights`: what an error in each value counts; nil where all count the same.
  func groupScale(_ x: UnsafePointer<Float>, _ count: Int, _ method: QuantizationMethod, weights: UnsafePointer<Float>?) -> GroupScale? {
    let range = GroupRange(x, (count + 3) / 4 * 4)
    let plain = isSymmetric ? plainSymmetric(range) : plainAsymmetric(range)
    guard bits < 8, method != .rtn, let plain else { return plain }
    if let weights { return bestScale(x, count, range, InputMoments(values: weights), plain: plain, ratios: Self.weightedRatios) }
    let ratios = isUneven ? Self.ratiosOfUnevenLevels : bits < 4 ? Self.ratiosOf3Bits : Self.ratios
    return bestScale(x, count, range, EqualWeights(), plain: plain, ratios: ratios)
  }

  @inline(__always)
  private func bestScale(
    _ x: UnsafePointer<Float>, _ count: Int, _ range: GroupRange, _ weights: some ErrorWeights, plain: GroupScale, ratios: [Float]
  ) -> GroupScale {
    let fit = isSymmetric ? bestProportional(x, count, range, weights, ratios) : bestLinear(x, count, range, weights, ratios)
    let fitted = GroupScale(scale: roundedToHalf(fit.scale), minimum: roundedToHalf(fit.minimum))
    guard fitted.scale.isFinite, fitted.minimum.isFinite else { return plain }
    // Rounding to float16 may cost more than the fit gains, with numbers near its ends.
    return error(x, count, fitted, weights) <= error(x, count, plain, weights) ? fitted : plain
  }

  @inline(__always)
  private func error(_ x: UnsafePointer<Float>, _ count: Int, _ scale: GroupScale, _ weights: some ErrorWeights) -> Float {
    codeRange.squaredError(x, count, weights, scale: scale.scale, minimum: scale.minimum)
  }

  /// Such that the greatest magnitude has the greatest code; of uneven levels, that all values lie between the outermost, either of which
  /// may be for the positive ones: what makes the lesser scale.
  private func plainSymmetric(_ range: GroupRange) -> GroupScale? {
    // At float16's end, where that scale is too great, the extreme may still have the least code.
    let scale: Float
    if isUneven {
      let upright = max(range.least / codeRange.least, range.greatest / codeRange.greatest)
      let reversed = max(range.greatest / -codeRange.least, -range.least / codeRange.greatest)
      scale = roundedToHalf(reversed < upright ? -reversed : upright)
    } else {
      scale = roundedToHalf(abs(range.extreme) / codeRange.greatest)
    }
    if scale.isFinite { return GroupScale(scale: scale, minimum: 0) }
    let full = roundedToHalf(range.extreme / codeRange.least)
    return full.isFinite ? GroupScale(scale: full, minimum: 0) : nil
  }

  /// Such that the least value has code 0 and the greatest the greatest code, with the minimum rounded first.
  private func plainAsymmetric(_ range: GroupRange) -> GroupScale? {
    let minimum = roundedToHalf(range.least)
    let scale = roundedToHalf((range.greatest - minimum) / codeRange.greatest)
    return minimum.isFinite && roundedToHalf(range.greatest).isFinite && scale.isFinite ? GroupScale(scale: scale, minimum: minimum) : nil
  }

  @inline(__always)
  private func bestProportional(
    _ x: UnsafePointer<Float>, _ count: Int, _ range: GroupRange, _ weights: some ErrorWeights, _ ratios: [Float]
  ) -> Fit {
    // The extreme goes to the end that has one code more, the least. So scales may be negative. Of uneven levels either end may be better.
    let inverse = range.extreme.magnitude > .leastNormalMagnitude ? codeRange.least / range.extreme : 0
    var best = Fit()
    for ratio in ratios {
      let fit = Fit.proportional(x, count, weights, codeRange, inverse: inverse / ratio)
      if fit.explained > best.explained { best = fit }
      if isUneven {
        let reversed = Fit.proportional(x, count, weights, codeRange, inverse: inverse * (codeRange.greatest / codeRange.least) / ratio)
        if reversed.explained > best.explained { best = reversed }
      }
    }
    return best
  }

  @inline(__always)
  private func bestLinear(
    _ x: UnsafePointer<Float>, _ count: Int, _ range: GroupRange, _ weights: some ErrorWeights, _ ratios: [Float]
  ) -> Fit {
    let middle = range.least / 2 + range.greatest / 2
    let half = range.greatest / 2 - range.least / 2
    let inverse = half > .leastNormalMagnitude ? codeRange.greatest / 2 / half : 0
    var best = Fit(minimum: middle)
    for ratio in ratios {
      let fit = Fit.linear(x, count, weights, codeRange, inverse: inverse / ratio, minimum: middle - ratio * half)
      if fit.explained > best.explained { best = fit }
    }
    return best
  }

  /// Codes of `count` values, a multiple of 4.
  func encode(_ x: UnsafePointer<Float>, _ count: Int, _ scale: GroupScale, to codes: UnsafeMutablePointer<UInt8>) {
    let zero = isUneven ? 0 : Float(zero)
    let codeRange = isUneven ? CodeRange(least: 0, greatest: 15, nearest: UnevenLevels.codes) : codeRange
    codeRange.forEach(x, count, inverse: scale.scale == 0 ? 0 : 1 / scale.scale, minimum: scale.minimum) { index, _, q in
      quantizer_store(codes + index, q + zero)
    }
  }

  /// The code of one value, and the value that it stands for.
  @inline(__always)
  func encode(_ x: Float, _ scale: GroupScale) -> (code: UInt8, value: Float) {
    let inverse: Float = scale.scale == 0 ? 0 : 1 / scale.scale
    if isUneven {
      let code = UInt8(quantizer_look_up(SIMD4(repeating: x * inverse), UnevenLevels.codes)[0])
      return (code, scale.scale * Float(QuantizedScheme.unevenLevels[Int(code)]))
    }
    let q = quantizer_round(SIMD4(repeating: (x - scale.minimum) * inverse), codeRange.least, codeRange.greatest)[0]
    return (UInt8(q + Float(zero)), scale.minimum + scale.scale * q)
  }
}

/// The least and greatest of a group's values.
struct GroupRange {
  var least: Float
  var greatest: Float

  /// Of `count` values, a multiple of 4.
  init(_ x: UnsafePointer<Float>, _ count: Int) {
    var low = quantizer_load(x)
    var high = low
    var index = 4
    while index < count {
      let four = quantizer_load(x + index)
      low = quantizer_min(four, low)
      high = quantizer_max(four, high)
      index += 4
    }
    least = low.min()
    greatest = high.max()
  }

  /// The value of greatest magnitude.
  var extreme: Float { -least > greatest ? least : greatest }
}

/// The nearest float16, as a float.
@inline(__always)
func roundedToHalf(_ x: Float) -> Float { Float(Float16(x)) }

/// Which of the uneven levels is nearest: tables of `quantizer_look_up`. All that lies in the same half of an integer has the same nearest
/// level, for what lies in the middle between two of them is a multiple of a half.
enum UnevenLevels {
  /// The levels, and their codes.
  nonisolated(unsafe) static let nearest = table { Float(QuantizedScheme.unevenLevels[$0]) }
  nonisolated(unsafe) static let codes = table { Float($0) }

  private static func table(_ value: (_ code: Int) -> Float) -> UnsafePointer<Float> {
    let table = UnsafeMutablePointer<Float>.allocate(capacity: 128)
    for index in 0..<128 {
      let middle = (Float(index) - 63.5) / 2
      func distance(_ code: Int) -> Float { abs(Float(QuantizedScheme.unevenLevels[code]) - middle) }
      table[index] = value((0..<16).min { distance($0) < distance($1) } ?? 8)
    }
    return UnsafePointer(table)
  }
}

/// The codes that a scale and a minimum give, less the zero point, run over a group.
struct CodeRange {
  var least: Float
  var greatest: Float
  /// Levels by `quantizer_look_up`; nil where they are the integers.
  var nearest: UnsafePointer<Float>?

  /// Calls `body(x − minimum, q)` with four values and their codes at a time; the last call may have zeros for both.
  @inline(__always)
  func forEach(
    _ x: UnsafePointer<Float>, _ count: Int, inverse: Float, minimum: Float, _ body: (_ index: Int, SIMD4<Float>, SIMD4<Float>) -> Void
  ) {
    if let nearest {
      forEach(x, count, inverse, minimum, { quantizer_look_up($0, nearest) }, body)
    } else {
      forEach(x, count, inverse, minimum, { quantizer_round($0, least, greatest) }, body)
    }
  }

  @inline(__always)
  private func forEach(
    _ x: UnsafePointer<Float>, _ count: Int, _ inverse: Float, _ minimum: Float, _ round: (SIMD4<Float>) -> SIMD4<Float>,
    _ body: (_ index: Int, SIMD4<Float>, SIMD4<Float>) -> Void
  ) {
    var index = 0
    while index + 4 <= count {
      let values = quantizer_load(x + index) - minimum
      body(index, values, round(values * inverse))
      index += 4
    }
    while index < count {
      let value = x[index] - minimum
      let q = round(SIMD4<Float>(repeating: value * inverse))
      body(index, SIMD4<Float>(value, 0, 0, 0), SIMD4<Float>(q[0], 0, 0, 0))
      index += 1
    }
  }

  /// Σ weight · (x − quantized x)² over `count` values.
  @inline(__always)
  func squaredError(_ x: UnsafePointer<Float>, _ count: Int, _ weights: some ErrorWeights, scale: Float, minimum: Float) -> Float {
    var error = SIMD4<Float>()
    forEach(x, count, inverse: scale == 0 ? 0 : 1 / scale, minimum: minimum) { index, values, q in
      let difference = values - q * scale
      error += weights.of(index, count) * difference * difference
    }
    return error.sum()
  }
}

extension ErrorWeights {
  /// As `CodeRange.forEach` hands out values: four, or one and zeros where fewer than four are left.
  @inline(__always)
  func of(_ index: Int, _ count: Int) -> SIMD4<Float> { index + 4 <= count ? four(index) : SIMD4(one(index), 0, 0, 0) }
}

/// The straight line through a group's codes and values with the least weighted squared error, and how much of the values it explains.
struct Fit {
  var scale: Float = 0
  var minimum: Float = 0
  /// Σ weight · x² (about the mean where there is a minimum), less the squared error: the more the better.
  var explained: Float = 0

  /// `x ≈ scale · q`.
  @inline(__always)
  static func proportional(
    _ x: UnsafePointer<Float>, _ count: Int, _ weights: some ErrorWeights, _ codes: CodeRange, inverse: Float
  ) -> Fit {
    var (xq, qq) = (SIMD4<Float>(), SIMD4<Float>())
    codes.forEach(x, count, inverse: inverse, minimum: 0) { index, values, q in
      let weighted = weights.of(index, count) * q
      xq += values * weighted
      qq += q * weighted
    }
    let (product, square) = (xq.sum(), qq.sum())
    return square > 0 ? Fit(scale: product / square, explained: product * (product / square)) : Fit()
  }

  /// `x ≈ scale · q + minimum`.
  @inline(__always)
  static func linear(
    _ x: UnsafePointer<Float>, _ count: Int, _ weights: some ErrorWeights, _ codes: CodeRange, inverse: Float, minimum: Float
  ) -> Fit {
    var (sum, xs, qs, xq, qq) = (SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>())
    codes.forEach(x, count, inverse: inverse, minimum: minimum) { index, values, q in
      let weight = weights.of(index, count)
      sum += weight
      let weighted = weight * q
      xs += weight * values
      qs += weighted
      xq += values * weighted
      qq += q * weighted
    }
    let total = sum.sum()
    guard total > 0 else { return Fit() }
    let (meanX, meanQ) = (xs.sum() / total, qs.sum() / total)
    let product = xq.sum() - meanX * meanQ * total
    let square = qq.sum() - meanQ * meanQ * total
    guard square > 0 else { return Fit() }
    let scale = product / square
    return Fit(scale: scale, minimum: minimum + meanX - scale * meanQ, explained: product * scale)
  }
}

/// What a squared error in each of a group's values counts.
protocol ErrorWeights {
  /// Of four values from `index` on.
  func four(_ index: Int) -> SIMD4<Float>
  func one(_ index: Int) -> Float
}

/// All values count the same: loops over it are those without weights.
struct EqualWeights: ErrorWeights {
  @inline(__always) func four(_ index: Int) -> SIMD4<Float> { SIMD4(repeating: 1) }
  @inline(__always) func one(_ index: Int) -> Float { 1 }
}

/// Second moments of the inputs that the values are multiplied with; none negative.
struct InputMoments: ErrorWeights {
  let values: UnsafePointer<Float>
  @inline(__always) func four(_ index: Int) -> SIMD4<Float> { quantizer_load(values + index) }
  @inline(__always) func one(_ index: Int) -> Float { values[index] }
}
