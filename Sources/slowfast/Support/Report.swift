import SlowFast

/// Tables for people.
enum Report {
  static func plan(_ plan: MemoryPlan) -> String {
    var lines = [
      "frames            \(plan.frames)",
      "fast tokens       \(plan.fastTokens)",
      "slow tokens       \(plan.slowTokens)",
      "prompt tokens     \(plan.promptTokens), answer at most \(plan.maximumAnswerTokens)",
      "",
      "while the clip is encoded",
      "  weights         \(formatBytes(plan.visionWeightBytes))",
      "  buffers         \(formatBytes(plan.visionBufferBytes))",
      "while the answer is made",
      "  weights         \(formatBytes(plan.decoderWeightBytes))",
      "  buffers         \(formatBytes(plan.decoderBufferBytes))",
      "  keys and values \(formatBytes(plan.cacheBytes)) of the conversation, \(formatBytes(plan.slowCacheBytes)) of the slow tokens",
      "in both",
      "  clip's tokens   \(formatBytes(plan.tokenBytes))",
      "  program         \(formatBytes(plan.baseBytes))",
      "",
      "peak              \(formatBytes(plan.peakBytes))",
    ]
    if let available = MemoryPlan.availableBytes() { lines.append("available         \(formatBytes(available))") }
    return lines.joined(separator: "\n")
  }

  static func statistics(_ statistics: RunStatistics, answer: Answer, seed: UInt64) -> String {
    let times = statistics.times
    func row(_ name: String, _ seconds: Double, _ rate: String = "") -> String {
      let cell = Display.fixed(seconds, 2)
      return "  \(name.padding(to: 22))\(String(repeating: " ", count: max(0, 9 - cell.count)))\(cell) s  \(rate)"
    }
    let frames = max(1, statistics.frames)
    var lines = [
      "",
      "\(statistics.kernels) kernels, \(statistics.threads) threads, seed \(seed)",
      "\(statistics.frames) of \(statistics.decodedFrames) frames, \(statistics.fastTokens) fast and \(statistics.slowTokens) slow tokens, "
        + "\(statistics.promptTokens) prompt and \(statistics.generatedTokens) answer tokens (\(answer.endReason.rawValue))",
      row("load tower", times.loadVision),
      row("decode", times.decode, "\(Display.fixed(times.decode / Double(frames) * 1000, 1)) ms a frame"),
      row("resize", times.resize, "\(Display.fixed(times.resize / Double(frames) * 1000, 1)) ms a frame"),
      row("tower", times.tower, "\(Display.fixed(statistics.towerSecondsPerFrame * 1000, 1)) ms a frame"),
      row("projector", times.projector, "\(Display.fixed(times.projector / Double(frames) * 1000, 1)) ms a frame"),
      row("load decoder", times.loadDecoder),
      row("cross keys and values", times.crossKeyValues),
      row("prefill", times.prefill, "\(Display.fixed(statistics.prefillTokensPerSecond, 1)) tokens/s"),
      row("generate", times.generate, "\(Display.fixed(statistics.generationTokensPerSecond, 1)) tokens/s"),
    ]
    if let peak = RunStatistics.peakResidentBytes { lines.append("  peak memory           \(formatBytes(peak))") }
    return lines.joined(separator: "\n")
  }
}

extension String {
  func padding(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
