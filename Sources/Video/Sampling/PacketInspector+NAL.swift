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
