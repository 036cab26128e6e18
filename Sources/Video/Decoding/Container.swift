import CLibAV
import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Where a container's bytes come from.
protocol ContainerInput: AnyObject {
  /// Asks the caller whether to stop.
  var cancelled: () -> Bool { get }
  /// `errno` of the last read that failed, or zero.
  var readError: Int32 { get }
}

/// An opened media file or stream: its streams of pictures, and its packets one after the other.
final class Container {
  let path: String
  private let input: any ContainerInput
  /// nil where libav reads by a protocol of its own.
  private let io: InputContext?
  private let format: UnsafeMutablePointer<AVFormatContext>

  /// The format says of no picture when it is, and libav makes times up.
  var inventsTimes: Bool { format.pointee.iformat.pointee.flags & AVFMT_NOTIMESTAMPS != 0 }

  /// No protocol of libav has this name.
  private static let noProtocol = "none"

  enum Reading: Equatable {
    case packet
    case end
    /// libav's code; nothing more can be read.
    case broken(Int32)
  }

  init(path: String, access: FileAccess) throws(VideoError) {
    _ = LibAV.silence
    self.path = path
    let input = try FileInput(path: path, access: access)
    let io = try InputContext(input)
    (self.input, self.io) = (input, io)
    format = try Container.open(input, io)
    if input.cancelled() { throw .cancelled }
  }

  /// A stream that is still being made.
  init(live path: String, _ input: any ContainerInput, _ io: InputContext?, _ format: UnsafeMutablePointer<AVFormatContext>) {
    (self.path, self.input, self.io, self.format) = (path, input, io, format)
  }

  /// What a file holds, which is all there is to it.
  static func open(_ input: FileInput, _ io: InputContext) throws(VideoError) -> UnsafeMutablePointer<AVFormatContext> {
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
    // A failure here leaves some stream unknown, perhaps not the one that is wanted.
    _ = avformat_find_stream_info(opened, nil)
    return opened
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
    return LibAV.failure(code) { reason in
      if input.readError != 0 { return .unreadable(path: input.path, reason: reason) }
      let why = "an MP4 file without its index, which is written last: it was cut off, or is still being written"
      return .notVideo(path: input.path, reason: input.lacksIndex ? why : reason)
    }
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
      let pictured = videos.filter { $0.pointee.disposition & AV_DISPOSITION_ATTACHED_PIC == 0 }
      let best = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, nil, 0)
      guard let stream = pictured.first(where: { $0.pointee.index == best }) ?? pictured.first else {
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
  /// Text files are videos to libav's decoders of terminal art; not here.
  fileprivate var isVideo: Bool {
    guard pointee.codecpar.pointee.codec_type == AVMEDIA_TYPE_VIDEO else { return false }
    switch pointee.codecpar.pointee.codec_id {
    case AV_CODEC_ID_ANSI, AV_CODEC_ID_BINTEXT, AV_CODEC_ID_XBIN, AV_CODEC_ID_IDF: return false
    default: return true
    }
  }
}

/// The formats that a clip may have: containers that hold their streams themselves, by libav's names.
///
/// Everything else is refused whatever its name says: lists that lead to other files or addresses (concat, SDP, HLS, DASH, IMF, numbered
/// pictures), devices, scripts, text.
enum ContainerFormats {
  private static let videos =
    "3dostr,3g2,3gp,4xm,anm,apng,asf,asf_o,av1,avi,avs,avs2,avs3,bethsoftvid,bfi,bink,bmv,c93,cavsvideo,cdg,cdxl,cine,dfa,dhav,dirac,dnxhd,"
    + "dsicin,dv,dxa,ea,evc,film_cpk,filmstrip,fits,flic,flv,frm,fsb,gdv,gif,gxf,h261,h263,h264,hevc,hnm,idcin,iff,ifv,"
    + "ingenient,ipmovie,ipu,iv8,ivf,"
    + "ivr,jv,kux,live_flv,lmlm4,luodat,lvf,lxf,m4v,matroska,mcc,mjpeg,mjpeg_2000,mj2,mlv,mm,mods,moflex,mov,mp4,mpeg,mpegts,mpegvideo,"
    + "mtv,mv,mvi,mxf,mxg,nsv,nut,nuv,obu,ogg,paf,pmp,pva,r3d,rl2,rm,roq,rpl,sdr2,ser,sga,siff,smjpeg,smk,smush,swf,thp,tmv,ty,vc1,"
    + "vc1test,vividas,vivo,vmd,vvc,wc3movie,webm,wsvqa,wtv,wv,xmv,yop,yuv4mpegpipe"
  /// One picture, or several one after the other.
  private static let pictures =
    "bmp_pipe,dds_pipe,dpx_pipe,exr_pipe,gem_pipe,gif_pipe,hdr_pipe,ico,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_anim,jpegxl_pipe,pam_pipe,"
    + "pbm_pipe,pcx_pipe,pfm_pipe,pgm_pipe,pgmyuv_pipe,pgx_pipe,phm_pipe,photocd_pipe,pictor_pipe,png_pipe,ppm_pipe,psd_pipe,qdraw_pipe,"
    + "qoi_pipe,sgi_pipe,sunrast_pipe,tiff_pipe,webp_pipe,xbm_pipe,xpm_pipe,xwd_pipe"
  /// Without a video in them, which is then what is said of them.
  private static let sounds = "aac,ac3,aiff,amr,ape,au,caf,dts,eac3,flac,m4a,mp3,mpc,mpc8,tta,w64,wav"

  static let allowed = [videos, pictures, sounds].joined(separator: ",")

  /// What a stream may be beside them, which somebody named to be watched.
  static let streams = ",dash,hls,mpjpeg,rtp,rtsp,sdp,v4l2,video4linux2"

  /// What is told of those that name other files.
  private static let lists = "concat,dash,hls,imf,rtp,rtsp,sdp,vobsub,webm_dash_manifest"

  /// Why the format is none for a clip; nil if it is one.
  static func objection(to format: UnsafePointer<AVInputFormat>) -> String? {
    guard let name = format.pointee.name else { return "a format without a name" }
    let comma = CChar(44)
    if av_match_list(name, allowed, comma) > 0 { return nil }
    let text = String(cString: name)
    return av_match_list(name, lists, comma) > 0
      ? "a list that leads to other files (\(text)); these are not opened" : "a file of the format \(text)"
  }
}

/// What a container says of one of its video streams. Valid as long as the container.
struct VideoStream {
  let index: Int
  let parameters: UnsafeMutablePointer<AVCodecParameters>
  let timeBase: AVRational
  /// The container's number of frames, or zero; not to be relied on.
  let promisedFrames: Int
  let orientation: Orientation
  /// Over the whole stream, as its container or libav makes it out.
  let averageRate: FrameRate
  /// Frames a second, for streams without times.
  private let rate: Double
  /// The container's first moment, in seconds: players show it as zero.
  private let origin: Double

  init(_ stream: UnsafeMutablePointer<AVStream>, format: UnsafeMutablePointer<AVFormatContext>) {
    index = Int(stream.pointee.index)
    parameters = stream.pointee.codecpar
    timeBase = stream.pointee.time_base
    // Of an MP4 file that is the number of samples; an edit list may leave some of them out, which the index then has not.
    let entries = lav_is_mov(format) != 0 ? Int(avformat_index_get_entries_count(stream)) : 0
    let frames = max(0, Int(stream.pointee.nb_frames))
    promisedFrames = entries > 0 ? min(frames, entries) : frames
    orientation = Orientation(displayMatrix: lav_display_matrix(stream))
    let guessed = av_guess_frame_rate(format, stream, nil)
    rate = guessed.num > 0 && guessed.den > 0 ? Double(guessed.num) / Double(guessed.den) : 25
    let average = stream.pointee.avg_frame_rate
    averageRate =
      if average.num > 0, average.den > 0 {
        FrameRate(numerator: Int(average.num), denominator: Int(average.den))
      } else if guessed.num > 0, guessed.den > 0 {
        FrameRate(numerator: Int(guessed.num), denominator: Int(guessed.den))
      } else {
        FrameRate(numerator: 25, denominator: 1)
      }
    let start = format.pointee.start_time
    origin = start == lav_no_timestamp ? 0 : Double(start) / Double(AV_TIME_BASE)
  }

  var codecName: String { String(cString: avcodec_get_name(parameters.pointee.codec_id)) }

  /// Seconds from the clip's start. A frame without a time stands where a constant rate puts it.
  func seconds(_ timestamp: Int64, index: Int) -> Double {
    guard timestamp != lav_no_timestamp, timeBase.den > 0 else { return Double(index) / rate }
    return Double(timestamp) * Double(timeBase.num) / Double(timeBase.den) - origin
  }

  /// A few pictures as decoded, roughly; at most what a picture of the largest size takes.
  var pictureBytes: Int { min(pixelCount(frames: 1) ?? 0, Int(LibAV.pixelLimit)) * 4 }

  /// Of so many frames in all; nil beyond any number that matters.
  func pixelCount(frames: Int) -> Int? {
    let (area, overflow) = Int(parameters.pointee.width).multipliedReportingOverflow(by: Int(parameters.pointee.height))
    let (all, overflowToo) = area.multipliedReportingOverflow(by: frames)
    return overflow || overflowToo || area <= 0 ? nil : all
  }

  /// The container's own setting-up bytes for the decoder.
  var setup: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: parameters.pointee.extradata, count: max(0, Int(parameters.pointee.extradata_size)))
  }
}

/// What a Matroska or WebM file says of its own length. libav reads one that was cut off up to its end and says nothing.
package enum MatroskaLength {
  /// Bytes that its one segment promises and that are not there. nil for another format, or for a segment of unknown length, as live
  /// streams have.
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

/// What the system says of a path.
enum PathKind {
  case file(size: Int64)
  case directory

  init(of path: String) throws(VideoError) {
    // A zero byte would end the name early, and another file would be opened.
    guard !path.isEmpty, !path.utf8.contains(0) else { throw .notFound(path: path) }
    guard let status = FileStatus(path: path) else {
      let error = SystemError()
      throw [ENOENT, ENOTDIR].contains(error.code) ? .notFound(path: path) : .unreadable(path: path, reason: error.message)
    }
    switch status.kind {
    case .directory: self = .directory
    case .file: self = .file(size: Int64(status.byteCount))
    default: throw .notAFile(path: path)
    }
  }
}

/// How a clip's files are come by: by their names, or from the process that may open them. And whether to go on.
struct FileAccess {
  struct File {
    /// Its owner closes it.
    var descriptor: Int32
    /// Bytes, more than none.
    var size: Int64
  }

  var open: (_ path: String) throws(VideoError) -> File = FileAccess.byName
  /// Asked often, from the thread that decodes.
  var cancelled: () -> Bool = { false }

  static func byName(_ path: String) throws(VideoError) -> File {
    guard case .file(let size) = try PathKind(of: path) else { throw .notAFile(path: path) }
    guard size > 0 else { throw .empty(path: path) }
    do throws(SystemError) { return File(descriptor: try SystemCalls.open(path, O_RDONLY), size: size) } catch {
      throw .unreadable(path: path, reason: error.message)
    }
  }
}

/// A file that libav reads through, so that names are never taken for URLs or patterns, reading stops when it is cancelled, and the
/// system's own error is known.
final class FileInput: ContainerInput {
  let path: String
  /// Bytes when it was opened.
  let size: Int64
  let cancelled: () -> Bool
  private(set) var readError: Int32 = 0
  /// Of a file that is still being written: at its end more is waited for, so many seconds. nil for a file that is what it is.
  var patience: Double?

  private let descriptor: Int32
  private var offset: Int64 = 0

  init(path: String, access: FileAccess = FileAccess()) throws(VideoError) {
    let file = try access.open(path)
    self.path = path
    (descriptor, size, cancelled) = (file.descriptor, file.size, access.cancelled)
  }

  deinit { close(descriptor) }

  /// Up to `count` bytes from where the last call ended; libav's codes for end and failure.
  fileprivate func read(_ target: UnsafeMutablePointer<UInt8>, _ count: Int32) -> Int32 {
    if cancelled() { return lav_error_exit }
    guard count > 0 else { return 0 }
    let start = monotonicSeconds()
    do throws(SystemError) {
      while true {
        let got = try SystemCalls.read(descriptor, into: UnsafeMutableRawBufferPointer(start: target, count: Int(count)), at: Int(offset))
        offset += Int64(got)
        if got > 0 { return Int32(got) }
        guard let patience, monotonicSeconds() - start < patience else { return lav_error_end }
        if cancelled() { return lav_error_exit }
        if isReplaced { return lav_error_end }
        usleep(50_000)
      }
    } catch {
      readError = error.code
      return lav_error_of_errno(error.code)
    }
  }

  /// Whether another file has its name now, or it was cut before the place that was read.
  private var isReplaced: Bool {
    var (named, opened) = (stat(), stat())
    guard fstat(descriptor, &opened) == 0 else { return false }
    // A name that leads nowhere is not looked at: whoever writes it may still do.
    if stat(path, &named) == 0, named.st_ino != opened.st_ino || named.st_dev != opened.st_dev { return true }
    return Int64(opened.st_size) < offset
  }

  /// Whether it is an MP4 or MOV file without `moov`, as its boxes at the top level say: a length of 32 bits, or 1 and one of 64 behind the
  /// type, or 0 up to the end.
  fileprivate var lacksIndex: Bool {
    var (place, isMP4) = (0, false)
    for _ in 0..<1000 where place <= Int(size) - 8 {
      var head = [UInt8](repeating: 0, count: 16)
      let got = head.withUnsafeMutableBytes { bytes in (try? SystemCalls.read(descriptor, into: bytes, at: place)) ?? 0 }
      guard got >= 8 else { break }
      func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
      let type = head[4..<8]
      if type.elementsEqual("moov".utf8) { return false }
      if type.elementsEqual("ftyp".utf8) { isMP4 = true }
      let length = number(head[..<4]) == 1 ? number(head[8...]) : number(head[..<4])
      guard length >= 8, length < UInt64(size) else { break }
      place += Int(length)
    }
    return isMP4
  }

  fileprivate func seek(_ distance: Int64, _ whence: Int32) -> Int64 {
    let base: Int64
    switch whence & ~AVSEEK_FORCE {
    case AVSEEK_SIZE: return size
    case SEEK_SET: base = 0
    case SEEK_CUR: base = offset
    case SEEK_END: base = size
    default: return Int64(lav_error_of_errno(EINVAL))
    }
    let (target, overflow) = base.addingReportingOverflow(distance)
    guard !overflow, target >= 0 else { return Int64(lav_error_of_errno(EINVAL)) }
    offset = target
    return target
  }

  /// All bytes; a file of more than `limit` is refused.
  func readAll(limit: Int) throws(VideoError) -> [UInt8] {
    guard size <= limit else { throw .tooManyBytes(path: path, bytes: Int(size), limit: limit) }
    return try read(first: Int(size))
  }

  /// The first bytes, up to `limit`.
  func read(first limit: Int) throws(VideoError) -> [UInt8] {
    var failure: Int32 = 0
    let count = min(limit, Int(size))
    try LibAV.reserve(count)
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count, failure == 0, let base = buffer.baseAddress {
        let got = read(base + filled, Int32(min(count - filled, 1 << 20)))
        if got < 0 { failure = got } else { filled += Int(got) }
      }
    }
    if failure == lav_error_exit { throw .cancelled }
    // A file that became shorter meanwhile is what it is now.
    guard failure == 0 || failure == lav_error_end else { throw .unreadable(path: path, reason: LibAV.text(failure)) }
    return bytes
  }
}

/// libav's handle of a `FileInput`; it must outlive the format context that reads through it.
final class InputContext {
  let pointer: UnsafeMutablePointer<AVIOContext>
  private let input: FileInput

  init(_ input: FileInput) throws(VideoError) {
    let capacity: Int32 = 1 << 16
    guard let buffer = av_malloc(Int(capacity)) else { throw .outOfMemory }
    let opaque = Unmanaged.passUnretained(input).toOpaque()
    let context = avio_alloc_context(
      buffer.assumingMemoryBound(to: UInt8.self), capacity, 0, opaque,
      { opaque, target, count in
        guard let opaque, let target else { return lav_error_of_errno(EINVAL) }
        return Unmanaged<FileInput>.fromOpaque(opaque).takeUnretainedValue().read(target, count)
      }, nil,
      { opaque, distance, whence in
        guard let opaque else { return Int64(lav_error_of_errno(EINVAL)) }
        return Unmanaged<FileInput>.fromOpaque(opaque).takeUnretainedValue().seek(distance, whence)
      })
    guard let context else {
      av_free(buffer)
      throw .outOfMemory
    }
    pointer = context
    self.input = input
  }

  /// An end that was met is none any more.
  func forgetEnd() { (pointer.pointee.eof_reached, pointer.pointee.error) = (0, 0) }

  deinit {
    // libav may have replaced the buffer meanwhile.
    av_free(pointer.pointee.buffer)
    var context: UnsafeMutablePointer<AVIOContext>? = pointer
    avio_context_free(&context)
  }
}
