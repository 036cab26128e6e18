/// A number of a JSON text, exactly: digits and a power of ten.
struct DecimalText {
  private let isNegative: Bool
  /// Without zeros at either end; empty is 0.
  private let digits: [UInt8]
  /// Of the last digit.
  private let exponent: Int

  /// nil where it is no number, or has an exponent that no bound needs.
  init?(_ text: String) {
    var rest = Array(text.utf8)[...]
    isNegative = rest.first == UInt8(ascii: "-")
    if isNegative { rest.removeFirst() }
    var exponent = 0
    if let mark = rest.firstIndex(where: { $0 == UInt8(ascii: "e") || $0 == UInt8(ascii: "E") }) {
      guard let written = Int(String(decoding: rest[(mark + 1)...], as: UTF8.self)), abs(written) < 1 << 32 else { return nil }
      exponent = written
      rest = rest[..<mark]
    }
    if let point = rest.firstIndex(of: UInt8(ascii: ".")) {
      exponent -= rest.endIndex - point - 1
      rest = rest[..<point] + rest[(point + 1)...]
    }
    var digits = rest.drop { $0 == UInt8(ascii: "0") }.map { $0 &- UInt8(ascii: "0") }
    guard digits.allSatisfy({ $0 < 10 }) else { return nil }
    while digits.last == 0 {
      digits.removeLast()
      exponent += 1
    }
    (self.digits, self.exponent) = (digits, exponent)
  }

  var isWhole: Bool { digits.isEmpty || exponent >= 0 }

  /// The number in units of 10^-places, rounded down or up; what is beyond ±10^36 is ±10^36.
  func scaled(_ places: Int, up: Bool) -> Int128 {
    if digits.isEmpty { return 0 }
    let shift = exponent + places
    let limit = NumberRange.power(36)
    guard digits.count + shift <= 36 else { return isNegative ? -limit : limit }
    // What stands before the point, and whether anything stands behind it.
    let kept = digits.prefix(max(0, digits.count + min(0, shift)))
    var magnitude = kept.reduce(Int128(0)) { $0 * 10 + Int128($1) }
    if shift > 0 { magnitude *= NumberRange.power(shift) }
    let isCut = kept.count < digits.count
    if isCut, up != isNegative { magnitude += 1 }
    return isNegative ? -magnitude : magnitude
  }
}

/// Which numbers an answer may have, and the way in which they are written: so many digits before the point and behind it at most. Whatever
/// has been written of one can be finished.
struct NumberRange: Hashable, Sendable {
  /// Digits before the point.
  let wholeDigits: Int
  /// Digits behind it; 0: whole numbers.
  let places: Int
  /// In units of 10^-places.
  private let bounds: ClosedRange<Int128>
  /// Exponents are written where no bound has to be met.
  let takesExponent: Bool

  /// nil where no number is in the range. Whole numbers have at most 18 digits, which fit into 64 bits, others 15 on each side of the
  /// point.
  init?(isWhole: Bool, minimum: (DecimalText, excluded: Bool)?, maximum: (DecimalText, excluded: Bool)?) {
    (wholeDigits, places) = isWhole ? (18, 0) : (15, 15)
    let limit = Self.power(wholeDigits + places) - 1
    var (low, high) = (-limit, limit)
    if let (bound, excluded) = minimum {
      // The first above: one more than the last that is not.
      low = max(low, excluded ? bound.scaled(places, up: false) + 1 : bound.scaled(places, up: true))
    }
    if let (bound, excluded) = maximum {
      high = min(high, excluded ? bound.scaled(places, up: true) - 1 : bound.scaled(places, up: false))
    }
    guard low <= high else { return nil }
    bounds = low...high
    takesExponent = !isWhole && minimum == nil && maximum == nil
  }

  static func power(_ exponent: Int) -> Int128 { powers[exponent] }
  private static let powers: [Int128] = (0...36).map { count in (0..<count).reduce(Int128(1)) { power, _ in power * 10 } }

  /// A number that is being written.
  struct Progress: Hashable {
    enum Place: UInt8 { case sign, zero, whole, point, fraction, exponent, exponentSign, exponentDigits }
    var place: Place
    var isNegative: Bool
    /// Digits in this place so far.
    var count: UInt8
    /// All digits before the exponent, as a whole number.
    var magnitude: Int128
  }

  /// What the number's first byte begins.
  func begin(_ byte: UInt8) -> Progress? {
    if byte == UInt8(ascii: "-") {
      return meets(1 - Self.power(wholeDigits + places), -1) ? Progress(place: .sign, isNegative: true, count: 0, magnitude: 0) : nil
    }
    return firstDigit(byte, isNegative: false)
  }

  private func firstDigit(_ byte: UInt8, isNegative: Bool) -> Progress? {
    // There is no -0 among whole numbers.
    guard let digit = Self.digit(byte), !(digit == 0 && isNegative && places == 0) else { return nil }
    return possible(Progress(place: digit == 0 ? .zero : .whole, isNegative: isNegative, count: 1, magnitude: Int128(digit)))
  }

  func next(_ progress: Progress, _ byte: UInt8) -> Progress? {
    var next = progress
    switch progress.place {
    case .sign: return firstDigit(byte, isNegative: true)
    case .zero, .whole:
      if byte == UInt8(ascii: "."), places > 0 {
        (next.place, next.count) = (.point, 0)
        return possible(next)
      }
      if let exponent = beginExponent(progress, byte) { return exponent }
      guard progress.place == .whole, Int(progress.count) < wholeDigits else { return nil }
      return possible(append(byte, to: next, place: .whole))
    case .point, .fraction:
      if progress.place == .fraction, let exponent = beginExponent(progress, byte) { return exponent }
      guard Int(progress.count) < places else { return nil }
      return possible(append(byte, to: next, place: .fraction))
    case .exponent, .exponentSign, .exponentDigits:
      if progress.place == .exponent, byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") {
        next.place = .exponentSign
        return next
      }
      guard Self.digit(byte) != nil, progress.count < 2 else { return nil }
      (next.place, next.count) = (.exponentDigits, progress.count + 1)
      return next
    }
  }

  func mayEnd(_ progress: Progress) -> Bool {
    switch progress.place {
    case .sign, .point, .exponent, .exponentSign: return false
    case .exponentDigits: return true
    case .zero, .whole, .fraction:
      let value = progress.magnitude * Self.power(places - written(progress))
      return bounds.contains(progress.isNegative ? -value : value)
    }
  }

  private func beginExponent(_ progress: Progress, _ byte: UInt8) -> Progress? {
    guard takesExponent, byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") else { return nil }
    // What the number was is of no matter any more.
    return Progress(place: .exponent, isNegative: false, count: 0, magnitude: 0)
  }

  private func append(_ byte: UInt8, to progress: Progress, place: Progress.Place) -> Progress? {
    guard let digit = Self.digit(byte) else { return nil }
    var next = progress
    (next.place, next.count) = (place, progress.count + 1)
    next.magnitude = progress.magnitude * 10 + Int128(digit)
    return next
  }

  /// Digits behind the point.
  private func written(_ progress: Progress) -> Int {
    progress.place == .fraction ? Int(progress.count) : 0
  }

  /// The same if it can be finished within the bounds.
  private func possible(_ progress: Progress?) -> Progress? {
    guard let progress else { return nil }
    let magnitude = progress.magnitude
    func reaches(_ unit: Int128) -> Bool {
      let (low, high) = (magnitude * unit, (magnitude + 1) * unit - 1)
      return progress.isNegative ? meets(-high, -low) : meets(low, high)
    }
    // Further digits before the point multiply by ten each; a zero takes none.
    let further = progress.place == .whole ? wholeDigits - Int(progress.count) : 0
    let unit = Self.power(places - written(progress))
    return (0...further).contains { reaches(unit * Self.power($0)) } ? progress : nil
  }

  private func meets(_ low: Int128, _ high: Int128) -> Bool { low <= bounds.upperBound && high >= bounds.lowerBound }

  private static func digit(_ byte: UInt8) -> UInt8? {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? byte - UInt8(ascii: "0") : nil
  }
}
