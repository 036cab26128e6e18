import ArgumentParser
import Foundation
import SlowFast
import Support
import Synchronization

struct WatchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch",
    abstract: "Ask about the newest frames of a camera or a stream, again and again.",
    usage: "slowfast watch MODEL SOURCE -q QUESTION [OPTIONS]",
    discussion: """
        slowfast watch model.sfq rtsp://192.168.1.20/stream1 \\
          -q "Is there a person at the door?" --choices yes,no --changes
        slowfast watch model.sfq /dev/video0 -q "What happens?" --json

      Takes a frame every few seconds, and answers about the newest ones: each answer is a line with the time of the newest frame. While \
      one answer is made, frames go on being taken; the next is about the newest then. The source is an address (rtsp://, udp://, tcp://, \
      srt://, rtmp://, http:// and others), a camera as /dev/video0, or a file that is being written. When it breaks off or ends, it is \
      connected to again, and what happened is told. Ctrl-C ends it.
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Argument(help: "A stream's address, a camera as /dev/video0, or a file that is being written.", completion: .file())
  var source: String
  @Option(name: [.short, .long], help: "What to ask; @FILE is read from a file, - from standard input.")
  var question: String
  @Option(help: "Seconds between two frames.")
  var every = LiveOptions().every
  @Option(help: "Frames that a question is about. Default: the model's own number.")
  var window: Int?
  @Flag(help: "Print an answer only where it differs from the one before.")
  var changes = false
  @Option(help: "Stop after so many answers. Default: never.")
  var count: Int?
  @OptionGroup var fastFrames: FastFramesArguments
  @OptionGroup var cacheBits: CacheBitsArguments
  @OptionGroup var reuse: FrameReuseArguments
  @OptionGroup var streamCache: StreamCacheArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var session: SessionArguments
  @OptionGroup var modelOptions: ModelArguments
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func validate() throws {
    if let count, count < 1 { throw ValidationError("--count is \(count), expected at least 1") }
  }

  func run() throws {
    try generation.check(isJSON: format.json)
    guard let asked = try QuestionText.read([question]).first else { return }
    let source = try LiveSource(source)
    let opened = try modelOptions.open(model)
    var options = session.options
    modelOptions.apply(to: &options)
    options.fastFrames = fastFrames.fastFrames
    options.cacheBits = cacheBits.cacheBits
    options.reuse = reuse.reuse
    options.streamCache = streamCache.streamCache
    options.keepsWeights = true
    let runner = try ModelRunner(opened, options: options)
    var live = LiveOptions()
    // The question follows at once.
    (live.every, live.window, live.readsAhead) = (every, window, false)
    let watch = try runner.watch(source, options: live)
    let generationOptions = try generation.options(defaults: opened.generationDefaults)
    try generationOptions.validate()
    let answers = LiveAnswers(
      watch: watch, runner: runner, question: asked, options: generationOptions, every: every, isJSON: format.json, onlyChanges: changes,
      limit: count ?? .max, progress: ProgressLine(display, isJSON: format.json))
    try Self.wait { try await answers.run() }
  }

  /// Until it is done, or interrupted.
  private static func wait(_ body: @escaping @Sendable () async throws -> Void) throws {
    let result = Mutex<Result<Void, any Error>>(.success(()))
    let end = DispatchSemaphore(value: 0)
    let work = Task {
      do { try await body() } catch { result.withLock { $0 = .failure(error) } }
      end.signal()
    }
    while end.wait(timeout: .now() + .milliseconds(50)) == .timedOut { if Interrupt.isRequested { work.cancel() } }
    try result.withLock { try $0.get() }
    if Interrupt.isRequested { throw SlowFastError.cancelled }
  }
}

/// Asks about each window that is there when the answer before is done.
private struct LiveAnswers: Sendable {
  let watch: LiveWatch
  let runner: ModelRunner
  let question: String
  let options: GenerationOptions
  let every: Double
  let isJSON: Bool
  let onlyChanges: Bool
  let limit: Int
  let progress: ProgressLine

  func run() async throws {
    let followed = Task { await follow() }
    defer {
      followed.cancel()
      watch.stop()
    }
    var (printed, last) = (0, String?.none)
    for await window in watch.windows() {
      let answer = try await answer(window)
      guard let (answer, statistics) = answer else { return }
      if !onlyChanges || answer.text != last {
        try show(answer, statistics, window)
        printed += 1
      }
      last = answer.text
      if printed >= limit { return }
    }
  }

  /// nil where it was interrupted.
  private func answer(_ window: LiveWindow) async throws -> (Answer, RunStatistics)? {
    for try await event in runner.conversation(about: [.live(window)]).answer(question, options: options) {
      if case .finished(let answer, let statistics) = event { return (answer, statistics) }
    }
    return nil
  }

  private func show(_ answer: Answer, _ statistics: RunStatistics, _ window: LiveWindow) throws {
    if isJSON { return try Display.printJSON(LiveAnswerRecord(watch.source, window, answer, statistics), onOneLine: true) }
    for warning in statistics.warnings { Display.printError("warning: \(warning)") }
    let clock = Date(timeIntervalSince1970: window.time).formatted(Self.clock)
    let text = isatty(STDOUT_FILENO) == 1 ? answer.text.withoutControls : answer.text
    try Display.print("\(clock)  \(text)")
  }

  private static let clock = Date.VerbatimFormatStyle(
    format: "\(hour: .twoDigits(clock: .twentyFourHour, hourCycle: .zeroBased)):\(minute: .twoDigits):\(second: .twoDigits)",
    locale: Locale(identifier: "en_GB"), timeZone: .current, calendar: Calendar(identifier: .gregorian))

  /// Tells how the source is doing: on the progress line, and what changes as a message.
  private func follow() async {
    var problem: String?
    var isSlow = false
    while !Task.isCancelled {
      let status = watch.status
      if status.problem != problem {
        problem = status.problem
        let next = status.state == .waiting ? "; it is tried again" : ""
        if let problem { Display.printError("warning: \(watch.source.shown.escaped()): \(problem)\(next)") }
      }
      if !isSlow, status.dropped > 3, let interval = watch.window?.interval, interval > 1.5 * every {
        isSlow = true
        Display.printError(
          "warning: the tower takes a frame every \(Printing.fixed(interval, 2)) seconds, not every \(Printing.fixed(every, 2))")
      }
      let age = status.age.map { ", the newest \(Printing.fixed($0, 1)) s old" } ?? ""
      progress.show("\(status.state == .live ? "watching" : status.state.rawValue): \(counted(status.frames, "frame"))\(age)")
      try? await Task.sleep(for: .milliseconds(500))
    }
  }
}

/// An answer about a stream, as one line of JSON.
private struct LiveAnswerRecord: Encodable {
  struct Choice: Encodable {
    var text: String
    var probability: Double
  }
  /// Of the newest frame: seconds since 1970, and its number among those that were taken.
  var time: Double
  var frame: Int
  /// How old the newest frame is as the answer is told, in seconds.
  var age: Double
  var source: String
  var frames: Int
  var answer: String
  var choices: [Choice]?
  var promptTokens: Int
  var answerTokens: Int
  var seconds: [String: Double]

  enum CodingKeys: String, CodingKey {
    case time, frame, age, source, frames, answer, choices, seconds
    case promptTokens = "prompt_tokens"
    case answerTokens = "answer_tokens"
  }

  init(_ source: LiveSource, _ window: LiveWindow, _ answer: Answer, _ statistics: RunStatistics) {
    (time, frame, age, frames) = (window.time, window.number, window.age, window.frames.count)
    (self.source, self.answer) = (source.shown, answer.text)
    choices = answer.choices.isEmpty ? nil : answer.choices.map { Choice(text: $0.text, probability: $0.probability) }
    (promptTokens, answerTokens) = (statistics.promptTokens + statistics.cachedPromptTokens, statistics.generatedTokens)
    seconds = ["prefill": statistics.times.prefill, "generate": statistics.times.generate]
  }
}
