/// Weights to codes of 4 or 8 bits, each the nearest to its weight: one panel of 32 rows at a time, straight into the file's layout.
///
/// `weight ≈ scale · (code − zero)` with `zero` = 8 or 128, or with minima `scale · code + minimum`. Codes are chosen for the scale and
/// the minimum as float16 rounds them, so rounding those costs next to nothing.
///
/// Symmetric 4-bit codes reach from −8 to 7. Two scales are tried for each group, and that of the smaller squared error is taken:
/// `extreme / −8`, which gives the largest weight, whatever its sign, the code −8 and so the finest steps, but cuts what lies beyond 7
/// steps on the other side (as llama.cpp's Q4_0); and `|extreme| / 7`, which cuts nothing.
public struct RoundToNearest: Sendable {
  public let bits: Int
  /// Weights of a row that share a scale.
  public let group: Int
  public let isSymmetric: Bool

  /// Rows of a panel.
  public static let panelRows = 32

  /// nil unless `bits` is 4 or 8 and `group` a multiple of 32.
  public init?(bits: Int, group: Int, isSymmetric: Bool) {
    guard bits == 4 || bits == 8, group > 0, group % 32 == 0 else { return nil }
    self.bits = bits
    self.group = group
    self.isSymmetric = isSymmetric
  }

  /// The largest magnitude that no scale or minimum overflows at.
  public var largestWeight: Float {
    let largestHalf = Float(Float16.greatestFiniteMagnitude)
    // Between a minimum and a maximum of such magnitude lie 15 or 255 steps: the minimum is the narrower bound.
    return isSymmetric ? largestHalf * Float(1 << (bits - 1) - 1) : largestHalf
  }

  /// Quantizes a panel: `rows ≤ 32` rows of `columns` finite weights, `stride` floats apart. All planes are written in full, padding
  /// included.
  ///
  /// codes `[groups][group / 8][32][4]` bytes (4 bits: input j of 8 in the low half of byte j, input 4 + j in its high half) or
  /// `[groups][group / 4][32][4]` (8 bits); scales and minima `[groups][32]` as the bits of float16. `minima` is not touched where codes
  /// are symmetric. Returns false if a weight was beyond `largestWeight`, so that a scale or minimum is infinite.
  public func quantize(
    _ weights: UnsafePointer<Float>, stride: Int, rows: Int, columns: Int,
    codes: UnsafeMutableRawPointer, scales: UnsafeMutablePointer<UInt16>, minima: UnsafeMutablePointer<UInt16>?
  ) -> Bool {
    let groups = (columns + group - 1) / group
    let padding: UInt8 = isSymmetric ? (bits == 4 ? 0x88 : 0x80) : 0
    if rows < Self.panelRows || columns < groups * group {
      codes.initializeMemory(as: UInt8.self, repeating: padding, count: groups * groupByteCount)
    }
    var isFinite = true
    for index in 0..<groups {
      let start = index * group
      let count = min(group, columns - start)
      let target = codes + index * groupByteCount
      for row in 0..<Self.panelRows {
        let place = index * Self.panelRows + row
        guard row < rows else {
          scales[place] = 0
          minima?[place] = 0
          continue
        }
        let from = weights + (row * stride + start)
        let steps = isSymmetric ? symmetricSteps(from, count) : asymmetricSteps(from, count)
        scales[place] = steps.scale.bitPattern
        if !isSymmetric { minima?[place] = steps.minimum.bitPattern }
        isFinite = isFinite && steps.scale.isFinite && steps.minimum.isFinite
        if bits == 4 {
          encode4(from, count, steps, to: target + 4 * row)
        } else {
          encode8(from, count, steps, to: target + 4 * row)
        }
      }
    }
    return isFinite
  }

  /// Bytes of one group's codes, of all 32 rows.
  private var groupByteCount: Int { Self.panelRows * group * bits / 8 }

  // MARK: Scales

  /// How a group's weights become codes: `code = weight / scale + zero`, or `(weight − minimum) / scale`.
  private struct Steps {
    var scale: Float16
    var minimum: Float16 = 0
    /// 1 / scale; 0 where the scale is 0, which gives every weight the code `zero`.
    var inverse: Float
    /// Added after multiplication: `zero`, or `−minimum / scale`.
    var offset: Float
    var largestCode: Float

    init(scale: Float16, zero: Float, largestCode: Float) {
      self.scale = scale
      inverse = scale == 0 ? 0 : 1 / Float(scale)
      offset = zero
      self.largestCode = largestCode
    }

    init(scale: Float16, minimum: Float16, largestCode: Float) {
      self.scale = scale
      self.minimum = minimum
      inverse = scale == 0 ? 0 : 1 / Float(scale)
      offset = -Float(minimum) * inverse
      self.largestCode = largestCode
    }

    /// The nearest codes, in the lowest byte of each lane.
    @inline(__always) func codes(_ weights: SIMD8<Float>) -> SIMD8<UInt32> {
      let clamped = clamp(weights * inverse + offset)
      // A float at 1.5 · 2^23 has steps of 1: the sum rounds to the nearest whole number, ties to even, and its last bits are that number.
      return unsafeBitCast(clamped + roundingShift, to: SIMD8<UInt32>.self) & 0xFF
    }

    /// The sum of the squared differences, in squared steps.
    @inline(__always) func error(_ weights: SIMD8<Float>) -> SIMD8<Float> {
      let exact = weights * inverse + offset
      let difference = (clamp(exact) + roundingShift) - roundingShift - exact
      return difference * difference
    }

    /// The library's `clamped` calls a function for each vector.
    @inline(__always) private func clamp(_ codes: SIMD8<Float>) -> SIMD8<Float> {
      codes.replacing(with: 0, where: codes .< 0).replacing(with: largestCode, where: codes .> largestCode)
    }
  }

  private func symmetricSteps(_ weights: UnsafePointer<Float>, _ count: Int) -> Steps {
    let (least, greatest) = range(weights, count)
    if bits == 8 { return Steps(scale: Float16(max(-least, greatest) / 127), zero: 128, largestCode: 255) }
    let whole = Steps(scale: Float16(max(-least, greatest) / 7), zero: 8, largestCode: 15)
    let fine = Steps(scale: Float16((-least > greatest ? least : greatest) / -8), zero: 8, largestCode: 15)
    return error(weights, count, fine) < error(weights, count, whole) ? fine : whole
  }

  private func asymmetricSteps(_ weights: UnsafePointer<Float>, _ count: Int) -> Steps {
    let (least, greatest) = range(weights, count)
    let largestCode: Float = bits == 4 ? 15 : 255
    let minimum = Float16(least)
    return Steps(scale: Float16(max(0, greatest - Float(minimum)) / largestCode), minimum: minimum, largestCode: largestCode)
  }

  // MARK: Loops over a group

  @inline(__always) private func load(_ weights: UnsafePointer<Float>, _ index: Int) -> SIMD8<Float> {
    UnsafeRawPointer(weights + index).loadUnaligned(as: SIMD8<Float>.self)
  }

  private func range(_ weights: UnsafePointer<Float>, _ count: Int) -> (least: Float, greatest: Float) {
    var (least, greatest) = (weights[0], weights[0])
    let whole = count & ~7
    if whole > 0 {
      var (low, high) = (load(weights, 0), load(weights, 0))
      for index in Swift.stride(from: 8, to: whole, by: 8) {
        let values = load(weights, index)
        low.replace(with: values, where: values .< low)
        high.replace(with: values, where: values .> high)
      }
      for lane in 0..<8 {
        least = min(least, low[lane])
        greatest = max(greatest, high[lane])
      }
    }
    for index in whole..<count {
      least = min(least, weights[index])
      greatest = max(greatest, weights[index])
    }
    return (least, greatest)
  }

  /// The squared error of a group, in squared weights.
  private func error(_ weights: UnsafePointer<Float>, _ count: Int, _ steps: Steps) -> Float {
    var sums = SIMD8<Float>(repeating: 0)
    let whole = count & ~7
    for index in Swift.stride(from: 0, to: whole, by: 8) { sums += steps.error(load(weights, index)) }
    if whole < count { sums += steps.error(part(weights, whole, count, filledWith: 0)) }
    let scale = Float(steps.scale)
    return sums.sum() * scale * scale
  }

  /// The last weights of a group that the row's end cuts short.
  private func part(_ weights: UnsafePointer<Float>, _ start: Int, _ count: Int, filledWith value: Float) -> SIMD8<Float> {
    var result = SIMD8<Float>(repeating: value)
    for lane in 0..<min(8, count - start) { result[lane] = weights[start + lane] }
    return result
  }

  private func encode4(_ weights: UnsafePointer<Float>, _ count: Int, _ steps: Steps, to target: UnsafeMutableRawPointer) {
    // What a padding value must be for its code to be the padding's: 0 where codes are symmetric, the minimum where not.
    let padding = Float(steps.minimum)
    for index in Swift.stride(from: 0, to: count, by: 8) {
      let values = index + 8 <= count ? load(weights, index) : part(weights, index, count, filledWith: padding)
      let codes = steps.codes(values)
      let bytes = codes.lowHalf | codes.highHalf &<< 4
      store(bytes, to: target, block: index / 8)
    }
  }

  private func encode8(_ weights: UnsafePointer<Float>, _ count: Int, _ steps: Steps, to target: UnsafeMutableRawPointer) {
    let padding = Float(steps.minimum)
    for index in Swift.stride(from: 0, to: count, by: 8) {
      let values = index + 8 <= count ? load(weights, index) : part(weights, index, count, filledWith: padding)
      let codes = steps.codes(values)
      store(codes.lowHalf, to: target, block: index / 4)
      if index + 4 < count { store(codes.highHalf, to: target, block: index / 4 + 1) }
    }
  }

  /// The lowest bytes of four lanes, as a row's four bytes of a block.
  @inline(__always) private func store(_ lanes: SIMD4<UInt32>, to target: UnsafeMutableRawPointer, block: Int) {
    let word = lanes[0] | lanes[1] &<< 8 | lanes[2] &<< 16 | lanes[3] &<< 24
    (target + block * 4 * Self.panelRows).storeBytes(of: word.littleEndian, as: UInt32.self)
  }
}

/// 1.5 · 2^23
private let roundingShift: Float = 12_582_912
