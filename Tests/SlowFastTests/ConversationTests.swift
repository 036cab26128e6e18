import Models
import Runtime
import Testing
import Video

/// Conversations that are made of the same watched clips.
@Suite struct ConversationTests {
  private func context(_ attention: SlowAttention, keepsClips: Bool) throws -> RunContext {
    var options = SessionOptions()
    options.slowAttention = attention
    options.clipMemory = keepsClips ? 64 << 20 : nil
    return try RunContext(try VideoLanguageModel(path: Golden.path("clip")), options: options)
  }

  private func watch(_ context: RunContext) throws -> WatchedClips {
    let clips = [0, 10].map { seed in
      SampledClip(.frames((0..<2).compactMap { try? picture(seed + $0) }), SamplingRequest(frames: 2))
    }
    return try context.watch(clips, PromptOpening(), progress: { _ in }, isCancelled: { false }, observer: nil)
  }

  /// Each has its own questions, keys and values; what one begins anew, or drops, the others and the clips keep.
  @Test(arguments: SlowAttention.allCases, [false, true])
  func eachStandsAlone(attention: SlowAttention, keepsClips: Bool) throws {
    let context = try context(attention, keepsClips: keepsClips)
    let watched = try watch(context)
    let questions = ["What happens?", "And then, at the end?"]
    let alone = Conversation(watched, in: context)
    let expected = try questions.map { try alone.ask($0, options: greedy(6)) }
    // The conversation's copy went where all of it is in the decoder's cache.
    #expect(alone.clips.allSatisfy { ($0.tokens == nil) == keepsClips })
    #expect(watched.clips.count == 2 && watched.clips.allSatisfy { $0.tokens != nil })

    let (first, second) = (Conversation(watched, in: context), Conversation(watched, in: context))
    #expect(try first.ask(questions[0], options: greedy(6)) == expected[0])
    #expect(try second.ask(questions[0], options: greedy(6)) == expected[0])
    first.startOver()
    #expect(try second.ask(questions[1], options: greedy(6)) == expected[1])
    _ = failure { _ = try first.ask("Else?", options: greedy(6), isCancelled: { true }) }
    for question in questions.indices { #expect(try first.ask(questions[question], options: greedy(6)) == expected[question]) }
    #expect(first.statistics.encodedFrames == 4 && second.statistics.slowTokens == watched.statistics.slowTokens)
  }

  /// From what is kept of a prompt, without the clips' tokens.
  @Test(arguments: SlowAttention.allCases)
  func severalFromWhatIsKept(attention: SlowAttention) throws {
    let context = try context(attention, keepsClips: true)
    let expected = try Conversation(watch(context), in: context).ask("What happens?", options: greedy(6))
    let kept = try watch(context)
    #expect(kept.prefix != nil && kept.clips.allSatisfy { $0.tokens == nil } && kept.statistics.encodedFrames == 0)
    for _ in 0..<2 {
      let conversation = Conversation(kept, in: context)
      for _ in 0..<2 {
        #expect(try conversation.ask("What happens?", options: greedy(6)) == expected)
        conversation.startOver()
      }
    }
  }
}
