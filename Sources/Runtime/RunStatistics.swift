import Foundation
import Support

/// Seconds that the stages of a run took.
public struct StageTimes: Sendable, Codable {
  /// Looking up clips in the cache, checksums of the clips' files included.
  public var clipCache = 0.0
  /// Reading the tower's and the projector's weights.
  public var loadVision = 0.0
  /// Of the decoding thread, beside the tower: only `frameWait` adds to the whole.
  public var decode = 0.0
  /// How long the tower had to wait for frames.
  public var frameWait = 0.0
  /// Resizing and normalising frames.
  public var resize = 0.0
  /// The vision tower.
  public var tower = 0.0
  /// The projector.
  public var projector = 0.0
  /// Reading the decoder's weights.
  public var loadDecoder = 0.0
  /// Keys and values of the slow tokens, in each hybrid layer.
  public var crossKeyValues = 0.0
  /// Reading the prompt.
  public var prefill = 0.0
  /// Making the answer, from its second token on.
  public var generate = 0.0

  /// Nothing has taken any time.
  public init() {}

  package mutating func measure<T, E: Error>(_ stage: WritableKeyPath<StageTimes, Double>, _ body: () throws(E) -> T) throws(E) -> T {
    let start = Self.now
    let result = try body()
    self[keyPath: stage] += Self.now - start
    return result
  }

  /// Seconds on a clock that only goes forward.
  package static var now: Double { monotonicSeconds() }
}

/// What a run did and what it took.
public struct RunStatistics: Sendable, Codable {
  /// Seconds of each stage.
  public var times = StageTimes()
  /// Frames that were decoded, those between the sampled ones counted.
  public var decodedFrames = 0
  /// Frames that the model sees, repeated ones counted.
  public var frames = 0
  /// Frames that went through the tower: the others repeat one, took over its features, or came from the clip cache.
  public var encodedFrames = 0
  /// Of these, as many as were computed, by stage of the tower; the rest took over what was made of earlier ones (`SessionOptions.reuse`).
  public var computedFrames: [Double] = []
  /// Frames that took over the features of the one before, whose picture they have.
  public var reusedFrames = 0
  /// Frames whose features, or all that is made of them, came from the clip cache.
  public var cachedFrames = 0
  /// Tokens of the clips that stand in the prompt.
  public var fastTokens = 0
  /// Tokens of the clips that are read through cross-attention.
  public var slowTokens = 0
  /// Tokens that the last question's prompt brought to the decoder.
  public var promptTokens = 0
  /// Tokens before those whose keys and values came from the clip cache.
  public var cachedPromptTokens = 0
  /// Tokens of the answer.
  public var generatedTokens = 0
  /// Tokens that were guessed and checked in passes with others.
  public var guessedTokens = 0
  /// How many of these guesses were right.
  public var rightGuesses = 0
  /// The name of the kernel table in use.
  public var kernels = ""
  /// Threads that computed.
  public var threads = 0
  /// Bits of keys, values and slow tokens.
  public var cacheBits = 0
  /// What was odd about the clips, a sentence each.
  public var warnings: [String] = []

  /// Nothing has been done.
  public init() {}

  /// 0 where no frame went through the tower.
  public var towerSecondsPerFrame: Double { encodedFrames > 0 ? times.tower / Double(encodedFrames) : 0 }
  /// 0 where no prompt was read.
  public var prefillTokensPerSecond: Double { times.prefill > 0 ? Double(promptTokens) / times.prefill : 0 }
  /// The first token comes from the prefill; each further one costs a step.
  public var generationTokensPerSecond: Double { times.generate > 0 ? Double(max(0, generatedTokens - 1)) / times.generate : 0 }

  /// The most memory that this process has had resident so far, in bytes; nil where the system does not say.
  public static var peakResidentBytes: Int? {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
    return status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
      .flatMap { $0.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first }.flatMap { Int($0) }.map { $0 * 1024 }
  }
}
