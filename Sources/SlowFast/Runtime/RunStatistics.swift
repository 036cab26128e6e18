import Foundation
import Measurement

/// Seconds that the stages of a run took.
public struct StageTimes: Sendable, Codable {
  /// Looking up clips in the cache, checksums of the clips' files included.
  public var clipCache = 0.0
  public var loadVision = 0.0
  /// Of the decoding thread, beside the tower: only `frameWait` adds to the whole.
  public var decode = 0.0
  /// How long the tower had to wait for frames.
  public var frameWait = 0.0
  public var resize = 0.0
  public var tower = 0.0
  public var projector = 0.0
  public var loadDecoder = 0.0
  public var crossKeyValues = 0.0
  public var prefill = 0.0
  public var generate = 0.0

  public init() {}

  mutating func measure<T, E: Error>(_ stage: WritableKeyPath<StageTimes, Double>, _ body: () throws(E) -> T) throws(E) -> T {
    let start = Self.now
    let result = try body()
    self[keyPath: stage] += Self.now - start
    return result
  }

  /// Seconds on a clock that only goes forward.
  static var now: Double { monotonicSeconds() }
}

/// What a run did and what it took.
public struct RunStatistics: Sendable, Codable {
  public var times = StageTimes()
  public var decodedFrames = 0
  public var frames = 0
  /// Frames that went through the tower: the others repeat one, took over its features, or came from the clip cache.
  public var encodedFrames = 0
  /// Frames that took over an earlier one's features because they hardly differ from it.
  public var reusedFrames = 0
  /// Frames whose features, or all that is made of them, came from the clip cache.
  public var cachedFrames = 0
  public var fastTokens = 0
  public var slowTokens = 0
  /// Tokens that the last question's prompt brought to the decoder.
  public var promptTokens = 0
  /// Tokens before those whose keys and values came from the clip cache.
  public var cachedPromptTokens = 0
  public var generatedTokens = 0
  /// The name of the kernel table in use.
  public var kernels = ""
  public var threads = 0
  public var warnings: [String] = []

  public init() {}

  public var towerSecondsPerFrame: Double { encodedFrames > 0 ? times.tower / Double(encodedFrames) : 0 }
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
