import CSandbox
import Support
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Clips decoded in processes of their own, which have no network and no file but the clip's, and limits of memory and time: what a decoder
/// is made to do by the clip that it reads stays there, and one that dies or hangs is an error that names the clip.
///
/// The processes are a program's that calls `serveIfAsked` before anything else, as the command `slowfast` does. One of them is started
/// when the first clip is decoded, or by `prepare`, and has a child for each clip.
public final class DecoderProcesses: Sendable {
  /// What decodes the clips that are opened from now on; nil, unless a program sets it: the process that opens them.
  public static var standard: DecoderProcesses? {
    get { shared.withLock { $0 } }
    set { shared.withLock { $0 = newValue } }
  }
  private static let shared = Mutex<DecoderProcesses?>(nil)

  /// The file of the program; by default that of the one that is running.
  public let program: String
  /// Bytes that decoding one clip may take; nil: what the system has free when it begins, and at least a gibibyte.
  public let memory: Int?
  /// Seconds of processors' time that decoding one clip may take. About twice as long it is waited for.
  public let seconds: Int
  /// Seconds after which a process that gives no sign is given up.
  public let patience: Double

  /// What the process that stays takes by itself, and one of a clip: measured as what is theirs alone.
  static let processBytes = 16 << 20

  /// Whoever starts children: its number, and our end of what it is told over.
  private struct Nursery {
    var process: pid_t
    var control: Int32
  }
  private let nursery = Mutex<Nursery?>(nil)
  /// Of clips that were looked at, by what they are, and will be decoded soon: the one looked at first is given up for a further one.
  private let waiting = Mutex<[(clip: String, process: ClipProcess)]>([])
  private static let mostWaiting = 2

  /// Nothing is started yet.
  public init(program: String? = nil, memory: Int? = nil, seconds: Int = 4 * 3600, patience: Double = 120) {
    self.program = program ?? Self.own
    (self.memory, self.seconds, self.patience) = (memory, seconds, patience)
  }

  /// Also what was replaced meanwhile; where /proc is not there, by the name that it was started with.
  private static var own: String {
    let link = "/proc/self/exe"
    return access(link, X_OK) == 0 ? link : sandbox_own_name().map { String(cString: $0) } ?? link
  }

  deinit { nursery.withLock { Self.end(&$0) } }

  /// Starts what has to be there before a first clip, and does not wait for it.
  public func prepare() { nursery.withLock { nursery in if nursery == nil { nursery = try? started() } } }

  /// For one clip that is begun now.
  var memoryLimit: Int { memory ?? max(1 << 30, Resources.availableMemory() ?? 1 << 32) }

  /// Of the process that stays, where it was started.
  package var process: Int32? { nursery.withLock { $0?.process } }

  // MARK: The program's other life

  private static let word = "decode-clips"

  /// To be called first of all: in a process that another one has started to decode clips it does that, and never returns.
  public static func serveIfAsked() {
    // Of another version nothing would be understood.
    let arguments = CommandLine.systemArguments
    guard arguments.count == 2, arguments[0] == word else { return }
    guard arguments[1] == SlowFastVersion.current else { exit(1) }
    let task = sandbox_serve { ClipService.prepare() }
    ClipService(MessageSocket(task.socket), held: Int(task.held)).run()
    _exit(0)
  }

  // MARK: Children

  /// A process for one clip. Throws what the system said.
  func start() throws(SystemError) -> ClipProcess {
    var (clip, status) = ([Int32](repeating: -1, count: 2), [Int32](repeating: -1, count: 2))
    var code = sandbox_stream_pair(&clip)
    if code == 0 { code = sandbox_stream_pair(&status) }
    if code == 0 { code = ask(clip[1], status[1]) }
    for descriptor in [clip[1], status[1]] where descriptor >= 0 { close(descriptor) }
    guard code == 0 else {
      for descriptor in [clip[0], status[0]] where descriptor >= 0 { close(descriptor) }
      throw SystemError(code)
    }
    return ClipProcess(MessageSocket(clip[0]), status: status[0])
  }

  /// A process that has looked at this clip already.
  func take(_ clip: String) -> ClipProcess? {
    waiting.withLock { waiting in
      waiting.firstIndex { $0.clip == clip }.map { waiting.remove(at: $0).process }
    }
  }

  /// Keeps a process that has looked at a clip, and at no other.
  func keep(_ process: ClipProcess, for clip: String) {
    waiting.withLock { waiting in
      if waiting.count == Self.mostWaiting { waiting.removeFirst() }
      waiting.append((clip, process))
    }
  }

  private func ask(_ clip: Int32, _ status: Int32) -> Int32 {
    nursery.withLock { nursery in
      // One that died is started again.
      for _ in 0..<2 {
        do throws(SystemError) {
          if nursery == nil { nursery = try started() }
        } catch { return error.code }
        guard let control = nursery?.control else { break }
        let code = sandbox_ask(control, clip, status, UInt64(clamping: memoryLimit), UInt64(clamping: seconds))
        if code != EPIPE, code != ECONNRESET { return code }
        Self.end(&nursery)
      }
      return ECHILD
    }
  }

  private func started() throws(SystemError) -> Nursery {
    var ends = [Int32](repeating: -1, count: 2)
    let code = sandbox_packet_pair(&ends)
    if code != 0 { throw SystemError(code) }
    defer { close(ends[1]) }
    let control = ends[1]
    let process = program.withFileName { program in
      Self.word.withCString { word in
        SlowFastVersion.current.withCString { version in sandbox_execute(program, word, version, control) }
      }
    }
    guard process > 0 else {
      close(ends[0])
      throw SystemError(-process)
    }
    return Nursery(process: process, control: ends[0])
  }

  /// It ends when nobody is there to ask it; it and its children are gone soon.
  private static func end(_ nursery: inout Nursery?) {
    guard let old = nursery else { return }
    close(old.control)
    kill(old.process, SIGKILL)
    while waitpid(old.process, nil, 0) < 0, errno == EINTR {}
    nursery = nil
  }

  /// What holds the processes.
  public struct Confinement: Sendable, Equatable {
    /// Calls of the system that decoding does not need end the process. Seen at work, not taken from what the system says.
    public var filtersCalls: Bool
    /// No path can be opened, whatever the filter lets through.
    public var hasLandlock: Bool
  }

  /// Starts one that tries to get out.
  public func confinement() throws(SlowFastError) -> Confinement {
    let clip = RemoteClip(
      MediaInput(path: program, kind: .video, leftOut: [], shortClip: 0), self, cancelled: { false })
    return try classified { () throws(VideoError) in try clip.probe() }
  }
}

/// The process of one clip, seen from the one that asked for it. It is gone when this is. Whoever has it is its only user.
final class ClipProcess: @unchecked Sendable {
  let socket: MessageSocket
  private let status: Int32

  init(_ socket: MessageSocket, status: Int32) { (self.socket, self.status) = (socket, status) }

  deinit { close(status) }

  enum End {
    case signal(Int32)
    case exit(Int32)
    /// Whoever started it is gone as well.
    case unknown
  }

  /// What became of it, now that it says nothing more.
  func end() -> End {
    var value: Int32 = 0
    guard sandbox_wait(status, 5000) > 0,
      withUnsafeMutableBytes(of: &value, { sandbox_receive(status, $0.baseAddress, $0.count, nil, 0) }) == 4
    else { return .unknown }
    let signal = sandbox_is_signalled(value)
    return signal != 0 ? .signal(signal) : .exit(sandbox_exit_status(value))
  }
}
