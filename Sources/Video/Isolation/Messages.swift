import CSandbox
import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a process is asked to do for one clip.
struct ClipOrder {
  enum Task {
    /// `frameBytes`: room for one frame's pixels in the memory that comes with the order; nil where none comes.
    case sample(SamplingRequest, preparing: Preprocessing?, DecoderLimits, frameBytes: Int?)
    /// What decoding takes.
    case memory
    /// Whether it is confined: it tries to break out.
    case probe
  }

  var input: MediaInput
  var task: Task
}

/// What it is told meanwhile.
enum ClipAnswer {
  /// A file that it asked for; the descriptor comes with it.
  case file(size: Int64)
  case refused(VideoError)
  /// The frame was taken: another may come.
  case next
}

/// What it tells. Whoever receives it believes nothing of it.
package enum ClipReport {
  /// What holds the process, as flags.
  case confined(Int)
  /// It is still at work.
  case alive
  /// Wants a file of the clip, by its place among them.
  case open(Int)
  case event(FrameEvent<FrameHead>)
  case memory(DecodingMemory)
  case end(SamplingReport)
  case failed(VideoError)

  /// A frame whose pixels lie in the common memory, or behind this.
  package struct FrameHead {
    var index: Int
    var seconds: Double
    /// As decoded.
    var width: Int, height: Int
    /// As handed over.
    var pixelWidth: Int, pixelHeight: Int
    var preparingSeconds: Double
    /// nil where they lie in the common memory.
    var pixels: [UInt8]?
  }
}

/// Something else came than what may come.
package struct Nonsense: Error {}

// MARK: Bytes

/// Writes a message's parts one after the other.
struct MessageWriter {
  private(set) var bytes: [UInt8]
  /// The clip's files, by whose places errors name them.
  let files: [String]

  init(_ kind: UInt8, files: [String] = []) { (bytes, self.files) = ([kind], files) }

  mutating func put(_ number: Int) { withUnsafeBytes(of: Int64(number).littleEndian) { bytes.append(contentsOf: $0) } }
  mutating func put(_ number: Double) { withUnsafeBytes(of: number.bitPattern.littleEndian) { bytes.append(contentsOf: $0) } }
  mutating func put(_ flag: Bool) { bytes.append(flag ? 1 : 0) }
  mutating func put(_ text: String) { put(Array(text.utf8)) }
  mutating func put(_ part: [UInt8]) {
    put(part.count)
    bytes += part
  }
  mutating func put<Value>(_ value: Value?, _ write: (inout MessageWriter, Value) -> Void) {
    put(value != nil)
    if let value { write(&self, value) }
  }
  mutating func put<Value>(list: [Value], _ write: (inout MessageWriter, Value) -> Void) {
    put(list.count)
    for value in list { write(&self, value) }
  }
}

/// Reads them again, and trusts none of their lengths.
struct MessageReader {
  private let bytes: [UInt8]
  private var place = 1
  let files: [String]
  /// Errors that name no file of the clip speak of this.
  let name: String

  init(_ bytes: [UInt8], files: [String] = [], name: String = "") { (self.bytes, self.files, self.name) = (bytes, files, name) }

  var kind: UInt8 { bytes.first ?? 0 }

  private mutating func take(_ count: Int) throws(Nonsense) -> ArraySlice<UInt8> {
    guard count >= 0, count <= bytes.count - place else { throw Nonsense() }
    place += count
    return bytes[place - count..<place]
  }

  private mutating func word() throws(Nonsense) -> UInt64 { try take(8).reversed().reduce(0) { $0 << 8 | UInt64($1) } }

  mutating func int() throws(Nonsense) -> Int { Int(Int64(bitPattern: try word())) }
  mutating func double() throws(Nonsense) -> Double { Double(bitPattern: try word()) }
  mutating func flag() throws(Nonsense) -> Bool {
    guard let byte = try take(1).first, byte < 2 else { throw Nonsense() }
    return byte == 1
  }
  mutating func part() throws(Nonsense) -> [UInt8] { Array(try take(try int())) }
  mutating func text() throws(Nonsense) -> String { String(decoding: try take(try int()), as: UTF8.self) }
  mutating func optional<Value>(_ read: (inout MessageReader) throws(Nonsense) -> Value) throws(Nonsense) -> Value? {
    try flag() ? try read(&self) : nil
  }
  mutating func list<Value>(_ read: (inout MessageReader) throws(Nonsense) -> Value) throws(Nonsense) -> [Value] {
    // No part is shorter than a byte.
    let count = try int()
    guard count >= 0, count <= bytes.count - place else { throw Nonsense() }
    var values: [Value] = []
    for _ in 0..<count { values.append(try read(&self)) }
    return values
  }

  /// Nothing may follow.
  func end() throws(Nonsense) { if place != bytes.count { throw Nonsense() } }
}

// MARK: Orders and answers

extension ClipOrder {
  func message() -> [UInt8] {
    var writer = MessageWriter(1, files: input.files)
    writer.put(input.path)
    switch input.kind {
    case .video: writer.put(0)
    case .image: writer.put(1)
    case .directory(let images):
      writer.put(2)
      writer.put(list: images) { $0.put($1) }
    }
    writer.put(list: input.leftOut) { $0.put($1) }
    writer.put(input.shortClip)
    switch task {
    case .probe: writer.put(0)
    case .memory: writer.put(1)
    case .sample(let request, let preparing, let limits, let frameBytes):
      writer.put(2)
      request.write(&writer)
      writer.put(preparing) { $1.write(&$0) }
      writer.put(limits.threads) { $0.put($1) }
      writer.put(limits.memory) { $0.put($1) }
      writer.put(frameBytes) { $0.put($1) }
    }
    return writer.bytes
  }

  init(_ bytes: [UInt8]) throws(Nonsense) {
    var reader = MessageReader(bytes)
    let path = try reader.text()
    let kind: MediaInput.Kind
    switch try reader.int() {
    case 0: kind = .video
    case 1: kind = .image
    default: kind = .directory(try reader.list { (reader) throws(Nonsense) in try reader.text() })
    }
    let leftOut = try reader.list { (reader) throws(Nonsense) in try reader.text() }
    input = MediaInput(path: path, kind: kind, leftOut: leftOut, shortClip: try reader.int())
    switch try reader.int() {
    case 0: task = .probe
    case 1: task = .memory
    default:
      let request = try SamplingRequest(&reader)
      let preparing = try reader.optional { (reader) throws(Nonsense) in try Preprocessing(&reader) }
      let threads = try reader.optional { (reader) throws(Nonsense) in try reader.int() }
      let memory = try reader.optional { (reader) throws(Nonsense) in try reader.int() }
      task = .sample(
        request, preparing: preparing, DecoderLimits(threads: threads, memory: memory),
        frameBytes: try reader.optional { (reader) throws(Nonsense) in try reader.int() })
    }
    try reader.end()
  }
}

extension MediaInput {
  /// What it reads, in order.
  var files: [String] { if case .directory(let images) = kind { images } else { [path] } }
}

extension SamplingRequest {
  fileprivate func write(_ writer: inout MessageWriter) {
    writer.put(frames)
    switch rule {
    case .uniform: writer.put(0)
    case .rate(let rate):
      writer.put(1)
      writer.put(rate)
    case .spread(let rate):
      writer.put(2)
      writer.put(rate)
    }
    writer.put(start) { $0.put($1) }
    writer.put(end) { $0.put($1) }
    writer.put(stream) { $0.put($1) }
  }

  fileprivate init(_ reader: inout MessageReader) throws(Nonsense) {
    let frames = try reader.int()
    let rule: SamplingRule =
      switch try reader.int() {
      case 0: .uniform
      case 1: .rate(try reader.double())
      default: .spread(try reader.double())
      }
    let start = try reader.optional { (reader) throws(Nonsense) in try reader.double() }
    let end = try reader.optional { (reader) throws(Nonsense) in try reader.double() }
    self.init(
      frames: frames, rule: rule, start: start, end: end,
      stream: try reader.optional { (reader) throws(Nonsense) in try reader.int() })
  }
}

extension Preprocessing {
  /// What makes pixels of pixels; numbers are made of them where they are used.
  fileprivate func write(_ writer: inout MessageWriter) {
    writer.put(size)
    switch fit {
    case .crop: writer.put(0)
    case .stretch: writer.put(-1)
    case .longest(let side): writer.put(side)
    }
    writer.put(Resampling.allCases.firstIndex(of: resampling) ?? 0)
  }

  fileprivate init(_ reader: inout MessageReader) throws(Nonsense) {
    let size = try reader.int()
    let fit: Fit =
      switch try reader.int() {
      case 0: .crop
      case -1: .stretch
      case let side: .longest(side)
      }
    let resampling = try reader.int()
    guard Resampling.allCases.indices.contains(resampling) else { throw Nonsense() }
    do throws(VideoError) { self = try Preprocessing(size: size, fit: fit, resampling: Resampling.allCases[resampling]) } catch {
      throw Nonsense()
    }
  }
}

extension ClipAnswer {
  func message(files: [String]) -> [UInt8] {
    switch self {
    case .file(let size):
      var writer = MessageWriter(1)
      writer.put(Int(size))
      return writer.bytes
    case .refused(let error):
      var writer = MessageWriter(2, files: files)
      writer.put(error)
      return writer.bytes
    case .next: return [3]
    }
  }

  init(_ bytes: [UInt8], files: [String], name: String) throws(Nonsense) {
    var reader = MessageReader(bytes, files: files, name: name)
    switch reader.kind {
    case 1: self = .file(size: Int64(try reader.int()))
    case 2: self = .refused(try reader.error())
    default: self = .next
    }
  }
}

// MARK: Reports

extension ClipReport {
  package func message(files: [String]) -> [UInt8] {
    var writer: MessageWriter
    switch self {
    case .confined(let flags):
      writer = MessageWriter(1)
      writer.put(flags)
    case .alive: return [2]
    case .open(let file):
      writer = MessageWriter(3)
      writer.put(file)
    case .event(.begin(let frames)):
      writer = MessageWriter(4)
      writer.put(frames)
    case .event(.frame(let frame)):
      writer = MessageWriter(5)
      for number in [frame.index, frame.width, frame.height, frame.pixelWidth, frame.pixelHeight] { writer.put(number) }
      writer.put(frame.seconds)
      writer.put(frame.preparingSeconds)
      writer.put(frame.pixels) { $0.put($1) }
    case .event(.repeated): return [6]
    case .event(.restart): return [7]
    case .memory(let memory):
      writer = MessageWriter(8)
      writer.put(memory.bytes)
      writer.put(memory.bytesPerThread)
    case .end(let report):
      writer = MessageWriter(9)
      writer.put(report.decodedFrames)
      writer.put(report.rotation)
      writer.put(list: report.warnings) { $0.put($1) }
      writer.put(report.isCounted)
      writer.put(report.framesPerSecond) { $0.put($1) }
    case .failed(let error):
      writer = MessageWriter(10, files: files)
      writer.put(error)
    }
    return writer.bytes
  }

  /// Sizes are checked by whoever asked, who knows what they may be.
  package init(_ bytes: [UInt8], files: [String], name: String) throws(Nonsense) {
    var reader = MessageReader(bytes, files: files, name: name)
    switch reader.kind {
    case 1: self = .confined(try reader.int())
    case 2: self = .alive
    case 3: self = .open(try reader.int())
    case 4: self = .event(.begin(frames: try reader.int()))
    case 5:
      var numbers: [Int] = []
      for _ in 0..<5 { numbers.append(try reader.int()) }
      let seconds = try reader.double()
      let preparing = try reader.double()
      self = .event(
        .frame(
          FrameHead(
            index: numbers[0], seconds: seconds, width: numbers[1], height: numbers[2], pixelWidth: numbers[3], pixelHeight: numbers[4],
            preparingSeconds: preparing, pixels: try reader.optional { (reader) throws(Nonsense) in try reader.part() })))
    case 6: self = .event(.repeated)
    case 7: self = .event(.restart)
    case 8:
      let bytes = try reader.int()
      self = .memory(DecodingMemory(bytes: bytes, bytesPerThread: try reader.int()))
    case 9:
      let (decoded, rotation) = (try reader.int(), try reader.int())
      // What is shown at a terminal.
      let warnings = try reader.list { (reader) throws(Nonsense) in try reader.text().escaped(limit: 4096) }
      let isCounted = try reader.flag()
      self = .end(
        SamplingReport(
          decodedFrames: decoded, rotation: rotation, frames: [], warnings: warnings, isCounted: isCounted,
          framesPerSecond: try reader.optional { (reader) throws(Nonsense) in try reader.double() }))
    case 10: self = .failed(try reader.error())
    default: throw Nonsense()
    }
    try reader.end()
  }
}

// MARK: Errors

extension MessageWriter {
  /// Those that decoding has.
  fileprivate mutating func put(_ error: VideoError) {
    func head(_ kind: Int, _ path: String) {
      put(kind)
      put(files.firstIndex(of: path) ?? -1)
    }
    switch error {
    case .notFound(let path): head(0, path)
    case .unreadable(let path, let reason):
      head(1, path)
      put(reason)
    case .notAFile(let path): head(2, path)
    case .empty(let path): head(3, path)
    case .notVideo(let path, let reason):
      head(4, path)
      put(reason)
    case .noVideoStream(let path, let found):
      head(5, path)
      put(found)
    case .noSuchStream(let path, let stream, let available):
      head(6, path)
      put(stream)
      put(list: available) { $0.put($1) }
    case .unsupportedCodec(let path, let codec):
      head(7, path)
      put(codec)
    case .unsupportedPixels(let path, let format):
      head(8, path)
      put(format)
    case .failedConversion(let path, let width, let height, let format):
      head(9, path)
      put(width)
      put(height)
      put(format)
    case .noFrames(let path, let reason):
      head(10, path)
      put(reason)
    case .noFramesInRange(let path, let start, let end, let first, let last):
      head(11, path)
      put(start) { $0.put($1) }
      put(end) { $0.put($1) }
      put(first)
      put(last)
    case .tooLarge(let path, let width, let height, let limit):
      head(12, path)
      put(width)
      put(height)
      put(limit)
    case .tooManyBytes(let path, let bytes, let limit):
      head(13, path)
      put(bytes)
      put(limit)
    case .unsupportedImage(let path, let reason):
      head(14, path)
      put(reason)
    case .damagedImage(let path, let reason):
      head(15, path)
      put(reason)
    case .changedWhileReading(let path): head(16, path)
    case .outOfMemory: head(17, "")
    default:
      head(18, "")
      put("\(error)")
    }
  }
}

extension MessageReader {
  fileprivate mutating func error() throws(Nonsense) -> VideoError {
    let kind = try int()
    let file = try int()
    let path = files.indices.contains(file) ? files[file] : name
    switch kind {
    case 0: return .notFound(path: path)
    case 1: return .unreadable(path: path, reason: try text())
    case 2: return .notAFile(path: path)
    case 3: return .empty(path: path)
    case 4: return .notVideo(path: path, reason: try text())
    case 5: return .noVideoStream(path: path, found: try text())
    case 6:
      let stream = try int()
      return .noSuchStream(path: path, stream: stream, available: try list { (reader) throws(Nonsense) in try reader.int() })
    case 7: return .unsupportedCodec(path: path, codec: try text())
    case 8: return .unsupportedPixels(path: path, format: try text())
    case 9:
      let (width, height) = (try int(), try int())
      return .failedConversion(path: path, width: width, height: height, format: try text())
    case 10: return .noFrames(path: path, reason: try text())
    case 11:
      let start = try optional { (reader) throws(Nonsense) in try reader.double() }
      let end = try optional { (reader) throws(Nonsense) in try reader.double() }
      let first = try double()
      return .noFramesInRange(path: path, start: start, end: end, first: first, last: try double())
    case 12:
      let (width, height) = (try int(), try int())
      // What the message multiplies.
      guard (0...Int(Int32.max)).contains(width), (0...Int(Int32.max)).contains(height) else { throw Nonsense() }
      return .tooLarge(path: path, width: width, height: height, limit: try int())
    case 13:
      let bytes = try int()
      return .tooManyBytes(path: path, bytes: bytes, limit: try int())
    case 14: return .unsupportedImage(path: path, reason: try text())
    case 15: return .damagedImage(path: path, reason: try text())
    case 16: return .changedWhileReading(path: path)
    case 17: return .outOfMemory
    case 18: return .decoderFailed(path: path, reason: try text())
    default: throw Nonsense()
    }
  }
}

// MARK: The socket

/// One end of the socket between two processes; messages have their length before them, of four bytes.
final class MessageSocket {
  let descriptor: Int32
  private var received: [UInt8] = []
  /// Of the last message that brought one.
  private var brought: Int32 = -1

  /// Closes it at its end.
  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit {
    close(descriptor)
    if brought >= 0 { close(brought) }
  }

  /// False where nobody is there to receive it.
  func send(_ message: [UInt8], with file: Int32 = -1) -> Bool {
    var bytes = withUnsafeBytes(of: UInt32(message.count).littleEndian) { Array($0) }
    bytes += message
    return bytes.withUnsafeBytes { sandbox_send(descriptor, $0.baseAddress, $0.count, file) } == 0
  }

  enum Reception {
    case message([UInt8])
    /// Not all of one is there yet.
    case nothing
    case end
  }

  /// What has come, waiting for it so many milliseconds at most; nil: for as long as it takes. Throws where a message is longer than
  /// `most`. Descriptors are taken where `takesFiles`, and closed elsewhere.
  func receive(most: Int, within milliseconds: Int32?, takesFiles: Bool = false) throws(Nonsense) -> Reception {
    while true {
      if received.count >= 4 {
        let length = received[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length > 0, length <= most else { throw Nonsense() }
        if received.count >= 4 + length {
          let message = Array(received[4..<4 + length])
          received.removeFirst(4 + length)
          return .message(message)
        }
      }
      if let milliseconds {
        let ready = sandbox_wait(descriptor, milliseconds)
        if ready == 0 { return .nothing }
        if ready < 0 { return .end }
      }
      var file: Int32 = -1
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      let got = buffer.withUnsafeMutableBytes { sandbox_receive(descriptor, $0.baseAddress, $0.count, &file, takesFiles ? 1 : 0) }
      if file >= 0 {
        if brought >= 0 { close(brought) }
        brought = file
      }
      guard got > 0 else { return .end }
      received += buffer[..<got]
    }
  }

  /// The descriptor that came; its taker closes it.
  func takeFile() -> Int32? {
    defer { brought = -1 }
    return brought >= 0 ? brought : nil
  }
}
