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
