import Tokenizer
import Video

extension Session {
  /// What a run of these clips and this question will need.
  public func plan(
    _ sources: [ClipSource], sampling: SamplingRequest, question: String, maximumTokens: Int
  ) -> MemoryPlan {
    let chat = ChatPrompt(marksImages: model.config.usesImageStartEnd).adding(user: question, images: sources.count)
    let text = Self.textCount(chat.pieces(model.tokenizer))
    return MemoryPlan(
      source: model.source, clips: sources.map { $0.frameCount(sampling) }, textTokens: text,
      maximumAnswerTokens: min(maximumTokens, model.config.maximumPositions),
      cacheType: model.cacheType, kernels: engine.kernels, threads: pool.threadCount)
  }

  /// Throws when the plan exceeds the memory there is.
  public func checkMemory(_ plan: MemoryPlan) throws(SlowFastError) {
    guard let available = MemoryPlan.availableBytes(), plan.peakBytes > available else { return }
    throw .notEnoughMemory(needed: plan.peakBytes, available: available, plan: plan.summary)
  }
}
