import CLibAV
import Support

/// A camera or a stream that goes on while it is watched: an address that an operator names, never a request.
public struct LiveSource: Sendable, Equatable {
  enum Kind: Sendable, Equatable {
    /// A camera of this machine, by video4linux.
    case device
    /// A file that is being written.
    case file
    /// By libav's protocol; what it may open beside it.
    case network(protocols: String)
  }

  /// As it was named.
  public let address: String
  let kind: Kind

  /// `rtsp://…`, `udp://…` and the like, `/dev/video0`, or the path of a file that is being written. Nothing is opened yet. Throws where
  /// the address is none that can be watched.
  public init(_ address: String) throws(SlowFastError) {
    self.address = address
    if let end = address.range(of: "://") {
      let scheme = address[..<end.lowerBound].lowercased()
      guard let protocols = Self.protocols[scheme], end.upperBound < address.endIndex, !address.utf8.contains(0) else {
        throw .badOption(
          name: "the address of a stream", found: Self.withoutSecrets(address),
          expected: "one of \(Self.protocols.keys.sorted().joined(separator: "://, "))://, a camera as /dev/video0, or a file")
      }
      kind = .network(protocols: protocols)
    } else if address.hasPrefix("/dev/video") {
      kind = .device
    } else {
      do throws(VideoError) {
        guard case .file = try PathKind(of: address) else { throw .notAFile(path: address) }
      } catch {
        throw .notAClip(
          path: address,
          reason: "no file that could be watched, expected one that is being written, a stream's address, or a camera as /dev/video0")
      }
      kind = .file
    }
  }

  /// Schemes that may be watched, and what libav may open for one: never a file.
  private static let protocols = [
    "rtsp": "rtsp,rtp,srtp,udp,tcp,tls,http,https,httpproxy", "rtsps": "rtsps,rtsp,rtp,srtp,udp,tcp,tls",
    "rtp": "rtp,udp", "udp": "udp", "tcp": "tcp", "srt": "srt", "rtmp": "rtmp,tcp", "rtmps": "rtmps,tls,tcp",
    "http": "http,https,tcp,tls,crypto,httpproxy", "https": "https,http,tcp,tls,crypto,httpproxy",
  ]

  /// Waits for a sender, and misses what is sent while it does not.
  package var listens: Bool {
    let parts = address.split(separator: "?", maxSplits: 1).dropFirst().flatMap { $0.split(separator: "&") }
    return ["udp", "rtp"].contains(address.prefix { $0 != ":" }.lowercased())
      || parts.contains { $0 == "mode=listener" || $0.prefix { $0 != "=" } == "listen" }
  }

  /// Whether it is a file that is being written.
  package var isFile: Bool { kind == .file }

  /// As messages name it: without the name and the password of a user, and without what a query's keys have.
  public var shown: String { Self.withoutSecrets(address) }

  private static func withoutSecrets(_ address: String) -> String {
    guard let start = address.range(of: "://")?.upperBound else { return address }
    let query = address.firstIndex(of: "?") ?? address.endIndex
    let host = address[start..<query].prefix { $0 != "/" && $0 != "#" }
    let named = host.lastIndex(of: "@").map { "\(address[..<start])***\(address[$0..<query])" } ?? String(address[..<query])
    // Passwords and passphrases are values of a query too.
    let parts = address[query...].split(separator: "&", omittingEmptySubsequences: false)
    return named + parts.map { part in part.firstIndex(of: "=").map { "\(part[...$0])***" } ?? String(part) }.joined(separator: "&")
  }
}

/// A stream that libav reads by a protocol of its own.
final class LiveInput: ContainerInput {
  let cancelled: () -> Bool
  let readError: Int32 = 0

  init(cancelled: @escaping () -> Bool) { self.cancelled = cancelled }
}

extension Container {
  /// Opens what is live: waits until it says what it shows. `cancelled` ends every wait.
  convenience init(_ source: LiveSource, cancelled: @escaping () -> Bool) throws(VideoError) {
    _ = LibAV.silence
    switch source.kind {
    case .file:
      let input = try FileInput(path: source.address, access: FileAccess(cancelled: cancelled))
      let io = try InputContext(input)
      // Where it ends is not looked for.
      io.pointer.pointee.seekable = 0
      // What is there already must do to know it, unless more comes.
      input.patience = 2
      self.init(live: source.address, input, io, try Self.open(input, io))
      input.patience = .infinity
      io.forgetEnd()
    case .device:
      guard lav_register_devices() == 0, let format = av_find_input_format("video4linux2") else {
        throw .unreadable(path: source.shown, reason: "cameras need libavdevice \(lav_format_major), which is not installed")
      }
      // That is read by the system's calls alone.
      try self.init(source, format, protocols: "none", cancelled)
    case .network(let protocols): try self.init(source, nil, protocols: protocols, cancelled)
    }
    if cancelled() { throw .cancelled }
  }

  private convenience init(
    _ source: LiveSource, _ format: UnsafePointer<AVInputFormat>?, protocols: String, _ cancelled: @escaping () -> Bool
  ) throws(VideoError) {
    let input = LiveInput(cancelled: cancelled)
    avformat_network_init()
    guard let context = avformat_alloc_context() else { throw .outOfMemory }
    context.pointee.interrupt_callback = AVIOInterruptCB(
      callback: { opaque in
        guard let opaque else { return 0 }
        return Unmanaged<LiveInput>.fromOpaque(opaque).takeUnretainedValue().cancelled() ? 1 : 0
      }, opaque: Unmanaged.passUnretained(input).toOpaque())
    var options: OpaquePointer?
    defer { av_dict_free(&options) }
    for (name, value) in [
      ("protocol_whitelist", protocols), ("format_whitelist", ContainerFormats.allowed + ContainerFormats.streams),
      // Where both ways are there, the one that loses nothing.
      ("rtsp_flags", "prefer_tcp"),
      // A reader that was busy loses packets of a datagram stream, and goes on.
      ("overrun_nonfatal", "1"), ("fifo_size", "50000"),
      // Long enough for two key frames of most cameras.
      ("analyzeduration", "3000000"),
    ] { av_dict_set(&options, name, value, 0) }
    var opened: UnsafeMutablePointer<AVFormatContext>? = context
    let code = avformat_open_input(&opened, source.address, format, &options)
    guard code >= 0, let opened else {
      if cancelled() { throw .cancelled }
      throw LibAV.failure(code) { .unreadable(path: source.shown, reason: $0) }
    }
    _ = avformat_find_stream_info(opened, nil)
    self.init(live: source.shown, input, nil, opened)
  }
}
