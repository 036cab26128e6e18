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
