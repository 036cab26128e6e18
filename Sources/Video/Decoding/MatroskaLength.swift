/// What a Matroska or WebM file says of its own length. libav reads one that was cut off up to its end and says nothing.
package enum MatroskaLength {
  /// Bytes that its one segment promises and that are not there. nil for another format, or for a segment of unknown length, as live streams have.
  /// `head` are the file's first bytes.
  package static func missing(_ head: [UInt8], byteCount: Int) -> Int? {
    var bytes = head[...]
    guard let (first, headerLength) = element(&bytes), first == 0x1A45_DFA3, let headerLength, headerLength <= bytes.count else {
      return nil
    }
    bytes = bytes.dropFirst(headerLength)
    while let (identifier, length) = element(&bytes) {
      guard let length else { return nil }
      if identifier == 0x1853_8067 {
        let (end, overflow) = bytes.startIndex.addingReportingOverflow(length)
        return overflow || end > byteCount ? max(1, (overflow ? Int.max : end) - byteCount) : nil
      }
      guard length <= bytes.count else { return nil }
      bytes = bytes.dropFirst(length)
    }
    return nil
  }

  /// An element's identifier and length; no length where it is unknown. Numbers of one to eight bytes whose leading zeros tell how many.
  private static func element(_ bytes: inout ArraySlice<UInt8>) -> (identifier: Int, length: Int?)? {
    guard let identifier = number(&bytes, keepsMarker: true, longest: 4), let length = number(&bytes, keepsMarker: false, longest: 8) else {
      return nil
    }
    let isUnknown = length.value == (1 << (7 * length.bytes)) - 1
    return (identifier.value, isUnknown ? nil : length.value)
  }

  private static func number(_ bytes: inout ArraySlice<UInt8>, keepsMarker: Bool, longest: Int) -> (value: Int, bytes: Int)? {
    guard let first = bytes.first else { return nil }
    let count = first.leadingZeroBitCount + 1
    guard count <= longest, bytes.count >= count else { return nil }
    let marker = 0x80 >> (count - 1)
    var value = keepsMarker ? Int(first) : Int(first) & (marker - 1)
    for byte in bytes.dropFirst().prefix(count - 1) { value = value << 8 | Int(byte) }
    bytes = bytes.dropFirst(count)
    return (value, count)
  }
}
