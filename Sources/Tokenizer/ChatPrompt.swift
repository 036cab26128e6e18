/// A conversation in the form that the published models were trained on (ChatML, `qwen_1_5`), and its tokens.
///
///     <|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\nWhat happens?<|im_end|>\n<|im_start|>assistant\n
///
/// The text is split at `<image>` and each piece tokenized on its own, as the published code does; a model's visual tokens go where
/// `.image` stands. Only `images:` makes such a place: an `<image>` that somebody writes stays text, because no clip belongs to it.
public struct ChatPrompt: Hashable, Sendable {
  public enum Piece: Hashable, Sendable {
    case tokens([Int32])
    /// The place of the next clip's or image's tokens.
    case image
  }

  public static let defaultSystem = "You are a helpful assistant."

  /// What stands in `text` for an image.
  public static let imageMark = "<image>"

  /// Whether special tokens are looked for in what the system message, the users and the assistant say, as HuggingFace and the
  /// published code do. Without it, nobody can end a turn by writing `<|im_end|>`.
  public var allowSpecialInMessages = true

  private var parts: [Part] = []
  private let marksImages: Bool
  private var awaitsAnswer = false

  /// - Parameters:
  ///   - system: The system message; with an empty one there is no system turn.
  ///   - marksImages: Whether an image stands between `<im_start>` and `<im_end>` (`mm_use_im_start_end`).
  public init(system: String = ChatPrompt.defaultSystem, marksImages: Bool = false) {
    self.marksImages = marksImages
    if !system.isEmpty { addTurn(of: "system", system, images: 0) }
  }

  /// With a question added, before which `images` images stand, each on a line of its own.
  public func adding(user question: String, images: Int = 0) -> ChatPrompt {
    var prompt = self
    prompt.addTurn(of: "user", question, images: images)
    prompt.awaitsAnswer = true
    return prompt
  }

  /// With the model's answer to the last question added.
  public func adding(assistant answer: String) -> ChatPrompt {
    var prompt = self
    prompt.addTurn(of: "assistant", answer, images: 0)
    prompt.awaitsAnswer = false
    return prompt
  }

  /// The prompt as text, ending where the model's answer is to begin.
  public var text: String {
    allParts.map { part in
      switch part {
      case .special(let text), .template(let text), .message(let text): text
      case .image: Self.imageMark
      }
    }.joined()
  }

  /// The prompt's tokens, ending where the model's answer is to begin.
  public func pieces(_ tokenizer: Tokenizer) -> [Piece] { Self.pieces(of: allParts, tokenizer, allowSpecialInMessages) }

  /// What to append to a conversation's tokens, after those of the model's last answer, to ask another question: the end of the
  /// answer's turn, which the model's end token stands for and which must not be there yet, and the question's turn.
  public func piecesForFurtherQuestion(_ question: String, images: Int = 0, _ tokenizer: Tokenizer) -> [Piece] {
    var prompt = ChatPrompt(system: "", marksImages: marksImages)
    prompt.parts = [.special(Self.turnEnd), .template("\n")]
    return Self.pieces(of: prompt.adding(user: question, images: images).allParts, tokenizer, allowSpecialInMessages)
  }
}

extension Tokenizer {
  /// Throws where a model with so many rows of embedding cannot be asked with this tokenizer: an id that has no row, or a mark of the prompt that
  /// is no token of its own and would be spelt out. `source` is named by the error.
  package func checkFits(rows: Int, marksImages: Bool, _ source: String) throws(TokenizerError) {
    if vocabularySize > rows {
      throw .idBeyondEmbedding(source: source, token: token(Int32(vocabularySize - 1)) ?? "", id: vocabularySize - 1, rows: rows)
    }
    for mark in ChatPrompt.marks(images: marksImages) where encode(mark).count != 1 {
      throw .missingPromptToken(source: source, token: mark)
    }
  }
}

extension ChatPrompt {
  fileprivate static func marks(images: Bool) -> [String] { [turnStart, turnEnd] + (images ? [imageStart, imageEnd] : []) }

  private enum Part: Hashable {
    /// A special token of the template.
    case special(String)
    case template(String)
    case message(String)
    case image
  }

  private static let turnStart = "<|im_start|>"
  private static let turnEnd = "<|im_end|>"
  private static let imageStart = "<im_start>"
  private static let imageEnd = "<im_end>"

  private var allParts: [Part] { awaitsAnswer ? parts + [.special(Self.turnStart), .template("assistant\n")] : parts }

  private mutating func addTurn(of role: String, _ message: String, images: Int) {
    parts += [.special(Self.turnStart), .template(role + "\n")]
    for _ in 0..<max(0, images) {
      parts += marksImages ? [.special(Self.imageStart), .image, .special(Self.imageEnd)] : [.image]
      parts.append(.template("\n"))
    }
    parts += [.message(message), .special(Self.turnEnd), .template("\n")]
  }

  /// Text between two images is tokenized as a whole. If messages must not hold special tokens, it is cut at those of the template,
  /// where a tokenizer cuts it anyway.
  private static func pieces(of parts: [Part], _ tokenizer: Tokenizer, _ allowSpecial: Bool) -> [Piece] {
    var pieces: [Piece] = []
    var ids: [Int32] = []
    var text = ""
    func finishText(allowSpecial: Bool) {
      ids += tokenizer.encode(text, allowSpecial: allowSpecial)
      text = ""
    }
    func finishPiece() {
      finishText(allowSpecial: allowSpecial)
      if !ids.isEmpty { pieces.append(.tokens(ids)) }
      ids = []
    }
    for part in parts {
      switch part {
      case .special(let token) where !allowSpecial:
        finishText(allowSpecial: false)
        text = token
        finishText(allowSpecial: true)
      case .special(let token): text += token
      case .template(let template): text += template
      case .message(let message): text += message
      case .image:
        finishPiece()
        pieces.append(.image)
      }
    }
    finishPiece()
    return pieces
  }
}
