import CLibAV

/// Looks into the packets of those codecs whose framing tells how many pictures come out.
///
/// This catches what breaks real files: missing, zeroed, overwritten and cut packets. It cannot catch some changed bits inside a coded
/// picture; the decoder reports those, if the picture is decoded at all.
struct PacketInspector {
  private enum Kind {
    case h264(NALUnits.Framing)
    case hevc(NALUnits.Framing)
    case vp8, vp9, av1, jpeg
    case other(String)
  }
  private let kind: Kind
  /// Numbers of the picture parameter sets that slices may refer to; empty if not known.
  var pictureSets: Set<Int> = []

  init(_ stream: VideoStream) {
    let setup = stream.setup
    kind =
      switch stream.parameters.pointee.codec_id {
      // An `avcC` or `hvcC` record begins with its version, 1; start codes begin with 0.
      case AV_CODEC_ID_H264: .h264(setup.count > 6 && setup[0] == 1 ? .lengths(Int(setup[4] & 3) + 1) : .startCodes)
      case AV_CODEC_ID_HEVC: .hevc(setup.count > 22 && setup[0] == 1 ? .lengths(Int(setup[21] & 3) + 1) : .startCodes)
      case AV_CODEC_ID_VP8: .vp8
      case AV_CODEC_ID_VP9: .vp9
      case AV_CODEC_ID_AV1: .av1
      case AV_CODEC_ID_MJPEG: .jpeg
      default: .other(stream.codecName)
      }
    switch kind {
    case .h264(let framing):
      let units = framing == .startCodes ? NALUnits(setup, framing) : NALUnits(avcSetup: setup)
      _ = units.visit { if $0[0] & 0x1F == 8 { notePictureSet($0, headerBytes: 1) } }
    case .hevc(let framing):
      let units = framing == .startCodes ? NALUnits(setup, framing) : NALUnits(hevcSetup: setup)
      _ = units.visit { if $0[0] >> 1 & 0x3F == 34 { notePictureSet($0, headerBytes: 2) } }
    default: break
    }
  }

  /// A picture parameter set begins with its number.
  mutating func notePictureSet(_ unit: UnsafeBufferPointer<UInt8>, headerBytes: Int) {
    var bits = UnitBits(unit, from: headerBytes)
    if let number = bits.nextGolomb(), number < 256 { pictureSets.insert(number) }
  }

  mutating func inspect(_ packet: Packet) -> PacketFinding {
    let bytes = packet.bytes
    guard !bytes.isEmpty else { return .uncertain("an empty packet") }
    if packet.isCorrupt { return .damaged }
    switch kind {
    case .h264(let framing): return inspectH264(NALUnits(bytes, framing), isKey: packet.isKey)
    case .hevc(let framing): return inspectHEVC(NALUnits(bytes, framing), isKey: packet.isKey)
    case .vp8: return inspectVP8(bytes)
    case .vp9: return inspectVP9(bytes)
    case .av1: return inspectAV1(bytes, isKey: packet.isKey)
    case .jpeg:
      guard bytes.count > 3, bytes[0] == 0xFF, bytes[1] == 0xD8 else { return .damaged }
      return .picture(isStart: true, isDisposable: false)
    case .other(let codec): return .uncertain("packets of codec \(codec) do not tell how many frames they hold")
    }
  }
}

// VP8 (RFC 6386, 9.1), VP9 (bitstream specification 6.2 and annex B) and AV1 (specification 5.3 to 5.9).

extension PacketInspector {
  func inspectVP8(_ bytes: UnsafeBufferPointer<UInt8>) -> PacketFinding {
    guard bytes.count > 3 else { return .damaged }
    let isKey = bytes[0] & 1 == 0
    if isKey, bytes.count < 10 || bytes[3] != 0x9D || bytes[4] != 0x01 || bytes[5] != 0x2A { return .damaged }
    let firstPartition = Int(bytes[0]) >> 5 | Int(bytes[1]) << 3 | Int(bytes[2]) << 11
    guard firstPartition <= bytes.count - (isKey ? 10 : 3) else { return .damaged }
    return bytes[0] >> 4 & 1 == 1 ? .picture(isStart: isKey, isDisposable: false) : .hidden
  }

  func inspectVP9(_ bytes: UnsafeBufferPointer<UInt8>) -> PacketFinding {
    guard let frames = vp9Frames(bytes) else { return .damaged }
    var shown = 0
    var isStart = false
    for (number, frame) in frames.enumerated() {
      var bits = UnitBits(UnsafeBufferPointer(rebasing: bytes[frame]), from: 0)
      guard bits.next(2) == 2, let low = bits.next(), let high = bits.next() else { return .damaged }
      if high << 1 | low == 3, bits.next() == nil { return .damaged }
      guard let showsExisting = bits.next() else { return .damaged }
      if showsExisting == 1 {
        shown += 1
        continue
      }
      guard let isInter = bits.next(), let isShown = bits.next() else { return .damaged }
      shown += isShown
      if number == 0, isInter == 0 { isStart = true }
    }
    switch shown {
    case 0: return .hidden
    case 1: return .picture(isStart: isStart, isDisposable: false)
    default: return .uncertain("a packet with \(shown) pictures")
    }
  }

  /// The frames of a packet: one, or those that the index at its end lists. nil if the index does not fit.
  private func vp9Frames(_ bytes: UnsafeBufferPointer<UInt8>) -> [Range<Int>]? {
    guard let marker = bytes.last, marker & 0xE0 == 0xC0 else { return [0..<bytes.count] }
    let count = Int(marker & 7) + 1
    let width = Int(marker >> 3 & 3) + 1
    let indexSize = 2 + count * width
    guard bytes.count > indexSize, bytes[bytes.count - indexSize] == marker else { return [0..<bytes.count] }
    var frames: [Range<Int>] = []
    var start = 0
    for frame in 0..<count {
      var size = 0
      for byte in 0..<width { size |= Int(bytes[bytes.count - indexSize + 1 + frame * width + byte]) << (8 * byte) }
      guard size <= bytes.count - indexSize - start else { return nil }
      if size > 0 { frames.append(start..<start + size) }
      start += size
    }
    return frames.isEmpty ? nil : frames
  }

  /// A packet is a temporal unit, which shows exactly one frame.
  func inspectAV1(_ bytes: UnsafeBufferPointer<UInt8>, isKey: Bool) -> PacketFinding {
    var position = 0
    var hasFrame = false
    var hasSequence = false
    while position < bytes.count {
      let header = bytes[position]
      let type = header >> 3 & 15
      guard header & 0x80 == 0 else { return .damaged }
      position += header & 4 == 0 ? 1 : 2
      if header & 2 == 0 {
        // Without a size of its own it reaches to the end.
        guard position <= bytes.count else { return .damaged }
        position = bytes.count
      } else {
        guard let size = leb128(bytes, &position), size <= bytes.count - position else { return .damaged }
        position += size
      }
      switch type {
      case 1: hasSequence = true
      case 3, 6: hasFrame = true
      case 2, 4, 5, 7, 8, 15: break
      default: return .uncertain("a unit of reserved type \(type)")
      }
    }
    guard hasFrame else { return .uncertain("a packet without a frame") }
    return .picture(isStart: isKey && hasSequence, isDisposable: false)
  }

  private func leb128(_ bytes: UnsafeBufferPointer<UInt8>, _ position: inout Int) -> Int? {
    var value = 0
    for shift in 0..<8 {
      guard position < bytes.count else { return nil }
      let byte = bytes[position]
      position += 1
      value |= Int(byte & 0x7F) << (shift * 7)
      if byte & 0x80 == 0 { return value <= Int(UInt32.max) ? value : nil }
    }
    return nil
  }
}

// H.264 (ITU-T H.264, 7.3 and 7.4) and H.265 (ITU-T H.265, 7.3 and 7.4): one packet is one access unit.

extension PacketInspector {
  mutating func inspectH264(_ units: NALUnits, isKey: Bool) -> PacketFinding {
    var pictures = 0
    var isStart = false
    var isReference = false
    var hasPartitions = false
    var isMalformed = false
    var startsLate = false
    let fits = units.visit { unit in
      let header = unit[0]
      if header & 0x80 != 0 { isMalformed = true }
      switch header & 0x1F {
      case 1, 5:
        if header & 0x60 != 0 { isReference = true }
        // Key frames of other types may refer back to what a decoder that begins with them never saw.
        if header & 0x1F == 5 { isStart = true }
        // The slice begins with its first macroblock, its type and its parameter set.
        var bits = UnitBits(unit, from: 1)
        guard let first = bits.nextGolomb(), let type = bits.nextGolomb(), type <= 9, let set = bits.nextGolomb(),
          pictureSets.isEmpty || pictureSets.contains(set)
        else {
          isMalformed = true
          return
        }
        if first == 0 { pictures += 1 } else if pictures == 0 { startsLate = true }
      case 2, 3, 4: hasPartitions = true
      case 8: notePictureSet(unit, headerBytes: 1)
      default: break
      }
    }
    guard fits, !isMalformed else { return .damaged }
    if hasPartitions { return .uncertain("slices in partitions") }
    // Two pictures: the two fields of an interlaced frame.
    guard !startsLate, (1...2).contains(pictures) else { return .uncertain("a packet with \(pictures) pictures") }
    return .picture(isStart: isStart && isKey, isDisposable: !isReference)
  }

  mutating func inspectHEVC(_ units: NALUnits, isKey: Bool) -> PacketFinding {
    var pictures = 0
    var isStart = false
    var doubt: String?
    var isMalformed = false
    let fits = units.visit { unit in
      guard unit.count > 2, unit[0] & 0x80 == 0 else {
        // The end-of-sequence and end-of-stream units have a header and nothing else.
        if unit.count == 2, unit[0] & 0x80 == 0 { doubt = "an end of sequence inside the stream" } else { isMalformed = true }
        return
      }
      let type = unit[0] >> 1 & 0x3F
      let layer = Int(unit[0] & 1) << 5 | Int(unit[1] >> 3)
      // Other layers (a second eye's view) are not decoded.
      guard layer == 0 else { return }
      switch type {
      case 0...9, 16...21:
        if unit[2] & 0x80 != 0 { pictures += 1 }
        // One bit or, in a key frame, two, then the parameter set.
        var bits = UnitBits(unit, from: 2)
        guard bits.next(type < 16 ? 1 : 2) != nil, let set = bits.nextGolomb(), pictureSets.isEmpty || pictureSets.contains(set) else {
          isMalformed = true
          return
        }
        guard type >= 16 else { return }
        isStart = true
        // Broken links and `no_output_of_prior_pics_flag` take pictures away.
        if type <= 18 { doubt = "a broken link" }
        if unit[2] & 0x40 != 0 { doubt = "pictures that are taken back" }
      case 34: notePictureSet(unit, headerBytes: 2)
      case 36, 37: doubt = "an end of sequence inside the stream"
      default: break
      }
    }
    guard fits, !isMalformed else { return .damaged }
    if let doubt { return .uncertain(doubt) }
    guard pictures == 1 else { return .uncertain("a packet with \(pictures) pictures") }
    return .picture(isStart: isStart && isKey, isDisposable: false)
  }
}

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

/// Bits of a unit's payload from the highest down, with the bytes that guard against false start codes left out.
struct UnitBits {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var byte: Int
  private var bit = 0
  private var zeros = 0

  init(_ bytes: UnsafeBufferPointer<UInt8>, from byte: Int) {
    self.bytes = bytes
    self.byte = byte
  }

  /// nil at the end.
  mutating func next() -> Int? {
    if bit == 0, byte < bytes.count, zeros >= 2, bytes[byte] == 3 {
      byte += 1
      zeros = 0
    }
    guard byte < bytes.count else { return nil }
    let value = Int(bytes[byte] >> UInt8(7 - bit)) & 1
    bit += 1
    if bit == 8 {
      zeros = bytes[byte] == 0 ? zeros + 1 : 0
      bit = 0
      byte += 1
    }
    return value
  }

  mutating func next(_ count: Int) -> Int? {
    var value = 0
    for _ in 0..<count {
      guard let bit = next() else { return nil }
      value = value << 1 | bit
    }
    return value
  }

  /// An unsigned Exp-Golomb number; nil at the end or beyond 32 bits.
  mutating func nextGolomb() -> Int? {
    var zeros = 0
    while true {
      guard let bit = next() else { return nil }
      if bit == 1 { break }
      zeros += 1
      if zeros > 31 { return nil }
    }
    return next(zeros).map { (1 << zeros) - 1 + $0 }
  }
}
