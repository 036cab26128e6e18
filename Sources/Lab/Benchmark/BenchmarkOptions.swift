import Models
import Runtime
import Support
import Video

/// A part of the way from a clip to an answer that can be timed by itself.
public enum BenchmarkStage: String, Sendable, CaseIterable, Codable {
  /// A part of the decoder, packed and raw, from the system's cache; then the tower and the decoder from the file as it is.
  case load
  /// The clip's frames, decoded; needs a clip.
  case decode
  /// Frames to pixels for the tower; of the clip, or of a made-up 1280 × 720 picture.
  case resize
  /// One frame, also stage by stage.
  case tower
  /// Features to the decoder's width.
  case projector
  /// Keys and values of the slow tokens in the hybrid layers.
  case cross
  /// Reading a prompt.
  case prefill
  /// One token after so many.
  case generate
}

/// What to time and how often.
public struct BenchmarkOptions: Sendable {
  /// What is timed.
  public var stages = Set(BenchmarkStage.allCases)
  /// Runs of each stage, of which the median counts; one more before them warms up.
  public var repeats = 3
  /// Frames whose slow tokens the decoder reads; nil takes the model's own number.
  public var frames: Int?
  /// Lengths of prompts. What the model's context does not hold is left out.
  public var prompts = [512, 1296]
  /// Tokens in the cache before those that are generated.
  public var contexts = [64, 1400, 4096]
  /// Generated tokens of each run.
  public var generatedTokens = 16
  /// For `decode` and `resize`.
  public var clip: MediaInput?
  /// nil: all that the process may use.
  public var threads: Int?
  /// Which tokens read the slow tokens; nil: as the model says. `all` is the harder one: each generated token reads all slow tokens.
  public var slowAttention: SlowAttention?

  /// All stages, with the model's own frames.
  public init() {}

  /// Throws `badOption` for a value out of range.
  public func validate() throws(SlowFastError) {
    func check(_ values: [Int], _ range: ClosedRange<Int>, _ name: String) throws(SlowFastError) {
      for value in values where !range.contains(value) {
        throw .badOption(name, found: "\(value)", expected: "\(range.lowerBound) to \(range.upperBound)")
      }
    }
    try check([repeats], 1...1000, "repeats")
    try check([frames].compactMap { $0 }, 1...Limits.frames, "frames")
    try check(prompts, 1...GenerationOptions.tokenLimit, "prompts")
    try check(contexts, 1...GenerationOptions.tokenLimit, "contexts")
    try check([generatedTokens], 1...65536, "generatedTokens")
  }
}
