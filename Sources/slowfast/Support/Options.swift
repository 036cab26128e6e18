import ArgumentParser
import Foundation
import SlowFast

struct SamplingArguments: ParsableArguments {
  @Option(help: "Frames to take from a video, or with --sampling rate the most to take. Default: the model's own number.")
  var frames: Int?
  @OptionGroup var range: RangeArguments

  func validate() throws {
    if let frames { try Self.check(frames) }
  }

  static func check(_ frames: Int) throws {
    if frames < 1 { throw ValidationError("--frames is \(frames), expected at least 1") }
    if frames > 65536 { throw ValidationError("--frames is \(frames), expected at most 65536") }
  }

  func request(defaultFrames: Int) -> SamplingRequest { range.request(frames: frames ?? defaultFrames) }
}

struct RangeArguments: ParsableArguments {
  @Option(help: "Start at this many seconds.")
  var start: Double?
  @Option(help: "End at this many seconds.")
  var end: Double?
  @Option(help: "The video stream to take. Default: the best one.")
  var stream: Int?
  @OptionGroup var rule: SamplingRuleArguments

  func validate() throws { try Self.check(start, end) }

  static func check(_ start: Double?, _ end: Double?) throws {
    if let start, !(start >= 0 && start.isFinite) { throw ValidationError("--start is \(start), expected 0 or more seconds") }
    if let end, !(end > start ?? 0 && end.isFinite) {
      throw ValidationError("--end is \(end), expected more than \(start.map { "--start, \($0)" } ?? "0 seconds")")
    }
  }

  func request(frames: Int) -> SamplingRequest {
    SamplingRequest(frames: frames, rule: rule.rule, start: start, end: end, stream: stream)
  }
}

struct SamplingRuleArguments: ParsableArguments {
  enum Name: String, ExpressibleByArgument, CaseIterable { case uniform, rate }

  @Option(
    help: ArgumentHelp(
      "Which frames: uniform, evenly from the first to the last, as the published demonstration; rate, --fps a second and fewer where a clip is "
        + "short, as the published evaluation."))
  var sampling = Name.uniform
  @Option(help: "Frames a second of --sampling rate. Default: 2.")
  var fps: Double?

  func validate() throws {
    guard let fps else { return }
    if sampling != .rate { throw ValidationError("--fps needs --sampling rate.") }
    if !(fps > 0 && fps.isFinite) { throw ValidationError("--fps is \(fps), expected more than 0") }
  }

  var rule: SamplingRule { sampling == .uniform ? .uniform : .rate(fps ?? 2) }
}

struct GenerationArguments: ParsableArguments {
  @Option(help: "The most tokens of an answer. Default: the model's own number.")
  var maxTokens: Int?
  @Option(help: "0 takes the likeliest token always. Default of this and the next three: the model's own, which inspect shows.")
  var temperature: Float?
  @Option(name: .customLong("top-p"), help: "Draw among the likeliest tokens that together have this probability.")
  var topP: Float?
  @Option(name: .customLong("top-k"), help: "Draw among this many likeliest tokens; 0 for all.")
  var topK: Int?
  @Option(help: "Divides the logits of tokens that the answer has already; 1 for none.")
  var repetitionPenalty: Float?
  @Option(help: "Makes a drawn answer repeatable. Default: another one each time.")
  var seed: UInt64?
  @Flag(help: "The likeliest token always, no penalty: the same as --temperature 0 --repetition-penalty 1.")
  var greedy = false

  func validate() throws {
    if greedy, let temperature, temperature != 0 { throw ValidationError("--greedy and --temperature \(temperature) exclude each other") }
  }

  func options(defaults: GenerationOptions) -> GenerationOptions {
    var options = defaults
    options.seed = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
    if greedy { options.makeGreedy() }
    if let maxTokens { options.maximumTokens = maxTokens }
    if let temperature { options.temperature = temperature }
    if let topP { options.topP = topP }
    if let topK { options.topK = topK }
    if let repetitionPenalty { options.repetitionPenalty = repetitionPenalty }
    return options
  }
}

struct SessionArguments: ParsableArguments {
  @Option(
    help:
      "What reads the slow tokens while answering: the prompt only, as the published code, or all, as in training. Default: the model's own way."
  )
  var slowAttention: SlowAttention?
  @Option(help: "Threads. Default: as many as processors.")
  var threads: Int?

  func validate() throws { try Self.check(threads: threads) }

  static func check(threads: Int?) throws {
    if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads is \(threads), expected 1 to 1024") }
  }

  var options: SessionOptions {
    var options = SessionOptions()
    options.threads = threads
    options.slowAttention = slowAttention
    return options
  }
}

extension SlowAttention: ExpressibleByArgument {}
