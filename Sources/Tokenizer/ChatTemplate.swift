/// ChatML as the published models were trained on it (`qwen_1_5`).
///
/// Text is split at the clips and each piece tokenized by itself, with special tokens recognised wherever they stand, as the published
/// code does: a question that spells `<|im_end|>` ends its turn. `<image>` in a question is text like any other.
public struct ChatTemplate: Sendable {
  public static let systemMessage = "You are a helpful assistant."

  public enum Piece: Sendable, Equatable {
    case tokens([Int32])
    /// The next clip's tokens stand here.
    case image
  }

  private let tokenizer: Tokenizer
  private let usesImageStartEnd: Bool

  /// `usesImageStartEnd`: `mm_use_im_start_end` of the configuration, which puts a clip between `<im_start>` and `<im_end>`.
  public init(tokenizer: Tokenizer, usesImageStartEnd: Bool) {
    self.tokenizer = tokenizer
    self.usesImageStartEnd = usesImageStartEnd
  }

  /// System message, the clips, the first question, and the beginning of the answer.
  public func opening(question: String, images: Int) -> [Piece] {
    var texts = ["<|im_start|>system\n\(Self.systemMessage)<|im_end|>\n<|im_start|>user\n"]
    for _ in 0..<images {
      if usesImageStartEnd { texts[texts.count - 1] += "<im_start>" }
      texts.append(usesImageStartEnd ? "<im_end>\n" : "\n")
    }
    texts[texts.count - 1] += question + Self.answerStart
    var pieces: [Piece] = []
    for (index, text) in texts.enumerated() {
      if index > 0 { pieces.append(.image) }
      pieces.append(.tokens(tokenizer.encode(text)))
    }
    return pieces
  }

  /// What follows an answer: its end, a further question, and the beginning of the next answer.
  public func continuation(question: String) -> [Int32] {
    tokenizer.encode("<|im_end|>\n<|im_start|>user\n\(question)\(Self.answerStart)")
  }

  private static let answerStart = "<|im_end|>\n<|im_start|>assistant\n"
}
