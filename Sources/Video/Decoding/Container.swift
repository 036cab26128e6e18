import CLibAV

/// An opened media file: its streams, and its packets one after the other.
final class Container {
  let path: String
  let input: FileInput
  private let io: InputContext
  private let format: UnsafeMutablePointer<AVFormatContext>

  /// No protocol of libav has this name.
  private static let noProtocol = "none"

  enum Reading: Equatable {
    case packet
    case end
    /// libav's code; nothing more can be read.
    case broken(Int32)
  }

  init(path: String, cancelled: @escaping () -> Bool) throws(VideoError) {
    _ = LibAV.silence
    self.path = path
    input = try FileInput(path: path, cancelled: cancelled)
    io = try InputContext(input)
    let container = try Container.format(of: input, io)
    guard let context = avformat_alloc_context() else { throw .outOfMemory }
    context.pointee.pb = io.pointer
    context.pointee.interrupt_callback = AVIOInterruptCB(
      callback: { opaque in
        guard let opaque else { return 0 }
        return Unmanaged<FileInput>.fromOpaque(opaque).takeUnretainedValue().cancelled() ? 1 : 0
      }, opaque: Unmanaged.passUnretained(input).toOpaque())
    // What the file holds is read through `input` alone. Formats that would open other files or addresses by ways of their own are refused
    // before they begin; the lists are for formats within formats.
    context.pointee.io_open = { _, _, _, _, _ in lav_error_of_errno(EPERM) }
    guard av_opt_set(context, "format_whitelist", ContainerFormats.allowed, 0) >= 0,
      av_opt_set(context, "protocol_whitelist", Container.noProtocol, 0) >= 0
    else {
      avformat_free_context(context)
      throw .outOfMemory
    }
    var opened: UnsafeMutablePointer<AVFormatContext>? = context
    let code = avformat_open_input(&opened, nil, container, nil)
    guard code >= 0, let opened else { throw Container.failure(code, input) }
    format = opened
    // A failure here leaves some stream unknown, perhaps not the one that is wanted.
    _ = avformat_find_stream_info(format, nil)
    if input.cancelled() { throw .cancelled }
  }

  /// No name is given: what the file is, its bytes tell, not its extension.
  private static func format(of input: FileInput, _ io: InputContext) throws(VideoError) -> UnsafePointer<AVInputFormat> {
    var format: UnsafePointer<AVInputFormat>?
    let code = av_probe_input_buffer2(io.pointer, &format, nil, nil, 0, 0)
    guard code >= 0, let format else { throw failure(code, input) }
    if let objection = ContainerFormats.objection(to: format) { throw .notVideo(path: input.path, reason: objection) }
    return format
  }

  private static func failure(_ code: Int32, _ input: FileInput) -> VideoError {
    if input.cancelled() { return .cancelled }
    return input.readError != 0
      ? .unreadable(path: input.path, reason: LibAV.text(code)) : .notVideo(path: input.path, reason: LibAV.text(code))
  }

  deinit {
    var context: UnsafeMutablePointer<AVFormatContext>? = format
    avformat_close_input(&context)
  }

  private var streams: [UnsafeMutablePointer<AVStream>] {
    (0..<Int(format.pointee.nb_streams)).compactMap { format.pointee.streams[$0] }
  }

  /// The stream that was asked for, or libav's choice. All others are skipped from now on.
  func select(_ wanted: Int?) throws(VideoError) -> VideoStream {
    let videos = streams.filter { $0.isVideo }
    guard !videos.isEmpty else { throw .noVideoStream(path: path, found: contents) }
    let chosen: UnsafeMutablePointer<AVStream>
    if let wanted {
      guard let stream = videos.first(where: { $0.pointee.index == wanted }) else {
        throw .noSuchStream(path: path, stream: wanted, available: videos.map { Int($0.pointee.index) })
      }
      chosen = stream
    } else {
      // The cover picture of a song is a stream of video to libav, but it is not what the file is about.
      let films = videos.filter { $0.pointee.disposition & AV_DISPOSITION_ATTACHED_PIC == 0 }
      let best = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, nil, 0)
      guard let stream = films.first(where: { $0.pointee.index == best }) ?? films.first else {
        throw .noVideoStream(path: path, found: contents)
      }
      chosen = stream
    }
    for stream in streams { stream.pointee.discard = stream == chosen ? AVDISCARD_DEFAULT : AVDISCARD_ALL }
    return VideoStream(chosen, format: format)
  }

  /// `2 audio streams, 1 subtitle stream`.
  private var contents: String {
    var kinds: [String] = []
    var counts: [String: Int] = [:]
    for stream in streams {
      let attached = stream.isVideo && stream.pointee.disposition & AV_DISPOSITION_ATTACHED_PIC != 0
      let name = av_get_media_type_string(stream.pointee.codecpar.pointee.codec_type).map { String(cString: $0) }
      let kind = attached ? "cover picture" : "\(name ?? "unknown") stream"
      if counts[kind] == nil { kinds.append(kind) }
      counts[kind, default: 0] += 1
    }
    return kinds.isEmpty ? "nothing" : kinds.map { "\(counts[$0] ?? 0) \($0)\(counts[$0] == 1 ? "" : "s")" }.joined(separator: ", ")
  }

  /// The next packet of `stream`. Damaged parts that libav steps over are no failure.
  func read(_ stream: VideoStream, into packet: Packet) throws(VideoError) -> Reading {
    while true {
      av_packet_unref(packet.pointer)
      let code = av_read_frame(format, packet.pointer)
      if input.cancelled() { throw .cancelled }
      if code == lav_error_again { continue }
      if code < 0 { return code == lav_error_end && input.readError == 0 ? .end : .broken(code) }
      if packet.pointer.pointee.stream_index == stream.index { return .packet }
    }
  }

  /// Moves to a key frame at or before `timestamp`, as far as the container can tell.
  func seek(_ stream: VideoStream, to timestamp: Int64) -> Bool {
    av_seek_frame(format, Int32(stream.index), timestamp, AVSEEK_FLAG_BACKWARD) >= 0
  }
}

extension UnsafeMutablePointer<AVStream> {
  /// Text files are films to libav's decoders of terminal art; not here.
  fileprivate var isVideo: Bool {
    guard pointee.codecpar.pointee.codec_type == AVMEDIA_TYPE_VIDEO else { return false }
    switch pointee.codecpar.pointee.codec_id {
    case AV_CODEC_ID_ANSI, AV_CODEC_ID_BINTEXT, AV_CODEC_ID_XBIN, AV_CODEC_ID_IDF: return false
    default: return true
    }
  }
}
