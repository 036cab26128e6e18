import Compute
import Models
import Support
import Tokenizer
import Video

/// Tokens for the decoder: text by id, clips by their fast tokens.
package struct Prompt {
  package enum Piece {
    case text([Int32])
    /// A clip's fast tokens `[count, hidden]`.
    case visual(Matrix)

    package var count: Int {
      switch self {
      case .text(let ids): ids.count
      case .visual(let tokens): tokens.rows
      }
    }
  }

  /// Stands for a clip in lists of ids, as the published code has it.
  package static let imageToken: Int32 = -200

  package var pieces: [Piece]
  /// The conversation had a visual token before this part of it.
  package var followsVisual: Bool

  package init(pieces: [Piece], followsVisual: Bool = false) {
    self.pieces = pieces
    self.followsVisual = followsVisual
  }

  package var tokenCount: Int { pieces.reduce(0) { $0 + $1.count } }

  /// Rows that read the slow tokens in hybrid layers.
  package func crossRanges(config: ModelConfig) -> [Range<Int>] {
    guard let hybrid = config.hybrid else { return [] }
    let hasVisual = pieces.contains { if case .visual(let tokens) = $0 { tokens.rows > 0 } else { false } }
    guard hasVisual || followsVisual else { return [] }
    guard hybrid.isTextOnly else { return [0..<tokenCount] }
    var ranges: [Range<Int>] = []
    var start = 0
    var sawVisual = followsVisual
    for piece in pieces {
      switch piece {
      case .text(let ids): if sawVisual || !hybrid.masksSystem { ranges.append(start..<start + ids.count) }
      case .visual: sawVisual = true
      }
      start += piece.count
    }
    return ranges
  }

  /// Writes the input embeddings of the tokens in `range` to `x` `[range.count, hidden]`.
  package func fill(_ x: Matrix, _ range: Range<Int>, from embedding: any EmbeddingTable, on engine: Engine) throws(SlowFastError) {
    var start = 0
    for piece in pieces {
      let part = range.clamped(to: start..<start + piece.count)
      if !part.isEmpty {
        let target = x[rows: part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound]
        let source = part.lowerBound - start..<part.upperBound - start
        switch piece {
        case .text(let ids): try embedding.gather(Array(ids[source]), to: target, on: engine)
        case .visual(let tokens): target.copy(from: tokens[rows: source])
        }
      }
      start += piece.count
    }
  }
}

/// Where a clip or a picture stands in a prompt.
package struct PromptPlace: Sendable {
  package var isPicture: Bool
  /// Before the tokens of each of its views, and after the last's; nil: nothing stands between them.
  package var texts: [String]?

  package init(isPicture: Bool, texts: [String]? = nil) { (self.isPicture, self.texts) = (isPicture, texts) }

  /// Its tokens as pieces of a prompt: one, or one for each view.
  package func pieces(_ tokens: Matrix) -> [Prompt.Piece] {
    guard let texts, texts.count > 1 else { return [.visual(tokens)] }
    let rows = tokens.rows / (texts.count - 1)
    return (0..<texts.count - 1).map { .visual(tokens[rows: $0 * rows..<($0 + 1) * rows]) }
  }
}

extension ModelConfig {
  /// The place of what was watched. `rate`: of the whole video, in frames a second; nil where it has none.
  package func place(
    _ report: SamplingReport, rate: Double?, isPicture: Bool, isAlone: Bool, towerSide: Int
  ) -> PromptPlace {
    guard isPicture, let frame = report.frames.first else {
      let times = report.times(rate: rate)
      let duration = rate.map { Double(report.decodedFrames) / $0 } ?? times.last ?? 0
      return PromptPlace(isPicture: isPicture, texts: promptTemplate.views?.clip(times: times, duration: duration))
    }
    return place(.picture(PictureSize(height: frame.height, width: frame.width), isAlone: isAlone), towerSide: towerSide)
  }

  /// The place of what is not watched yet: times of frames, which are as long whatever they are, are all the first.
  package func place(_ shown: Shown, towerSide: Int) -> PromptPlace {
    switch shown {
    case .clip(let frames):
      return PromptPlace(
        isPicture: false, texts: promptTemplate.views?.clip(times: Array(repeating: 0, count: frames), duration: 0))
    case .picture:
      let grid = (layout(shown, towerSide: towerSide) as? PictureLayout)?.grid
      return PromptPlace(
        isPicture: true, texts: promptTemplate.views?.picture(rows: grid?.rows ?? 0, columns: grid?.columns ?? 0))
    }
  }
}

extension SamplingReport {
  /// Of each frame, in seconds. Frames without any time are taken for 24 a second, as transformers takes them.
  fileprivate func times(rate: Double?) -> [Double] {
    if let rate { return frames.map { Double($0.index) / rate } }
    let haveTimes = frames.contains { $0.seconds > 0 }
    return frames.map { haveTimes ? $0.seconds : Double($0.index) / 24 }
  }
}

/// What a conversation begins with, before what its first question says last.
package struct PromptOpening: Sendable {
  /// What was said before.
  package var history: [ChatPrompt.Turn]
  /// What the question shows, and says before its last words, in order; nil: whatever is not shown before, and no words.
  package var shown: [ChatPrompt.Turn.Part]?

  package init(history: [ChatPrompt.Turn] = [], shown: [ChatPrompt.Turn.Part]? = nil) { (self.history, self.shown) = (history, shown) }

  /// All turns, with `question` as the last words, about so many images and clips.
  fileprivate func turns(_ question: String, images: Int) -> [ChatPrompt.Turn] {
    let shown = shown ?? Array(repeating: .image, count: max(0, images - history.reduce(0) { $0 + $1.images }))
    return history + [ChatPrompt.Turn(.user, shown + [.text(question)])]
  }
}

extension RunContext {
  private var template: PromptTemplate {
    options.system.map { model.config.promptTemplate.saying(system: $0) } ?? model.config.promptTemplate
  }

  /// A conversation's first prompt, after what it begins with; a whole prompt says itself where clips stand. `times` are told before all
  /// that the first turn says that shows something.
  package func firstPrompt(
    _ question: String, _ places: [PromptPlace], _ opening: PromptOpening = PromptOpening(), times: String? = nil
  ) -> ChatPrompt {
    if options.takesWholePrompts { return ChatPrompt(whole: question).showing(places.map(\.texts)) }
    var turns = opening.turns(question, images: places.count)
    if let times, let turn = turns.firstIndex(where: { $0.images > 0 }) { turns[turn].begin(saying: times) }
    return ChatPrompt(template, turns, isPicture: places.map(\.isPicture), marksAreText: options.marksAreText)
      .showing(places.map(\.texts))
  }

  /// What a further question adds.
  package func furtherPrompt(_ question: String) -> ChatPrompt {
    options.takesWholePrompts
      ? ChatPrompt(whole: question) : ChatPrompt(template, furtherQuestion: question, marksAreText: options.marksAreText)
  }

  /// The first question's prompt about what stands in these places, cut after the last of them: what comes before is the same for every
  /// question.
  package func promptPieces(
    _ question: String, _ places: [PromptPlace], _ opening: PromptOpening = PromptOpening(), times: String? = nil
  ) -> (before: [ChatPrompt.Piece], after: [ChatPrompt.Piece]) {
    let pieces = firstPrompt(question, places, opening, times: times).pieces(model.tokenizer)
    let cut = pieces.lastIndex(of: .image).map { $0 + 1 } ?? 0
    return (Array(pieces[..<cut]), Array(pieces[cut...]))
  }

  /// What a prompt before the last clip's tokens is kept under: without the texts that what is shown decides.
  package func openingIDs(_ places: [PromptPlace], _ opening: PromptOpening) -> [Int32] {
    promptPieces("", places.map { PromptPlace(isPicture: $0.isPicture) }, opening).before.ids
  }

  /// The places of what was watched; `isPicture` of each.
  package func places(_ clips: [WatchedClip.Info], isPicture: [Bool]) -> [PromptPlace] {
    let isAlone = isPicture.count { $0 } == 1
    let side = model.source.schema.tower.outputSide
    return zip(clips, isPicture).map { info, isPicture in
      config.place(info.report, rate: info.framesPerSecond, isPicture: isPicture, isAlone: isAlone, towerSide: side)
    }
  }
}

// MARK: What does not fit

extension RunContext {
  /// Throws what is known of a first question before its clips are encoded: that it shows more or fewer than there are, or that the prompt
  /// is too long, where the number of frames does not depend on the clips.
  package func checkPrompt(
    _ question: String, about clips: [SampledClip], _ opening: PromptOpening = PromptOpening()
  ) throws(SlowFastError) {
    try checkMarks(question, clips: clips.count)
    let isKnown = clips.allSatisfy { clip in
      let source = clip.source
      if source.isPicture, config.sequence != nil { return source.pictureSize != nil }
      return source.isPicture || source.isLive || clip.sampling.rule == .uniform
    }
    guard isKnown else { return }
    let side = model.source.schema.tower.outputSide
    let alone = clips.map(\.source).haveOnePicture
    let shown = clips.map { config.shown($0.source, $0.sampling, isAlone: alone, towerSide: side) }
    let visual = shown.reduce(0) { $0 + config.layout($1, towerSide: side).fastCount }
    let places = shown.map { config.place($0, towerSide: side) }
    let total = visual + firstPrompt(question, places, opening).pieces(model.tokenizer).textCount
    guard total > config.contextLength else { return }
    let hasFrames = shown.contains { if case .clip(let frames) = $0 { frames > 1 } else { false } }
    throw tooLong(total, visual: visual, clips: clips.count, hasFrames: hasFrames)
  }

  /// Throws where a whole prompt has not a mark for each clip.
  func checkMarks(_ question: String, clips: Int) throws(SlowFastError) {
    guard options.takesWholePrompts, case let marks = ChatPrompt(whole: question).imageCount, marks != clips else { return }
    throw .badPrompt(marks: marks, expected: "\(clips): one for each clip or picture")
  }

  /// The refusal of a prompt of so many tokens, of which `visual` are the clips', with what would make their part of it fit.
  func tooLong(_ total: Int, visual: Int, clips: Int, hasFrames: Bool) -> SlowFastError {
    let room = config.contextLength - (total - visual)
    let side = model.source.schema.tower.outputSide / config.poolingStride / config.fastTokens.spatialStride
    let frames = config.sequence == nil && side > 0 ? room / max(1, side * side * clips) : 0
    return .promptTooLong(tokens: total, limit: config.contextLength, fastFrames: frames > 0 && hasFrames ? frames : nil)
  }
}

extension SamplingReport {
  /// What LLaVA-Video is told of the times of a video's frames, to the letter; nil where there are none.
  package func sentence(_ rule: SequenceConfig.Times, framesPerSecond rate: Double?) -> String? {
    guard let rate, decodedFrames > 0, !frames.isEmpty else { return nil }
    // One frame a second is counted with the rate as a whole number, frames spread over the clip with its own.
    let whole = max(1, rate.rounded(.toNearestOrEven))
    let seconds = stride(from: 0, to: decodedFrames, by: Int(min(whole, 1e9)))
    let isBySecond = rule == .asSampled && frames.map(\.index).elementsEqual(seconds)
    let places = frames.map { (Double($0.index) / (isBySecond ? whole : rate)).fixed(2) + "s" }.joined(separator: ",")
    let duration = (Double(decodedFrames) / rate).fixed(2)
    return
      "The video lasts for \(duration) seconds, and \(frames.count) frames are uniformly sampled from it. "
      + "These frames are located at \(places)."
      + "Please answer the following questions related to this video."
  }
}

extension [ChatPrompt.Piece] {
  /// Tokens of its text.
  package var textCount: Int { reduce(0) { sum, piece in if case .tokens(let ids) = piece { sum + ids.count } else { sum } } }

  /// Ids of its text, with `Prompt.imageToken` where a clip stands.
  package var ids: [Int32] { flatMap { piece in if case .tokens(let ids) = piece { ids } else { [Prompt.imageToken] } } }
}
