import CIntrinsics

/// The scale and minimum of one group of a row, as float16 holds them. Codes are computed with these very numbers.
struct GroupScale: Equatable {
  var scale: Float
  var minimum: Float
}

extension QuantizationScheme {
  /// Ratios tried of the range that is quantized to the one that the values span: cutting off the extremes a little costs them, and serves
  /// all others. 8/7 lets a symmetric range hold the extreme's opposite as well. With the least-squares step after it, the squared error on
  /// normal weights in groups of 64 is within 2 % of the best of 71 ratios, and 0.70 of what max / 7 gives.
  private static let ratios: [Float] = [1, 0.93, 0.86, 0.79, 1.07, 8 / 7]

  /// The best scale found for `count` values, all finite, after which copies of one of them fill the group; nil where it, or the minimum, is
  /// beyond float16.
  func groupScale(_ x: UnsafePointer<Float>, _ count: Int) -> GroupScale? {
    let range = GroupRange(x, (count + 3) / 4 * 4)
    return isSymmetric ? symmetric(x, count, range) : asymmetric(x, count, range)
  }

  private func symmetric(_ x: UnsafePointer<Float>, _ count: Int, _ range: GroupRange) -> GroupScale? {
    if bits == 8 {
      let scale = roundedToHalf(abs(range.extreme) / 127)
      return scale.isFinite ? GroupScale(scale: scale, minimum: 0) : nil
    }
    // The extreme goes to the end that has one code more: −8. So scales may be negative.
    let full = range.extreme / -8
    var best: (scale: Float, sums: FitSums)?
    func attempt(_ scale: Float) {
      let scale = roundedToHalf(scale)
      guard scale.isFinite else { return }
      let sums = FitSums(x, count, scale: scale, minimum: 0, least: -8, greatest: 7)
      if sums.error < best?.sums.error ?? .infinity { best = (scale, sums) }
    }
    guard roundedToHalf(full).isFinite else { return nil }
    for ratio in Self.ratios { attempt(full * ratio) }
    if let sums = best?.sums, sums.qq > 0 { attempt(sums.xq / sums.qq) }
    return best.map { GroupScale(scale: $0.scale, minimum: 0) }
  }

  private func asymmetric(_ x: UnsafePointer<Float>, _ count: Int, _ range: GroupRange) -> GroupScale? {
    let greatestCode = Float(self.greatestCode)
    var best: (scale: GroupScale, sums: FitSums)?
    /// With the minimum rounded first, and the scale such that the range's end is still reached.
    func attempt(minimum: Float, scale: Float) {
      let candidate = GroupScale(scale: roundedToHalf(scale), minimum: roundedToHalf(minimum))
      guard candidate.scale.isFinite, candidate.minimum.isFinite else { return }
      let sums = FitSums(x, count, scale: candidate.scale, minimum: candidate.minimum, least: 0, greatest: greatestCode)
      if sums.error < best?.sums.error ?? .infinity { best = (candidate, sums) }
    }
    guard roundedToHalf(range.least).isFinite, roundedToHalf(range.greatest).isFinite else { return nil }
    let middle = range.least / 2 + range.greatest / 2
    let half = range.greatest / 2 - range.least / 2
    for ratio in bits == 8 ? Self.ratios.prefix(1) : Self.ratios.prefix(4) {
      let minimum = roundedToHalf(middle - ratio * half)
      attempt(minimum: minimum, scale: (middle + ratio * half - minimum) / greatestCode)
    }
    if bits == 4, let (scale, sums) = best {
      // The straight line through (q, x − minimum) with the least squared error.
      let meanCode = sums.q / Float(count)
      let spread = sums.qq - sums.q * meanCode
      if spread > 0 {
        let mean = UnsafeBufferPointer(start: x, count: count).reduce(0, +) / Float(count) - scale.minimum
        let slope = (sums.xq - sums.q * mean) / spread
        attempt(minimum: scale.minimum + mean - slope * meanCode, scale: slope)
      }
    }
    return best?.scale
  }

  /// Codes of `count` values, a multiple of 4.
  func encode(_ x: UnsafePointer<Float>, _ count: Int, _ scale: GroupScale, to codes: UnsafeMutablePointer<UInt8>) {
    let inverse = SIMD4<Float>(repeating: scale.scale == 0 ? 0 : 1 / scale.scale)
    let minimum = SIMD4<Float>(repeating: scale.minimum)
    let zero = Float(isSymmetric ? 1 << (bits - 1) : 0)
    // Symmetric 8 bits leave code 0 unused, so that negation is exact.
    let least = isSymmetric && bits == 8 ? -127 : -zero
    let greatest = Float(greatestCode) - zero
    var index = 0
    while index < count {
      let q = quantizer_round((quantizer_load(x + index) - minimum) * inverse, least, greatest)
      quantizer_store(codes + index, q + SIMD4<Float>(repeating: zero))
      index += 4
    }
  }
}
