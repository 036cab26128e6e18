/// How a family of models writes a conversation: the texts of what it was trained on around what is said. A further family adds a value.
package struct PromptTemplate: Hashable, Sendable {
  /// What stands before and after what is said or shown.
  package struct Wrapping: Hashable, Sendable {
    package var start: String
    package var end: String

    package init(start: String, end: String) {
      self.start = start
      self.end = end
    }
  }

  /// What stands before all else, whatever the system says.
  package var beginning: String
  /// What every conversation begins with after it, such as the system's turn; may be empty.
  package var opening: String
  /// Around what the system says.
  package var system: Wrapping
  package var user: Wrapping
  /// What stands before what a user shows and says whose turn begins with a picture; nil: the same as before all.
  package var userStartBeforePicture: String?
  /// Where it starts, the model answers.
  package var assistant: Wrapping
  /// What the model's answers begin with, and given ones do not.
  package var answerStart: String
  /// Around each image.
  package var image: Wrapping
  /// What a turn shows and says stands in the order in which that was done; else what it shows stands before all that it says.
  package var keepsOrder: Bool
  /// Between texts that follow each other in a turn.
  package var textJoint: String
  /// What stands between the tokens of what is shown; nil: nothing.
  package var views: ViewTexts?
  /// The token that ends an answer's turn.
  package var turnEnd: String
  /// Further tokens that end an answer, whichever the checkpoint's configuration names: one that names the base model's end only would
  /// run on. A tokenizer need not have them.
  package var otherEnds: [String]
  /// The template's marks that the model knows as one token each: a tokenizer that spells one out is not the model's.
  package var marks: [String]

  package init(
    beginning: String = "", opening: String, system: Wrapping, user: Wrapping, userStartBeforePicture: String? = nil, assistant: Wrapping,
    answerStart: String = "", image: Wrapping, keepsOrder: Bool = false, textJoint: String = "\n", views: ViewTexts? = nil, turnEnd: String,
    otherEnds: [String] = [], marks: [String]
  ) {
    self.beginning = beginning
    self.opening = opening
    self.system = system
    self.user = user
    self.userStartBeforePicture = userStartBeforePicture
    self.assistant = assistant
    self.answerStart = answerStart
    self.image = image
    self.keepsOrder = keepsOrder
    self.textJoint = textJoint
    self.views = views
    self.turnEnd = turnEnd
    self.otherEnds = otherEnds
    self.marks = marks
  }

  /// The same with something else that the system says.
  package func saying(system text: String) -> PromptTemplate {
    var template = self
    template.opening = text.isEmpty ? "" : system.start + text + system.end
    return template
  }

  /// The ids of the tokens that end an answer, of those that the tokenizer has.
  package func ends(_ tokenizer: Tokenizer) -> [Int32] { ([turnEnd] + otherEnds).compactMap { tokenizer.id(of: $0) } }
}

extension PromptTemplate {
  /// ChatML, as the published slow-fast models were trained on it (`qwen_1_5`):
  ///
  ///     <|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n(image)\nWhat
  ///     happens?<|im_end|>\n<|im_start|>assistant\n
  ///
  /// - Parameters:
  ///   - system: What the system says first; nil: nothing.
  ///   - marksImages: Whether an image stands between `<im_start>` and `<im_end>` (`mm_use_im_start_end`).
  ///   - textJoint: What stands between texts of one turn.
  package static func chatML(
    system: String? = "You are a helpful assistant.", marksImages: Bool, textJoint: String = "\n"
  ) -> PromptTemplate {
    let turn = Wrapping(start: "<|im_start|>system\n", end: "<|im_end|>\n")
    return PromptTemplate(
      opening: system.map { turn.start + $0 + turn.end } ?? "", system: turn,
      user: Wrapping(start: "<|im_start|>user\n", end: "<|im_end|>\n"),
      assistant: Wrapping(start: "<|im_start|>assistant\n", end: "<|im_end|>\n"),
      image: marksImages ? Wrapping(start: "<im_start>", end: "<im_end>\n") : Wrapping(start: "", end: "\n"),
      textJoint: textJoint, turnEnd: "<|im_end|>", otherEnds: ["<|endoftext|>"],
      marks: ["<|im_start|>", "<|im_end|>"] + (marksImages ? ["<im_start>", "<im_end>"] : []))
  }
}

extension PromptTemplate {
  /// As SmolVLM2's checkpoints write it:
  ///
  ///     <|im_start|>User: (clip)What happens?<end_of_utterance>\nAssistant:
  ///
  /// A turn that begins with a picture has no space before it. What is shown and said keeps its order.
  package static let smolVLM = PromptTemplate(
    beginning: "<|im_start|>", opening: "", system: Wrapping(start: "System: ", end: "<end_of_utterance>\n"),
    user: Wrapping(start: "User: ", end: "<end_of_utterance>\n"), userStartBeforePicture: "User:",
    assistant: Wrapping(start: "Assistant:", end: "<end_of_utterance>\n"), answerStart: " ", image: Wrapping(start: "", end: ""),
    keepsOrder: true, textJoint: "", views: .smolVLM, turnEnd: "<end_of_utterance>",
    marks: ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>"])
}

/// A prompt in a template's form, and its tokens.
///
/// Each text between images is tokenized as a whole, as the published code does; a model's visual tokens go where `.image` stands. Special
/// tokens that somebody writes in a question are parsed, as there and with HuggingFace. An `<image>` is no place of an image: no clip
/// belongs to it.
package struct ChatPrompt: Sendable {
  package enum Piece: Hashable, Sendable {
    case tokens([Int32])
    /// The place of the next clip's or image's tokens.
    case image
  }

  /// What somebody says in a conversation, and what a user shows.
  package struct Turn: Hashable, Sendable {
    package enum Role: Hashable, Sendable { case system, user, assistant }
    package enum Part: Hashable, Sendable {
      case text(String)
      /// An image or a clip.
      case image
    }
    package var role: Role
    package var parts: [Part]

    package init(_ role: Role, _ parts: [Part]) { (self.role, self.parts) = (role, parts) }

    /// Images, and a text after them.
    package init(_ role: Role, _ text: String, images: Int = 0) {
      self.init(role, Array(repeating: .image, count: max(0, images)) + [.text(text)])
    }

    package var images: Int { parts.count { $0 == .image } }

    /// Puts a sentence on a line of its own before all that is said.
    package mutating func begin(saying text: String) {
      if let first = parts.firstIndex(where: { $0 != .image }), case .text(let said) = parts[first] {
        parts[first] = .text(text + "\n" + said)
      } else {
        parts.append(.text(text + "\n"))
      }
    }

    /// As a template writes them.
    fileprivate func ordered(_ template: PromptTemplate) -> [Part] {
      template.keepsOrder ? parts : parts.filter { $0 == .image } + parts.filter { $0 != .image }
    }
  }

  /// Before the first image, between each two, and after the last.
  private var texts: [Text]

  /// A conversation's first question, before which `images` images or clips stand. The model's answer is to follow.
  package init(_ template: PromptTemplate, question: String, images: Int = 0, beginsWithPicture: Bool = false) {
    self.init(template, [Turn(.user, question, images: images)], isPicture: Array(repeating: beginsWithPicture, count: max(0, images)))
  }

  /// A conversation in which all of `turns` were said. The model's answer is to follow. A system's turn at the beginning stands in place
  /// of the template's own.
  ///
  /// - Parameters:
  ///   - isPicture: Of each image or clip.
  ///   - marksAreText: Special tokens that somebody writes are the characters that they are written with.
  package init(_ template: PromptTemplate, _ turns: [Turn], isPicture: [Bool] = [], marksAreText: Bool = false) {
    texts = [Text(template.beginning + (turns.first?.role == .system ? "" : template.opening))]
    func add(_ text: String) { texts[texts.count - 1].append(text) }
    for turn in turns {
      let around =
        switch turn.role {
        case .system: template.system
        case .user: template.user
        case .assistant: PromptTemplate.Wrapping(start: template.assistant.start + template.answerStart, end: template.assistant.end)
        }
      let place = texts.count - 1
      let parts = turn.ordered(template)
      let beginsWithPicture = parts.first == .image && place < isPicture.count && isPicture[place]
      add(beginsWithPicture && turn.role == .user ? template.userStartBeforePicture ?? around.start : around.start)
      var followsText = false
      for part in parts {
        switch part {
        case .image:
          add(template.image.start)
          texts.append(Text(template.image.end))
          followsText = false
        case .text(let text):
          if text.isEmpty { continue }
          if followsText { add(template.textJoint) }
          texts[texts.count - 1].append(said: text, marksAreText: marksAreText)
          followsText = true
        }
      }
      add(around.end)
    }
    add(template.assistant.start)
  }

  /// A whole prompt as it stands: an image's or a clip's place is where it says `<image>` or `<video>`.
  package init(whole text: String) {
    texts = text.split(separator: /<image>|<video>/, omittingEmptySubsequences: false).map { Text(String($0)) }
  }

  /// The same with each place cut into as many as `views` has texts between: what is shown there is views with texts before, between and
  /// after them. nil, or none given for it: it stays one place.
  package func showing(_ views: [[String]?]) -> ChatPrompt {
    var shown = self
    shown.texts = [texts[0]]
    for (place, text) in texts.dropFirst().enumerated() {
      guard place < views.count, let views = views[place] else {
        shown.texts.append(text)
        continue
      }
      shown.texts[shown.texts.count - 1].append(views[0])
      shown.texts += views[1...].map { Text($0) }
      shown.texts[shown.texts.count - 1].append(text)
    }
    return shown
  }

  /// Places of images and clips.
  package var imageCount: Int { texts.count - 1 }

  /// What to append to a conversation's tokens, after those of the model's last answer, to ask another question: the end of the
  /// answer's turn, which the model's end token stands for and which must not be there yet, and the question's turn.
  package init(_ template: PromptTemplate, furtherQuestion question: String, marksAreText: Bool = false) {
    var text = Text(template.assistant.end + template.user.start)
    text.append(said: question, marksAreText: marksAreText)
    text.append(template.user.end + template.assistant.start)
    texts = [text]
  }

  package func pieces(_ tokenizer: Tokenizer) -> [Piece] {
    var pieces: [Piece] = []
    for (index, text) in texts.enumerated() {
      if index > 0 { pieces.append(.image) }
      let ids = tokenizer.encode(text.string, plain: text.plain)
      if !ids.isEmpty { pieces.append(.tokens(ids)) }
    }
    return pieces
  }
}

extension ChatPrompt {
  /// What is tokenized as a whole.
  private struct Text: Sendable {
    var string: String
    /// Ranges of its UTF-8 bytes in which special tokens are text.
    var plain: [Range<Int>] = []

    init(_ string: String) { self.string = string }

    mutating func append(_ other: String) { string += other }

    mutating func append(said text: String, marksAreText: Bool) {
      if marksAreText, !text.isEmpty { plain.append(string.utf8.count..<string.utf8.count + text.utf8.count) }
      string += text
    }

    mutating func append(_ other: Text) {
      let start = string.utf8.count
      plain += other.plain.map { $0.lowerBound + start..<$0.upperBound + start }
      string += other.string
    }
  }
}

extension Tokenizer {
  /// Throws where a model with so many rows of embedding cannot be asked with this tokenizer: an id that has no row, or a mark of the
  /// template that is no token of its own and would be spelt out. `source` is named by the error.
  package func checkFits(rows: Int, _ template: PromptTemplate, _ source: String) throws(TokenizerError) {
    if vocabularySize > rows {
      throw .idBeyondEmbedding(source: source, token: token(Int32(vocabularySize - 1)) ?? "", id: vocabularySize - 1, rows: rows)
    }
    for mark in template.marks where encode(mark).count != 1 {
      throw .missingPromptToken(source: source, token: mark)
    }
  }
}
