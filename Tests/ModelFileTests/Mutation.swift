import TestSupport

/// Changes files at random.
enum Mutation {
  /// Valid files to begin with.
  static let seeds: [[UInt8]] = ["floats", "packed", "quantized4", "newer", "aligned", "names", "empty"].compactMap {
    try? bytes(of: "\(formats)/conformance/\($0).sfq")
  }

  /// What changing a file in one place can do.
  static func apply(to file: [UInt8], _ numbers: inout SeededNumbers) -> [UInt8] {
    var result = file
    let interesting: [UInt64] = [0, 1, 7, 8, 63, 64, 4095, 4096, 65535, 65536, 1 << 31, (1 << 32) - 1, 1 << 42, 1 << 62, 1 << 63, .max]
    for _ in 0..<Int.random(in: 1...3, using: &numbers) {
      guard !result.isEmpty else { break }
      let table = Int(clamping: file.integer(UInt64.self, at: 16))
      // Mostly in the table, where the fields are.
      let places = Bool.random(using: &numbers) || table >= result.count ? 0..<result.count : table..<result.count
      let offset = Int.random(in: places, using: &numbers)
      switch Int.random(in: 0..<8, using: &numbers) {
      case 0: result[offset] ^= 1 << UInt8.random(in: 0..<8, using: &numbers)
      case 1: result[offset] = UInt8.random(in: .min ... .max, using: &numbers)
      case 2: result.removeLast(Int.random(in: 1...min(200, result.count), using: &numbers))
      case 3: result.removeSubrange(offset..<min(result.count, offset + Int.random(in: 1...16, using: &numbers)))
      case 4: result.insert(contentsOf: numbers.bytes(Int.random(in: 1...16, using: &numbers)), at: offset)
      case 5:
        let value = interesting.randomElement(using: &numbers) ?? 0
        if offset / 8 * 8 + 8 <= result.count { result.set(value, at: offset / 8 * 8) }
      case 6:
        let value = UInt32(truncatingIfNeeded: interesting.randomElement(using: &numbers) ?? 0)
        if offset / 4 * 4 + 4 <= result.count { result.set(value, at: offset / 4 * 4) }
      default:
        let other = Int.random(in: 0..<result.count, using: &numbers)
        let count = min(16, result.count - max(offset, other))
        result.replaceSubrange(offset..<offset + count, with: Array(result[other..<other + count]))
      }
    }
    return result
  }
}
