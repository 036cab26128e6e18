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
