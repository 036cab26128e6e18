import TestSupport

extension [UInt8] {
  func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T? {
    guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return nil }
    return withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
  }

  mutating func set<T: FixedWidthInteger>(_ value: T, at offset: Int) {
    guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return }
    Swift.withUnsafeBytes(of: value.littleEndian) { replaceSubrange(offset..<offset + $0.count, with: $0) }
  }
}

/// Changes of bytes of which nothing is known but where they are.
enum ByteMutation {
  private static let limits: [UInt64] = [
    0, 1, 2, 7, 8, 31, 32, 63, 64, 127, 128, 255, 256, 4095, 4096, 32767, 32768, 65535, 65536, 1 << 24, 1 << 28, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1, 1 << 32, 1 << 42, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, .max - 63, .max - 7, .max,
  ]

  /// A change anywhere, or a word of the format.
  static func apply(_ bytes: inout [UInt8], orOneOf words: [String], _ numbers: inout SeededNumbers) {
    guard Bool.random(using: &numbers), let word = words.randomElement(using: &numbers) else { return apply(&bytes, &numbers) }
    bytes.insert(contentsOf: Array(word.utf8), at: Int.random(in: 0...bytes.count, using: &numbers))
  }

  /// A change somewhere in `range`; nil: anywhere. Numbers stand at multiples of their size, counted from `origin`.
  static func apply(
    _ bytes: inout [UInt8], in range: Range<Int>? = nil, origin: Int = 0, bigEndian: Bool = false, _ numbers: inout SeededNumbers
  ) {
    let range = (range ?? 0..<bytes.count).clamped(to: 0..<bytes.count)
    guard !range.isEmpty else { return bytes.append(UInt8.random(in: .min ... .max, using: &numbers)) }
    let offset = Int.random(in: range, using: &numbers)
    let number = limits.randomElement(using: &numbers) ?? 0
    func aligned(_ size: Int) -> Int { origin + (offset - origin) / size * size }
    switch Int.random(in: 0..<11, using: &numbers) {
    case 0: bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &numbers)
    case 1: bytes[offset] = UInt8.random(in: .min ... .max, using: &numbers)
    case 2: bytes.removeSubrange(offset..<min(bytes.count, offset + Int.random(in: 1...16, using: &numbers)))
    case 3: bytes.insert(contentsOf: numbers.bytes(Int.random(in: 1...16, using: &numbers)), at: offset)
    case 4: bytes.set(bigEndian ? number.byteSwapped : number, at: aligned(8))
    case 5: bytes.set(bigEndian ? UInt32(truncatingIfNeeded: number).byteSwapped : UInt32(truncatingIfNeeded: number), at: aligned(4))
    case 6: bytes.set(bigEndian ? UInt16(truncatingIfNeeded: number).byteSwapped : UInt16(truncatingIfNeeded: number), at: aligned(2))
    case 7:
      // A little more or less than what stands there.
      let change = UInt32(truncatingIfNeeded: Int.random(in: -9...9, using: &numbers))
      let place = aligned(4)
      if let found = bytes.integer(UInt32.self, at: place) {
        bytes.set(bigEndian ? (found.byteSwapped &+ change).byteSwapped : found &+ change, at: place)
      }
    case 8:
      let other = Int.random(in: 0..<bytes.count, using: &numbers)
      let count = min(Int.random(in: 1...64, using: &numbers), bytes.count - max(offset, other))
      bytes.replaceSubrange(offset..<offset + count, with: Array(bytes[other..<other + count]))
    case 9:
      let count = min(Int.random(in: 1...64, using: &numbers), bytes.count - offset)
      bytes.insert(contentsOf: Array(bytes[offset..<offset + count]), at: Int.random(in: range, using: &numbers))
    default: if Int.random(in: 0..<4, using: &numbers) == 0 { bytes.removeSubrange(offset...) }
    }
  }
}

/// Changes of texts in JSON, in which most of them stay JSON.
enum JSONMutation {
  private static let values: [String] = [
    "null", "true", "false", "0", "-0", "1", "-1", "1.0", "1e3", "0.1", "1e308", "1e309", "-1e309", "1e-400", "65536", "4294967296",
    "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "1" + String(repeating: "0", count: 400), "\"\"", "\"a\"", "[]", "{}", "[[]]", "{\"\":{}}", "\"\\u0000\"",
    "\"\\ud83d\\ude00\"", "\"\\ud800\"", "\"\u{E9}\"", "\"e\u{301}\"", "\"\\n\"", "\"\u{2028}\"", "\"\u{202E}\"", "\"/\"", "\"..\"",
    "NaN", "[0,1]", "[1,0]", "\"data:image/png;base64,AAAA\"", "\"\(String(repeating: "x", count: 300))\"",
    String(repeating: "[", count: 120) + String(repeating: "]", count: 120),
    String(repeating: "{\"a\":", count: 70) + "1" + String(repeating: "}", count: 70),
  ]
  private static let signs = Array("{}[]\",:\\u-+.eE0123456789 \u{0}\u{7F}\n".utf8) + [0x80, 0xC3, 0xE2, 0xF0, 0xFF]

  /// What may follow a number or a word.
  private static let ends = Array(",:]} \n".utf8)

  /// Where values and keys stand, those within others too.
  static func values(in bytes: [UInt8]) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var open: [Int] = []
    var place = 0
    while place < bytes.count {
      let start = place
      switch bytes[place] {
      case UInt8(ascii: "\""):
        place += 1
        while place < bytes.count, bytes[place] != UInt8(ascii: "\"") { place += bytes[place] == UInt8(ascii: "\\") ? 2 : 1 }
        place = min(bytes.count, place + 1)
        found.append(start..<place)
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        open.append(place)
        place += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        place += 1
        if let start = open.popLast() { found.append(start..<place) }
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"):
        while place < bytes.count, !ends.contains(bytes[place]) { place += 1 }
        found.append(start..<place)
      default: place += 1
      }
    }
    return found
  }

  /// `words`: strings that the format knows.
  static func apply(_ bytes: inout [UInt8], words: [String] = [], _ numbers: inout SeededNumbers) {
    let all = values(in: bytes)
    guard let range = all.randomElement(using: &numbers), let other = all.randomElement(using: &numbers) else {
      return ByteMutation.apply(&bytes, &numbers)
    }
    let value = Array(bytes[range])
    switch Int.random(in: 0..<12, using: &numbers) {
    case 0, 1, 2: bytes.replaceSubrange(range, with: Array((values.randomElement(using: &numbers) ?? "0").utf8))
    case 3:
      // With the comma before or behind it.
      var (start, end) = (range.lowerBound, range.upperBound)
      if end < bytes.count, bytes[end] == UInt8(ascii: ",") {
        end += 1
      } else if start > 0, bytes[start - 1] == UInt8(ascii: ",") {
        start -= 1
      }
      bytes.removeSubrange(start..<end)
    case 4: bytes.insert(contentsOf: [UInt8(ascii: ",")] + value, at: range.upperBound)
    case 5: bytes.replaceSubrange(range, with: Array(bytes[other]))
    case 6: bytes.replaceSubrange(range, with: Array("[".utf8) + value + Array("]".utf8))
    case 7: bytes.replaceSubrange(range, with: Array("{\"a\":".utf8) + value + Array("}".utf8))
    case 8, 9:
      if let word = words.randomElement(using: &numbers) { bytes.replaceSubrange(range, with: Array("\"\(word)\"".utf8)) }
    case 10:
      let sign = signs.randomElement(using: &numbers) ?? 0
      bytes.insert(sign, at: Int.random(in: range, using: &numbers))
    default: ByteMutation.apply(&bytes, in: range, &numbers)
    }
  }

  /// One of several texts.
  static func applyToPart(_ bytes: inout [UInt8], words: [String] = [], _ numbers: inout SeededNumbers) {
    var parts = Parts.split(bytes)
    let place = Int.random(in: 0..<parts.count, using: &numbers)
    apply(&parts[place], words: words, &numbers)
    bytes = Parts.join(parts)
  }
}
