import CSandbox
import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A clip that another process decodes, from this side: it opens files, takes frames, and believes nothing. That process has read what the
/// clip's author wrote, and may say whatever he likes.
struct RemoteClip {
  private let input: MediaInput
  private let decoder: DecoderProcesses
  private let cancelled: () -> Bool

  init(_ input: MediaInput, _ decoder: DecoderProcesses, cancelled: @escaping () -> Bool) {
    (self.input, self.decoder, self.cancelled) = (input, decoder, cancelled)
  }

  /// Milliseconds between two looks at whether to go on.
  private static let pause: Int32 = 20
  /// Bytes of a message without pixels.
  private static let longest = 1 << 22

  // MARK: Tasks

  func sample(
    _ request: SamplingRequest, preparing: Preprocessing?, _ limits: DecoderLimits, onEvent: (FrameEvent<SampledFrame>) throws -> Void
  ) throws(VideoError) -> SamplingReport {
    let room = preparing.map { 3 * $0.size * $0.size } ?? 3 * Int(LibAV.pixelLimit)
    let memory = Self.sharedMemory(room)
    defer { if let memory { close(memory) } }
    var frames = ReceivedFrames(
      most: request.frames, restarts: input.files.count + 3, preparing: preparing, room: room, memory: memory, path: input.path)
    return try run(
      .sample(request, preparing: preparing, limits, frameBytes: memory.map { _ in room }), with: memory,
      longest: Self.longest + (memory == nil ? room : 0)
    ) { (report, process) throws(Failure) in
      switch report {
      case .event(let event):
        let isFrame = if case .frame = event { true } else { false }
        try frames.take(event, onEvent)
        if isFrame { _ = process.socket.send(ClipAnswer.next.message(files: [])) }
        return nil
      case .end(let report): return try frames.finish(report)
      default: throw .nonsense
      }
    }
  }

  func memory() throws(VideoError) -> DecodingMemory {
    try run(.memory, with: nil, longest: Self.longest) { (report, process) throws(Failure) in
      guard case .memory(let memory) = report, (0...1 << 46).contains(memory.bytes), (0...1 << 46).contains(memory.bytesPerThread) else {
        throw .nonsense
      }
      decoder.keep(process, for: name)
      return memory
    }
  }

  func probe() throws(VideoError) -> DecoderProcesses.Confinement {
    let process = try start(.probe, with: nil)
    var held = DecoderProcesses.Confinement(filtersCalls: false, hasLandlock: false)
    while true {
      switch try next(process, longest: Self.longest) {
      case .report(.confined(let flags)): held.hasLandlock = flags & Int(sandbox_has_landlock) != 0
      // It got what it asked for.
      case .report(.alive): return held
      case .end(.signal(SIGSYS)):
        held.filtersCalls = true
        return held
      case .report: throw failed("it says what makes no sense")
      case .end(let end): throw failed(Self.words(end, decoder))
      }
    }
  }

  /// Which clip it is: none but this one is shown to a process.
  private var name: String { "\(input.files)" }

  // MARK: The conversation

  enum Failure: Error {
    case nonsense
    case failed(VideoError)
  }

  private enum News {
    case report(ClipReport)
    case end(ClipProcess.End)
  }

  /// Until `take` returns something. What the process needs meanwhile is seen to.
  private func run<Result>(
    _ task: ClipOrder.Task, with memory: Int32?, longest: Int,
    take: (ClipReport, ClipProcess) throws(Failure) -> Result?
  ) throws(VideoError) -> Result {
    var process = try start(task, with: memory)
    var (hasSpoken, isSecond) = (false, false)
    // One that only says that it is at work ends too.
    var left = 2 * Double(decoder.seconds) + decoder.patience
    while true {
      let asked = monotonicSeconds()
      let news = try next(process, longest: longest)
      left -= monotonicSeconds() - asked
      if left < 0 { throw failed("its decoder takes more than twice the \(decoder.seconds) seconds that it may") }
      if case .report = news { hasSpoken = true }
      switch news {
      case .end where !hasSpoken && !isSecond:
        // It was not the clip that ended it, which it has not seen: it was there already and came to harm.
        (process, isSecond) = (try start(task, with: memory), true)
      case .report(.confined), .report(.alive): continue
      case .report(.open(let file)):
        guard input.files.indices.contains(file) else { throw failed(Self.nonsense) }
        answer(process, file)
      case .report(.failed(.outOfMemory)):
        // The system's own limit is told as it is where nobody else decodes.
        if let limit = ownLimit { throw failed("it takes more than the \(formatBytes(limit)) of memory that it may") }
        throw .outOfMemory
      case .report(.failed(let error)): throw error
      case .report(let report):
        do throws(Failure) {
          if let result = try take(report, process) { return result }
        } catch {
          switch error {
          case .nonsense: throw failed(Self.nonsense)
          case .failed(let error): throw error
          }
        }
      case .end(let end): throw failed(Self.words(end, decoder))
      }
    }
  }

  private func start(_ task: ClipOrder.Task, with memory: Int32?) throws(VideoError) -> ClipProcess {
    do throws(SystemError) {
      let process = if let waiting = decoder.take(name) { waiting } else { try decoder.start() }
      let order = ClipOrder(input: input, task: task)
      // Where nobody is there to receive it, that is seen when it does not answer.
      _ = process.socket.send(order.message(), with: memory ?? -1)
      return process
    } catch { throw failed("no process can be started for it: \(error.message)") }
  }

  /// The next thing that it says, or its end.
  private func next(_ process: ClipProcess, longest: Int) throws(VideoError) -> News {
    let start = monotonicSeconds()
    while true {
      if cancelled() { throw .cancelled }
      do throws(Nonsense) {
        switch try process.socket.receive(most: longest, within: Self.pause) {
        case .message(let bytes): return .report(try ClipReport(bytes, files: input.files, name: input.path))
        case .end: return .end(process.end())
        case .nothing: break
        }
      } catch { throw failed(Self.nonsense) }
      if monotonicSeconds() - start > decoder.patience {
        throw failed("its decoder gives no sign for \(Int(decoder.patience.rounded(.up))) seconds")
      }
    }
  }

  private func answer(_ process: ClipProcess, _ file: Int) {
    do throws(VideoError) {
      let opened = try FileAccess.byName(input.files[file])
      defer { close(opened.descriptor) }
      _ = process.socket.send(ClipAnswer.file(size: opened.size).message(files: []), with: opened.descriptor)
    } catch { _ = process.socket.send(ClipAnswer.refused(error).message(files: input.files)) }
  }

  // MARK: What went wrong

  private static let nonsense = "its decoder says what makes no sense"

  private func failed(_ reason: String) -> VideoError { .decoderFailed(path: input.path, reason: reason) }

  private static func words(_ end: ClipProcess.End, _ decoder: DecoderProcesses) -> String {
    switch end {
    case .signal(SIGSYS): "its decoder was ended, for it asked the system for what no decoder needs"
    case .signal(SIGXCPU): "it takes more than the \(decoder.seconds) seconds of processor time that it may"
    case .signal(SIGKILL): "its decoder was killed, perhaps by the system for want of memory"
    // What ends a program that gets no memory.
    case .signal(let signal) where [SIGILL, SIGTRAP, SIGABRT].contains(signal):
      "its decoder crashed, perhaps for want of memory (signal \(signal))"
    case .signal(let signal): "its decoder crashed (signal \(signal))"
    case .exit(let status): "its decoder ended before its time (status \(status))"
    case .unknown: "its decoder cannot be started, or was ended with all others: \(decoder.program.escaped())"
    }
  }

  /// Bytes that a decoder may take, where that is not the system's own limit for this process too.
  private var ownLimit: Int? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur == rlim_t.max else { return nil }
    return decoder.memoryLimit
  }

  /// nil where the system gives none, or files of this process may not become so long; it would be ended by a signal for it.
  private static func sharedMemory(_ bytes: Int) -> Int32? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0, limit.rlim_cur >= rlim_t(bytes) else { return nil }
    let memory = sandbox_memory(bytes)
    return memory >= 0 ? memory : nil
  }
}

/// The frames of one sampling as they come, each checked against what was asked for.
private struct ReceivedFrames {
  /// At most.
  let most: Int
  var restarts: Int
  let preparing: Preprocessing?
  /// Bytes of a frame, at most.
  let room: Int
  let memory: Int32?
  let path: String
  private var begun: Int?
  private var delivered: [SamplingReport.Frame] = []

  init(most: Int, restarts: Int, preparing: Preprocessing?, room: Int, memory: Int32?, path: String) {
    (self.most, self.restarts, self.preparing, self.room, self.memory, self.path) = (most, restarts, preparing, room, memory, path)
  }

  mutating func take(
    _ event: FrameEvent<ClipReport.FrameHead>, _ onEvent: (FrameEvent<SampledFrame>) throws -> Void
  ) throws(RemoteClip.Failure) {
    switch event {
    case .begin(let frames):
      guard begun == nil, (1...most).contains(frames) else { throw .nonsense }
      begun = frames
      try send(.begin(frames: frames), onEvent)
    case .restart:
      guard begun != nil, restarts > 0 else { throw .nonsense }
      restarts -= 1
      (begun, delivered) = (nil, [])
      try send(.restart, onEvent)
    case .repeated:
      guard let last = delivered.last, delivered.count < begun ?? 0 else { throw .nonsense }
      delivered.append(last)
      try send(.repeated, onEvent)
    case .frame(let head):
      guard delivered.count < begun ?? 0, head.index > delivered.last?.index ?? -1 else { throw .nonsense }
      delivered.append(.init(index: head.index, seconds: head.seconds, width: head.width, height: head.height))
      try send(.frame(try frame(head)), onEvent)
    }
  }

  private func frame(_ head: ClipReport.FrameHead) throws(RemoteClip.Failure) -> SampledFrame {
    let sides = 1...Int(LibAV.pixelLimit)
    guard sides.contains(head.width), sides.contains(head.height), head.width * head.height <= Int(LibAV.pixelLimit),
      sides.contains(head.pixelWidth), sides.contains(head.pixelHeight), 3 * head.pixelWidth * head.pixelHeight <= room,
      preparing.map({ head.pixelWidth == $0.size && head.pixelHeight == $0.size })
        ?? (head.pixelWidth == head.width && head.pixelHeight == head.height)
    else { throw .nonsense }
    let count = 3 * head.pixelWidth * head.pixelHeight
    let pixels: [UInt8]
    if let memory {
      guard head.pixels == nil else { throw .nonsense }
      do throws(VideoError) { try LibAV.reserve(count) } catch { throw .failed(error) }
      // Copied out: what is looked at must not change meanwhile.
      pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        filled = (try? SystemCalls.read(memory, into: UnsafeMutableRawBufferPointer(buffer), at: 0)) ?? 0
      }
    } else {
      pixels = head.pixels ?? []
    }
    guard pixels.count == count else { throw .nonsense }
    var frame = SampledFrame(
      index: head.index, seconds: head.seconds,
      image: RGBImage(checkedWidth: head.pixelWidth, height: head.pixelHeight, pixels: pixels), width: head.width, height: head.height)
    frame.preparingSeconds = head.preparingSeconds.isFinite ? min(max(head.preparingSeconds, 0), 3600) : 0
    return frame
  }

  private func send(
    _ event: FrameEvent<SampledFrame>, _ onEvent: (FrameEvent<SampledFrame>) throws -> Void
  ) throws(RemoteClip.Failure) {
    do { try onEvent(event) } catch { throw .failed((error as? VideoError) ?? .consumerFailed(error)) }
  }

  func finish(_ report: SamplingReport) throws(RemoteClip.Failure) -> SamplingReport {
    guard let begun, delivered.count == begun, let last = delivered.last, report.decodedFrames > last.index,
      (-360...360).contains(report.rotation)
    else { throw .nonsense }
    return SamplingReport(
      decodedFrames: report.decodedFrames, rotation: report.rotation, frames: delivered, warnings: report.warnings,
      isCounted: report.isCounted, framesPerSecond: report.framesPerSecond)
  }
}
