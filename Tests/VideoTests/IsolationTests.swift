import Foundation
import Support
import TestSupport
import Testing
import Video

/// Clips decoded in processes of their own: the same frames and the same errors, and whatever happens to such a process is an error that
/// names the clip.
@Suite struct IsolationTests {
  /// The command, which lies beside this test's own program.
  static let program =
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path + "/slowfast"
  private static let processes = DecoderProcesses(program: program)

  static func files(_ folder: String = "") throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: TestClips.path(folder)).sorted().map { folder.isEmpty ? $0 : "\(folder)/\($0)" }
      .filter { !$0.hasSuffix(".py") && !$0.hasSuffix(".json") }
  }

  /// All that sampling gives, or why it gives nothing, as text and pixels.
  private static func all(
    _ input: MediaInput, _ decoder: DecoderProcesses?, _ request: SamplingRequest, _ preparing: Preprocessing? = nil
  ) -> [String] {
    var (input, said) = (input, [String]())
    input.decoder = decoder
    do {
      let report = try input.sample(request, preparing: preparing, threads: 2) { event in
        switch event {
        case .begin(let frames): said.append("begin \(frames)")
        case .restart: said.append("restart")
        case .repeated: said.append("repeated")
        case .frame(let frame):
          var hash = Hasher()
          hash.combine(frame.image.pixels)
          said.append(
            "\(frame.index) \(frame.seconds) \(frame.width)×\(frame.height) \(frame.image.width)×\(frame.image.height) \(hash.finalize())")
        }
      }
      said.append("\(report.decodedFrames) \(report.rotation) \(report.warnings) \(report.isCounted) \(report.framesPerSecond ?? -1)")
      said += report.frames.map { "\($0)" }
    } catch { said.append("\(error)") }
    return said
  }

  private static func expectSame(_ path: String, _ request: SamplingRequest, _ preparing: Preprocessing? = nil) throws {
    let input = try MediaInput(path: path)
    #expect(all(input, processes, request, preparing) == all(input, nil, request, preparing), "\(path)")
  }

  @Test(arguments: try files() + files("films") + files("damaged") + ["../../Clips/nasa.mp4", "../../Clips/levels.ts"])
  func sameFrames(_ name: String) throws {
    let path = TestClips.path(name)
    guard (try? MediaInput(path: path)) != nil else { return }
    try Self.expectSame(path, SamplingRequest(frames: 5))
    try Self.expectSame(path, SamplingRequest(frames: 7, rule: .rate(2)), try Preprocessing(size: 48, fit: .longest(64)))
  }

  @Test(arguments: try files("images") + files("large")) func samePictures(_ name: String) throws {
    guard name != "large/p132.png" else { return }
    try Self.expectSame(TestClips.path(name), SamplingRequest(frames: 1))
  }

  @Test func sameErrors() throws {
    let path = TestClips.path("b_frames.mp4")
    try Self.expectSame(path, SamplingRequest(frames: 5, start: 1000))
    try Self.expectSame(path, SamplingRequest(frames: 5, start: 0.2, end: 0.6))
    try Self.expectSame(path, SamplingRequest(frames: 5, stream: 7))
    try Self.expectSame(path, SamplingRequest(frames: 0))
    let directory = try TemporaryDirectory()
    for (name, text) in [("empty", ""), ("text.mp4", "no film"), ("list.mp4", "ffconcat version 1.0\nfile other.mp4\n")] {
      let path = try directory.write(name, Data(text.utf8))
      guard let input = try? MediaInput(path: path) else { continue }
      #expect(Self.all(input, Self.processes, SamplingRequest(frames: 2)) == Self.all(input, nil, SamplingRequest(frames: 2)))
    }
    // Gone since it was looked at.
    let gone = try directory.write("gone.mp4", Data(contentsOf: URL(fileURLWithPath: path)))
    let input = try MediaInput(path: gone)
    try FileManager.default.removeItem(atPath: gone)
    #expect(Self.all(input, Self.processes, SamplingRequest(frames: 2)) == ["\(gone): no such file or directory"])
  }

  /// Some of the pictures are broken: each is left out, and all begins again.
  @Test func sameDirectory() throws {
    let directory = try TemporaryDirectory()
    for number in 0..<6 {
      var picture = try Data(contentsOf: URL(fileURLWithPath: TestClips.path("four_colours.png")))
      if number % 3 == 1 { picture = picture.prefix(60) }
      _ = try directory.write("\(number).png", picture)
    }
    _ = try directory.write("note.txt", Data("no picture".utf8))
    let input = try MediaInput(path: directory.path)
    let said = Self.all(input, Self.processes, SamplingRequest(frames: 4))
    #expect(said == Self.all(input, nil, SamplingRequest(frames: 4)))
    #expect(said.contains("restart") && said.contains { $0.contains("left out: ") })
  }

  @Test(arguments: ["b_frames.mp4", "four_colours.png"]) func sameMemoryAndTheProcess(_ name: String) throws {
    var input = try MediaInput(path: TestClips.path(name))
    input.decoder = nil
    let here = try input.decodingMemory()
    input.decoder = Self.processes
    let there = try input.decodingMemory()
    #expect(there.bytes > here.bytes && there.bytes < here.bytes + 64 << 20 && there.bytesPerThread == here.bytesPerThread)
    // By the process that has looked at it.
    #expect(Self.all(input, Self.processes, SamplingRequest(frames: 3)) == Self.all(input, nil, SamplingRequest(frames: 3)))
  }

  // MARK: What can happen to a process

  /// Children of a process.
  private static func children(of process: Int32) -> [Int32] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { Int32($0) }.filter {
      guard let status = try? String(contentsOfFile: "/proc/\($0)/stat", encoding: .utf8), let end = status.lastIndex(of: ")") else {
        return false
      }
      return status[end...].split(separator: " ").dropFirst(2).first.flatMap { Int32($0) } == process
    }
  }

  private static let clip = TestClips.path("b_frames.mp4")

  private static func input(_ decoder: DecoderProcesses, _ path: String = clip) throws -> MediaInput {
    var input = try MediaInput(path: path)
    input.decoder = decoder
    return input
  }

  /// A signal in the middle of a clip; those of the spare child too, so that the next clip needs a new one.
  @Test(arguments: [SIGKILL, SIGSEGV, SIGSYS, SIGABRT]) func killed(_ signal: Int32) throws {
    let processes = DecoderProcesses(program: Self.program)
    let input = try Self.input(processes)
    let error = videoError {
      _ = try input.sample(SamplingRequest(frames: 12)) { event in
        guard case .frame = event else { return }
        for child in Self.children(of: try #require(processes.process)) { kill(child, signal) }
      }
    }
    let said = "\(try #require(error))"
    #expect(said.hasPrefix("\(Self.clip): not decoded: its decoder "), "\(said)")
    if signal == SIGSEGV { #expect(said.hasSuffix("crashed (signal 11)")) }
    if signal == SIGSYS { #expect(said.contains("asked the system for what no decoder needs")) }
    #expect(Self.all(input, processes, SamplingRequest(frames: 3)) == Self.all(input, nil, SamplingRequest(frames: 3)))
  }

  /// The process that starts the others.
  @Test func theNurseryIsKilled() throws {
    let processes = DecoderProcesses(program: Self.program)
    let input = try Self.input(processes)
    let error = videoError {
      _ = try input.sample(SamplingRequest(frames: 12)) { event in
        guard case .frame = event else { return }
        kill(try #require(processes.process), SIGKILL)
        // Its children go with it, but not at once.
        usleep(100_000)
      }
    }
    #expect("\(try #require(error))".hasPrefix("\(Self.clip): not decoded: "))
    #expect(Self.all(input, processes, SamplingRequest(frames: 3)) == Self.all(input, nil, SamplingRequest(frames: 3)))
  }

  @Test func stopped() throws {
    let processes = DecoderProcesses(program: Self.program, patience: 0.5)
    let input = try Self.input(processes)
    let error = videoError {
      _ = try input.sample(SamplingRequest(frames: 12)) { event in
        guard case .frame = event else { return }
        for child in Self.children(of: try #require(processes.process)) { kill(child, SIGSTOP) }
      }
    }
    #expect("\(try #require(error))" == "\(Self.clip): not decoded: its decoder gives no sign for 1 seconds")
    // It is gone although it was stopped.
    let start = Date()
    while Self.children(of: try #require(processes.process)).count > 1, Date().timeIntervalSince(start) < 300 { usleep(10_000) }
    #expect(Self.children(of: try #require(processes.process)).count <= 1)
  }

  @Test func cancelled() throws {
    let processes = DecoderProcesses(program: Self.program)
    let input = try Self.input(processes)
    let stop = Flag()
    let error = videoError {
      _ = try input.sample(SamplingRequest(frames: 12), cancelled: { stop.isSet }) { event in if case .frame = event { stop.isSet = true } }
    }
    guard case .cancelled? = error else { return #expect(Bool(false), "\(String(describing: error))") }
  }

  private final class Flag: @unchecked Sendable { var isSet = false }

  @Test func theCallersErrorComesBack() throws {
    struct Refused: Error {}
    let error = videoError { _ = try Self.input(Self.processes).sample(SamplingRequest(frames: 2)) { _ in throw Refused() } }
    guard case .consumerFailed(is Refused)? = error else { return #expect(Bool(false), "\(String(describing: error))") }
  }

  @Test(.enabled(if: !isEmulated, "an emulator does not pass this limit on")) func memoryLimit() throws {
    let processes = DecoderProcesses(program: Self.program, memory: 128 << 20)
    let path = TestClips.path("large/v4k.mp4")
    let said = "\(try #require(videoError { _ = try Self.input(processes, path).sample(SamplingRequest(frames: 2)) { _ in } }))"
    #expect(said.hasPrefix("\(path): not decoded: ") && said.contains("memory"), "\(said)")
    #expect(Self.all(try Self.input(processes), processes, SamplingRequest(frames: 3)).count > 3)
  }

  /// The largest picture that is taken: more than a second in any build.
  @Test func timeLimit() throws {
    let path = TestClips.path("large/p132.png")
    let input = try Self.input(DecoderProcesses(program: Self.program, seconds: 1), path)
    let said = "\(try #require(videoError { _ = try input.sample(SamplingRequest(frames: 1)) { _ in } }))"
    #expect(said == "\(path): not decoded: it takes more than the 1 seconds of processor time that it may")
  }

  @Test(.enabled(if: !isEmulated, "an emulator does not tell that a program is not there")) func noProgram() throws {
    let said = { (program: String) in
      "\(try #require(videoError { _ = try Self.input(.init(program: program)).sample(SamplingRequest(frames: 1)) { _ in } }))"
    }
    #expect(try said("/none/slowfast") == "\(Self.clip): not decoded: no process can be started for it: No such file or directory")
    #expect(try said("/bin/true").hasPrefix("\(Self.clip): not decoded: "))
  }

  /// A process that tries to get out is ended by the system.
  @Test(.enabled(if: hasSeccomp, "no seccomp")) func confined() throws { #expect(try Self.processes.confinement().filtersCalls) }

  private static let hasSeccomp = {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    // An emulator shows the system's own file and has no filter.
    return status.contains("Seccomp:") && !isEmulated
  }()

  /// One program at a time, by something that knows only what it needs of the system.
  private static let isEmulated = ProcessInfo.processInfo.environment["SLOWFAST_TEST_EMULATED"] != nil
}
