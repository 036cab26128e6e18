/// What the pre-tokenizers' patterns tell apart.
package enum ScalarClass: UInt8 {
  case other = 0
  /// `\p{L}`
  case letter = 1
  /// `\p{N}`
  case number = 2
  /// `\s` but for the two below
  case space = 3
  /// `\r` and `\n`
  case newline = 4

  var isWhitespace: Bool { self == .space || self == .newline }
}

/// Look-ups in `UnicodeTables`. Of the Basic Multilingual Plane in one step, beyond it by binary search.
package struct ScalarProperties: Sendable {
  package static let shared = ScalarProperties()

  /// Per scalar of the Basic Multilingual Plane: its `ScalarClass`, and `changeable`.
  private let basicPlane: [UInt8]
  /// The changeable scalars beyond it, sorted.
  private let changeableBeyond: [UInt32]
  /// First scalar << 21 | second, sorted, and what the two compose to.
  private let compositions: [(pair: UInt64, composite: UInt32)]

  private static let changeable: UInt8 = 0x80

  private init() {
    var plane = [UInt8](repeating: 0, count: 0x10000)
    Self.forEachRun(of: UnicodeTables.classes) { range, value in
      for scalar in range.clamped(to: 0..<0x10000) { plane[Int(scalar)] = value }
    }
    var changeable = Array(Hangul.vowels) + Array(Hangul.tails)
    Self.forEachRun(of: UnicodeTables.combiningClasses) { range, value in
      if value != 0 { changeable += range }
    }
    var compositions: [(pair: UInt64, composite: UInt32)] = []
    for entry in UnicodeTables.decompositions {
      let decomposition = Decomposition(entry)
      if decomposition.composes {
        compositions.append((entry & ((1 << 42) - 1), decomposition.scalar))
        changeable.append(decomposition.second)
      } else {
        changeable.append(decomposition.scalar)
      }
    }
    for scalar in changeable where scalar < 0x10000 { plane[Int(scalar)] |= Self.changeable }
    basicPlane = plane
    changeableBeyond = changeable.filter { $0 >= 0x10000 }.sorted()
    self.compositions = compositions.sorted { $0.pair < $1.pair }
  }

  package func scalarClass(_ scalar: UInt32) -> ScalarClass {
    let value = scalar < 0x10000 ? basicPlane[Int(scalar)] & ~Self.changeable : Self.value(of: scalar, in: UnicodeTables.classes)
    return ScalarClass(rawValue: value) ?? .other
  }

  package func combiningClass(_ scalar: UInt32) -> UInt8 {
    scalar < 0x300 ? 0 : Self.value(of: scalar, in: UnicodeTables.combiningClasses)
  }

  /// Whether NFC may replace, move or compose the scalar with what stands before it. One that is not is a place to cut a text.
  func mayChange(_ scalar: UInt32) -> Bool {
    if scalar < 0x10000 { return basicPlane[Int(scalar)] & Self.changeable != 0 }
    let index = partitionPoint(changeableBeyond.count) { changeableBeyond[$0] >= scalar }
    return index < changeableBeyond.count && changeableBeyond[index] == scalar
  }

  func decomposition(_ scalar: UInt32) -> Decomposition? {
    let table = UnicodeTables.decompositions
    let index = partitionPoint(table.count) { Decomposition(table[$0]).scalar >= scalar }
    guard index < table.count else { return nil }
    let found = Decomposition(table[index])
    return found.scalar == scalar ? found : nil
  }

  /// The scalar that the two compose to, Hangul left out.
  func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
    let pair = UInt64(first) << 21 | UInt64(second)
    let index = partitionPoint(compositions.count) { compositions[$0].pair >= pair }
    return index < compositions.count && compositions[index].pair == pair ? compositions[index].composite : nil
  }

  private static func forEachRun(of table: [UInt32], _ body: (Range<UInt32>, UInt8) -> Void) {
    for (index, entry) in table.enumerated() {
      let end = index + 1 < table.count ? table[index + 1] & 0xFFFFFF : 0x110000
      body(entry & 0xFFFFFF..<end, UInt8(entry >> 24))
    }
  }

  private static func value(of scalar: UInt32, in table: [UInt32]) -> UInt8 {
    let after = partitionPoint(table.count) { table[$0] & 0xFFFFFF > scalar }
    return UInt8(table[max(after, 1) - 1] >> 24)
  }
}

/// An entry of `UnicodeTables.decompositions`.
struct Decomposition {
  static let mask: UInt64 = (1 << 21) - 1
  let scalar: UInt32
  let first: UInt32
  /// 0 if the scalar decomposes to `first` alone.
  let second: UInt32
  /// Whether NFC composes the two again.
  let composes: Bool

  init(_ entry: UInt64) {
    scalar = UInt32(entry >> 42 & Self.mask)
    first = UInt32(entry >> 21 & Self.mask)
    second = UInt32(entry & Self.mask)
    composes = entry >> 63 == 0
  }
}

/// The arithmetic of Hangul syllables (Unicode, section 3.12).
enum Hangul {
  static let syllables: Range<UInt32> = 0xAC00..<0xAC00 + 11172
  static let leads: Range<UInt32> = 0x1100..<0x1113
  static let vowels: Range<UInt32> = 0x1161..<0x1176
  static let tails: Range<UInt32> = 0x11A8..<0x11C3

  static func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if leads.contains(first) && vowels.contains(second) {
      return syllables.lowerBound + ((first - leads.lowerBound) * 21 + second - vowels.lowerBound) * 28
    }
    if syllables.contains(first) && (first - syllables.lowerBound) % 28 == 0 && tails.contains(second) {
      return first + second - tails.lowerBound + 1
    }
    return nil
  }

  static func decompose(_ syllable: UInt32, _ body: (UInt32) -> Void) {
    let index = syllable - syllables.lowerBound
    body(leads.lowerBound + index / 588)
    body(vowels.lowerBound + index % 588 / 28)
    if index % 28 != 0 { body(tails.lowerBound + index % 28 - 1) }
  }
}

/// The first index in `0 ..< count` for which `isAfter` holds, or `count`; it must hold for all that follow.
func partitionPoint(_ count: Int, _ isAfter: (Int) -> Bool) -> Int {
  var low = 0
  var high = count
  while low < high {
    let middle = (low + high) / 2
    if isAfter(middle) { high = middle } else { low = middle + 1 }
  }
  return low
}

/// The scalar that begins at `index` of valid UTF-8, and its length in bytes.
@inline(__always)
func scalar(at index: Int, of bytes: [UInt8]) -> (value: UInt32, length: Int) {
  let lead = bytes[index]
  if lead < 0x80 { return (UInt32(lead), 1) }
  func next(_ offset: Int) -> UInt32 { UInt32(bytes[index + offset] & 0x3F) }
  if lead < 0xE0 { return (UInt32(lead & 0x1F) << 6 | next(1), 2) }
  if lead < 0xF0 { return (UInt32(lead & 0x0F) << 12 | next(1) << 6 | next(2), 3) }
  return (UInt32(lead & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3), 4)
}

/// The scalar that ends before `index` of valid UTF-8, and its length in bytes. `index` is above 0.
func scalar(before index: Int, of bytes: [UInt8]) -> (value: UInt32, length: Int) {
  var start = index - 1
  while start > 0 && bytes[start] & 0xC0 == 0x80 { start -= 1 }
  return scalar(at: start, of: bytes)
}

/// Appends the scalar's UTF-8.
func appendUTF8(_ scalar: UInt32, to bytes: inout [UInt8]) {
  func tail(_ shift: UInt32) -> UInt8 { 0x80 | UInt8(scalar >> shift & 0x3F) }
  switch scalar {
  case 0..<0x80: bytes.append(UInt8(scalar))
  case 0x80..<0x800: bytes += [0xC0 | UInt8(scalar >> 6), tail(0)]
  case 0x800..<0x10000: bytes += [0xE0 | UInt8(scalar >> 12), tail(6), tail(0)]
  default: bytes += [0xF0 | UInt8(scalar >> 18 & 7), tail(12), tail(6), tail(0)]
  }
}

/// Length of a last character of which bytes are still missing: 0 ... 3. What is wrong whatever follows does not count.
func lengthOfUnfinishedCharacter(_ bytes: [UInt8]) -> Int {
  for length in 1...3 where length <= bytes.count {
    let start = bytes.count - length
    let lead = bytes[start]
    if lead & 0xC0 == 0x80 { continue }
    let expected = lead >= 0xC2 && lead <= 0xDF ? 2 : lead & 0xF0 == 0xE0 ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 1
    if length >= expected { return 0 }
    // The second byte's range depends on the first (Unicode, table 3-7).
    if length >= 2 {
      let second = bytes[start + 1]
      let allowed: ClosedRange<UInt8> =
        switch lead {
        case 0xE0: 0xA0...0xBF
        case 0xED: 0x80...0x9F
        case 0xF0: 0x90...0xBF
        case 0xF4: 0x80...0x8F
        default: 0x80...0xBF
        }
      if !allowed.contains(second) { return 0 }
    }
    return length
  }
  return 0
}

/// Unicode's normalization form C, as the tokenizers' own library computes it (see `UnicodeTables`). In linear time but for the
/// sorting of long runs of marks; texts that are in the form already, which is nearly all, cost one pass and no copy.
package enum NFC {
  /// The normalized `range` of the valid UTF-8 `bytes`, or nil if it is in the form already.
  package static func normalize(_ bytes: [UInt8], _ range: Range<Int>) -> [UInt8]? {
    let properties = ScalarProperties.shared
    var result: [UInt8] = []
    /// Up to here the text is in `result`.
    var copied = range.lowerBound
    /// The last scalar that is a place to cut, if any: what follows may compose with it.
    var cut = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      if bytes[index] < 0x80 {
        cut = index
        index += 1
        continue
      }
      let (value, length) = scalar(at: index, of: bytes)
      if !properties.mayChange(value) {
        cut = index
        index += length
        continue
      }
      var end = index + length
      while end < range.upperBound {
        let (value, length) = scalar(at: end, of: bytes)
        if !properties.mayChange(value) { break }
        end += length
      }
      var segment = Segment(properties)
      segment.add(bytes, cut..<end)
      let normalized = segment.composed()
      if !normalized.elementsEqual(bytes[cut..<end]) {
        result.append(contentsOf: bytes[copied..<cut])
        result.append(contentsOf: normalized)
        copied = end
      }
      index = end
      cut = end
    }
    if copied == range.lowerBound { return nil }
    result.append(contentsOf: bytes[copied..<range.upperBound])
    return result
  }

  /// A part of a text that neither what precedes it nor what follows can change.
  private struct Segment {
    let properties: ScalarProperties
    /// Decomposed: combining class << 56 | place << 21 | scalar, so that sorting orders marks and keeps equal ones as they were.
    var scalars: [UInt64] = []

    init(_ properties: ScalarProperties) { self.properties = properties }

    mutating func add(_ bytes: [UInt8], _ range: Range<Int>) {
      var index = range.lowerBound
      while index < range.upperBound {
        let (value, length) = scalar(at: index, of: bytes)
        decompose(value)
        index += length
      }
    }

    private mutating func decompose(_ scalar: UInt32) {
      if Hangul.syllables.contains(scalar) {
        Hangul.decompose(scalar) { append($0) }
      } else if let decomposition = properties.decomposition(scalar) {
        decompose(decomposition.first)
        if decomposition.second != 0 { decompose(decomposition.second) }
      } else {
        append(scalar)
      }
    }

    private mutating func append(_ scalar: UInt32) {
      scalars.append(UInt64(properties.combiningClass(scalar)) << 56 | UInt64(scalars.count) << 21 | UInt64(scalar))
    }

    private mutating func order() {
      var start = 0
      while start < scalars.count {
        var end = start
        while end < scalars.count && scalars[end] >> 56 != 0 { end += 1 }
        if end - start > 1 { scalars[start..<end].sort() }
        start = end + 1
      }
    }

    mutating func composed() -> [UInt8] {
      order()
      var output: [UInt32] = []
      var starter: Int?
      /// Combining class of the last scalar kept after the starter; nil if there is none.
      var last: UInt64?
      for entry in scalars {
        let combiningClass = entry >> 56
        let scalar = UInt32(entry & Decomposition.mask)
        // A scalar is blocked from the starter by one between them of its own class or a higher one.
        if let starter, last.map({ $0 < combiningClass }) ?? true,
          let composite = Hangul.composite(output[starter], scalar) ?? properties.composite(output[starter], scalar)
        {
          output[starter] = composite
          continue
        }
        if combiningClass == 0 {
          starter = output.count
          last = nil
        } else {
          last = combiningClass
        }
        output.append(scalar)
      }
      var bytes: [UInt8] = []
      for scalar in output { appendUTF8(scalar, to: &bytes) }
      return bytes
    }
  }
}
