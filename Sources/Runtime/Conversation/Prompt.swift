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

extension RunContext {
  private var template: PromptTemplate {
    options.system.map { model.config.promptTemplate.saying(system: $0) } ?? model.config.promptTemplate
  }

  /// A conversation's first prompt; a whole prompt says itself where clips stand.
  package func firstPrompt(_ question: String, clips: Int) -> ChatPrompt {
    options.takesWholePrompts ? ChatPrompt(whole: question) : ChatPrompt(template, question: question, images: clips)
  }

  /// What a further question adds.
  package func furtherPrompt(_ question: String) -> ChatPrompt {
    options.takesWholePrompts ? ChatPrompt(whole: question) : ChatPrompt(template, furtherQuestion: question)
  }

  /// The first question's prompt about so many clips, cut after the last of them: what comes before is the same for every question.
  package func promptPieces(_ question: String, clips: Int) -> (before: [ChatPrompt.Piece], after: [ChatPrompt.Piece]) {
    let pieces = firstPrompt(question, clips: clips).pieces(model.tokenizer)
    let cut = pieces.lastIndex(of: .image).map { $0 + 1 } ?? 0
    return (Array(pieces[..<cut]), Array(pieces[cut...]))
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
