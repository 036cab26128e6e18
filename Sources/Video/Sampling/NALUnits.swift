/// The units that a packet of H.264 or H.265 consists of.
struct NALUnits {
  enum Framing: Equatable {
    /// Each unit follows its length, a number of this many bytes.
    case lengths(Int)
    /// Each unit follows the bytes 0, 0, 1.
    case startCodes
    /// Where the units lie was found already.
    case places([Range<Int>])
  }

  private let bytes: UnsafeBufferPointer<UInt8>
  private let framing: Framing

  init(_ bytes: UnsafeBufferPointer<UInt8>, _ framing: Framing) {
    self.bytes = bytes
    self.framing = framing
  }

  /// The parameter sets of an `avcC` record (ISO/IEC 14496-15, 5.3.3); those that do not fit into it are left out.
  init(avcSetup setup: UnsafeBufferPointer<UInt8>) {
    var position = 5
    var places: [Range<Int>] = []
    for mask in [UInt8(0x1F), 0xFF] where position < setup.count {
      let count = Int(setup[position] & mask)
      position += 1
      places += NALUnits.places(count, setup, &position)
    }
    self.init(setup, .places(places))
  }

  /// The parameter sets of an `hvcC` record (ISO/IEC 14496-15, 8.3.3).
  init(hevcSetup setup: UnsafeBufferPointer<UInt8>) {
    var position = 23
    var places: [Range<Int>] = []
    for _ in 0..<(setup.count > 22 ? Int(setup[22]) : 0) where position + 3 <= setup.count {
      let count = Int(setup[position + 1]) << 8 | Int(setup[position + 2])
      position += 3
      places += NALUnits.places(count, setup, &position)
    }
    self.init(setup, .places(places))
  }

  /// `count` units, each behind its length in two bytes.
  private static func places(_ count: Int, _ setup: UnsafeBufferPointer<UInt8>, _ position: inout Int) -> [Range<Int>] {
    var places: [Range<Int>] = []
    for _ in 0..<count where position + 2 <= setup.count {
      let start = position + 2
      let end = start + (Int(setup[position]) << 8 | Int(setup[position + 1]))
      guard start < end, end <= setup.count else {
        position = setup.count
        break
      }
      places.append(start..<end)
      position = end
    }
    return places
  }

  /// Calls `body` with each unit, none of them empty. False if the lengths do not add up to the packet, or there is no unit.
  func visit(_ body: (_ unit: UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    switch framing {
    case .lengths(let size): return forEachByLength(size, body)
    case .startCodes: return forEachByStartCode(body)
    case .places(let places):
      for place in places { body(UnsafeBufferPointer(rebasing: bytes[place])) }
      return !places.isEmpty
    }
  }

  private func forEachByLength(_ size: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    var position = 0
    var found = false
    while position < bytes.count {
      guard bytes.count - position > size else { return false }
      var length = 0
      for index in 0..<size { length = length << 8 | Int(bytes[position + index]) }
      position += size
      guard length > 0, length <= bytes.count - position else { return false }
      body(UnsafeBufferPointer(rebasing: bytes[position..<position + length]))
      found = true
      position += length
    }
    return found
  }

  private func forEachByStartCode(_ body: (UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    var start: Int?
    var found = false
    func close(_ end: Int) {
      guard let start, start < end else { return }
      body(UnsafeBufferPointer(rebasing: bytes[start..<end]))
      found = true
    }
    var index = 0
    while index + 2 < bytes.count {
      // Most bytes are above 1, and a start code cannot begin in the three that end with such a byte.
      if bytes[index + 2] > 1 {
        index += 3
      } else if bytes[index] == 0, bytes[index + 1] == 0, bytes[index + 2] == 1 {
        close(index)
        start = index + 3
        index += 3
      } else {
        index += 1
      }
    }
    close(bytes.count)
    return found
  }
}
