import CSandbox
import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The process that decodes one clip, from its own side: it is confined, takes the order, and does it.
final class ClipService {
  private let socket: MessageSocket
  private var files: [String] = []
  private var places: [String: Int] = [:]
  private var name = ""
  /// When it last said something.
  private var lastSign = 0.0
  private var shared: SharedFrame?
  /// What holds it, as flags, until that is told.
  private var held: Int?

  init(_ socket: MessageSocket, held: Int) { (self.socket, self.held) = (socket, held) }

  /// Decodes a film of this program's own: tables are made, functions found and pages there before a clip is.
  static func prepare() {
    let film = PackageResources.small_mp4
    let name = "small.mp4"
    let access = FileAccess(open: { (_) throws(VideoError) in
      let memory = sandbox_memory(film.count)
      guard memory >= 0 else { throw .outOfMemory }
      film.withUnsafeBytes { bytes in _ = try? SystemCalls.write(bytes, to: memory, at: 0) }
      return FileAccess.File(descriptor: memory, size: Int64(film.count))
    })
    let input = MediaInput(path: name, kind: .video, leftOut: [], shortClip: 1 << 20)
    let limits = DecoderLimits(threads: 1, memory: nil)
    guard let preprocessing = try? Preprocessing(size: 24) else { return }
    let request = SamplingRequest(frames: 3)
    let order = ClipOrder(input: input, task: .sample(request, preparing: preprocessing, limits, frameBytes: nil))
    guard let order = try? ClipOrder(order.message()) else { return }
    let sink = FrameSink(preparing: preprocessing) { event in
      guard case .frame(let frame) = event else { return }
      let report = ClipReport.event(.frame(.init(frame, pixels: nil)))
      _ = report.message(files: [name])
    }
    _ = try? order.input.run(request, limits, sink, access)
  }

  /// A clip is looked at, and then perhaps decoded; it is always the same.
  func run() { while let message = receive(), let order = try? ClipOrder(message) { run(order) } }

  private func run(_ order: ClipOrder) {
    files = order.input.files
    name = order.input.path
    for (place, file) in files.enumerated() where places[file] == nil { places[file] = place }
    if case .sample(_, _, _, .some(let bytes)) = order.task {
      guard let memory = socket.takeFile() else { return }
      shared = SharedFrame(memory, limit: bytes)
    }
    if let held { say(.confined(held)) }
    held = nil
    let access = FileAccess(
      open: { [self] (path) throws(VideoError) in try open(path) },
      cancelled: { [self] in
        if monotonicSeconds() - lastSign > 1 { say(.alive) }
        return false
      })
    do throws(VideoError) {
      switch order.task {
      case .probe:
        _ = sandbox_try_socket()
        say(.alive)
      case .memory: say(.memory(try order.input.memory(access)))
      case .sample(let request, let preparing, let limits, _):
        let sink = FrameSink(preparing: preparing) { [self] event in try hand(event) }
        say(.end(try order.input.run(request, limits, sink, access)))
      }
    } catch { say(.failed(error)) }
  }

  /// Whoever asked is gone where it cannot be told.
  private func say(_ report: ClipReport) {
    lastSign = monotonicSeconds()
    if !socket.send(report.message(files: files)) { _exit(0) }
  }

  private func receive() -> [UInt8]? {
    guard case .message(let bytes)? = try? socket.receive(most: Int(UInt32.max), within: nil, takesFiles: true) else { return nil }
    return bytes
  }

  private func answer() -> ClipAnswer {
    guard let message = receive(), let answer = try? ClipAnswer(message, files: files, name: name) else { _exit(0) }
    return answer
  }

  private func open(_ path: String) throws(VideoError) -> FileAccess.File {
    guard let place = places[path] else { throw .notFound(path: path) }
    say(.open(place))
    while true {
      switch answer() {
      case .file(let size):
        guard let descriptor = socket.takeFile() else { _exit(1) }
        return FileAccess.File(descriptor: descriptor, size: size)
      case .refused(let error): throw error
      // Of the frame before.
      case .next: isWaiting = false
      }
    }
  }

  /// A frame before has been handed over, and not been taken yet.
  private var isWaiting = false

  private func hand(_ event: FrameEvent<SampledFrame>) throws(VideoError) {
    let frame: SampledFrame
    switch event {
    case .begin(let frames): return say(.event(.begin(frames: frames)))
    case .repeated: return say(.event(.repeated))
    case .restart: return say(.event(.restart))
    case .frame(let next): frame = next
    }
    if isWaiting {
      guard case .next = answer() else { _exit(1) }
    }
    isWaiting = true
    let image = frame.image
    let pixels: [UInt8]?
    if let shared {
      try shared.fill(image.pixels)
      pixels = nil
    } else {
      pixels = image.pixels
    }
    say(.event(.frame(.init(frame, pixels: pixels))))
  }
}

extension ClipReport.FrameHead {
  fileprivate init(_ frame: SampledFrame, pixels: [UInt8]?) {
    self.init(
      index: frame.index, seconds: frame.seconds, width: frame.width, height: frame.height, pixelWidth: frame.image.width,
      pixelHeight: frame.image.height, preparingSeconds: frame.preparingSeconds, pixels: pixels)
  }
}

/// The memory that a frame's pixels are handed over in.
private final class SharedFrame {
  private let descriptor: Int32
  private let limit: Int
  private var start: UnsafeMutableRawPointer?
  private var count = 0

  init(_ descriptor: Int32, limit: Int) { (self.descriptor, self.limit) = (descriptor, limit) }

  func fill(_ bytes: [UInt8]) throws(VideoError) {
    precondition(bytes.count <= limit, "no picture is larger")
    if bytes.count > count {
      // No more of it is mapped than is needed: addresses may be limited.
      if let start { munmap(start, count) }
      start = mmap(nil, bytes.count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
      count = start == MAP_FAILED ? 0 : bytes.count
      if count == 0 { start = nil }
    }
    guard let start else { throw .outOfMemory }
    bytes.withUnsafeBytes { source in if let base = source.baseAddress { start.copyMemory(from: base, byteCount: source.count) } }
  }
}
