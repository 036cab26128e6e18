import Runtime
import Support

extension Session {
  /// Tokens a second that the decoder makes one after the other, with nothing of a conversation before them. To be called after `watch`.
  package func generationSpeed(tokens: Int) throws(SlowFastError) -> Double {
    let generator = try readyGenerator(capacity: tokens + 1, progress: { _ in })
    try generator.reserve(tokens + 1)
    generator.truncate(to: 0)
    defer { generator.truncate(to: 0) }
    // What a weight's first use takes is not counted.
    _ = try generator.step(0)
    let start = StageTimes.now
    for _ in 0..<tokens { _ = try generator.step(0) }
    return Double(tokens) / max(StageTimes.now - start, 1e-9)
  }
}
