import SlowFast
import Support

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
      "  buffers         \(formatBytes(plan.visionBufferBytes)), at most \(formatBytes(plan.decodingBytes)) of them for decoding on "
        + "\(plan.decodingThreads) thread\(plan.decodingThreads == 1 ? "" : "s")",
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

  static func statistics(_ statistics: RunStatistics, answer: Answer, options: GenerationOptions) -> String {
    let times = statistics.times
    func row(_ name: String, _ seconds: Double, _ rate: String = "") -> String {
      let cell = Display.fixed(seconds, 2)
      return "  \(name.padding(to: 22))\(String(repeating: " ", count: max(0, 9 - cell.count)))\(cell) s  \(rate)"
    }
    let frames = max(1, statistics.encodedFrames)
    var sources = ["\(statistics.encodedFrames) through the tower"]
    if statistics.reusedFrames > 0 { sources.append("\(statistics.reusedFrames) hardly differed and took over features") }
    if statistics.cachedFrames > 0 { sources.append("\(statistics.cachedFrames) from the clip cache") }
    let cached = statistics.cachedPromptTokens > 0 ? " (after \(statistics.cachedPromptTokens) from the clip cache)" : ""
    var lines = [
      "",
      "\(statistics.kernels) kernels, \(statistics.threads) threads\(options.isDrawn ? ", seed \(options.seed)" : "")",
      "\(statistics.frames) of \(statistics.decodedFrames) frames, \(statistics.fastTokens) fast and \(statistics.slowTokens) slow tokens, "
        + "\(statistics.promptTokens) prompt\(cached) and \(statistics.generatedTokens) answer tokens (\(answer.endReason.words))",
      "frames: " + sources.joined(separator: ", "),
      row("clip cache", times.clipCache),
      row("load tower", times.loadVision),
      row("decode", times.decode, "\(Display.fixed(times.decode / Double(frames) * 1000, 1)) ms a frame"),
      row("resize", times.resize, "\(Display.fixed(times.resize / Double(frames) * 1000, 1)) ms a frame"),
      row("waiting for frames", times.frameWait, "decoding and resizing go on beside the tower"),
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

extension Report {
  static func summary(_ summary: ModelSummary) -> String {
    let total = summary.total
    var lines = [
      "\(summary.path.escaped()): .sfq \(summary.formatVersion), \(formatBytes(summary.fileBytes))",
      "  parameters   \(Display.fixed(Double(summary.parameters) / 1e6, 1)) M, \(Display.fixed(total.bitsPerWeight, 2)) bits a weight in memory, "
        + "\(Display.fixed(total.storedBitsPerWeight, 2)) in the file",
      "  tower        \(summary.imageSize)×\(summary.imageSize) pixels, depths \(summary.towerDepths), widths \(summary.towerWidths)",
      "  decoder      \(summary.decoderLayers) layers of \(summary.hiddenSize), hybrid \(summary.hybridLayers), "
        + "vocabulary \(summary.vocabularySize)",
      "  frames       \(summary.defaultFrames) by default",
      "  answers      \(answers(summary.generation)), end at \(summary.stopTokens.map { $0.escaped() }.joined(separator: " "))",
      "",
      "  part          tensors   parameters     in memory       in file   bits",
    ]
    for part in summary.parts + [total] {
      lines.append(
        "  " + part.name.padding(to: 12) + left("\(part.tensors)", 9) + left("\(part.parameters)", 13) + left(formatBytes(part.bytes), 14)
          + left(formatBytes(part.storedBytes), 14) + left(Display.fixed(part.bitsPerWeight, 2), 7))
    }
    if let provenance = summary.provenance { lines += ["", provenance.escaped(limit: 4000).replacing("\\n", with: "\n")] }
    return lines.joined(separator: "\n")
  }

  private static func answers(_ generation: GenerationRecord) -> String {
    let choice =
      generation.temperature == 0
      ? "the likeliest token" : "temperature \(generation.temperature), top-p \(generation.topP), top-k \(generation.topK)"
    return "\(choice), repetition penalty \(generation.repetitionPenalty), at most \(generation.maximumTokens) tokens, "
      + "slow tokens read by \(generation.slowAttention == .all ? "all text" : "the prompt")"
  }

  static func tensors(_ summary: ModelSummary) -> String {
    let width = summary.tensors.map(\.name.count).max() ?? 0
    return summary.tensors.map { tensor in
      tensor.name.escaped().padding(to: width) + "  " + tensor.encoding.padding(to: 18) + left(formatBytes(tensor.bytes), 11) + "  "
        + tensor.shape.map(String.init).joined(separator: "×")
    }.joined(separator: "\n")
  }

  static func left(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
