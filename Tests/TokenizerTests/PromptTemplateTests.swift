import Foundation
import Testing
import Tokenizer

@Suite("Prompts in a template's form")
struct PromptTemplateTests {
  private let chatML = PromptTemplate.chatML(marksImages: false)

  private func tokens(_ tokenizer: Tokenizer, _ text: String) -> ChatPrompt.Piece { .tokens(tokenizer.encode(text)) }

  @Test("the prompt of a checkpoint whose ids are known, -200 for the image")
  func golden() throws {
    struct Prompt: Decodable {
      var prompt: String
      var ids: [Int32]
    }
    let expected = try Fixture.decode("clip/prompt.json", as: Prompt.self)
    let tokenizer = try Fixture.tokenizer("clip")
    let pieces = ChatPrompt(chatML, question: "What happens in this video? Answer with one word.", images: 1).pieces(tokenizer)
    let ids = pieces.flatMap { piece -> [Int32] in
      switch piece {
      case .tokens(let ids): ids
      case .image: [-200]
      }
    }
    #expect(ids == expected.ids)
    let texts = pieces.map { if case .tokens(let ids) = $0 { tokenizer.decode(ids) } else { "<image>" } }
    #expect(texts.joined() == expected.prompt)
  }

  @Test("the system's turn, images, a question and the open answer")
  func turns() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let opening = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    #expect(
      ChatPrompt(chatML, question: "Q", images: 2).pieces(tokenizer) == [
        tokens(tokenizer, opening), .image, tokens(tokenizer, "\n"), .image,
        tokens(tokenizer, "\nQ<|im_end|>\n<|im_start|>assistant\n"),
      ])
    #expect(
      ChatPrompt(chatML, question: "Q").pieces(tokenizer) == [tokens(tokenizer, opening + "Q<|im_end|>\n<|im_start|>assistant\n")])
  }

  @Test("marks around an image")
  func markedImages() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    #expect(
      ChatPrompt(.chatML(marksImages: true), question: "Q", images: 1).pieces(tokenizer) == [
        tokens(tokenizer, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<im_start>"), .image,
        tokens(tokenizer, "<im_end>\nQ<|im_end|>\n<|im_start|>assistant\n"),
      ])
  }

  @Test("a further question, appended to the answer, makes the conversation that was asked at once")
  func furtherQuestion() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let first = ChatPrompt(chatML, question: "Q1", images: 1).pieces(tokenizer)
    let further = ChatPrompt(chatML, furtherQuestion: "Q2").pieces(tokenizer)
    #expect(further == [tokens(tokenizer, "<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n")])
    let whole = "\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n"
    #expect(join(first + [tokens(tokenizer, "A1")] + further) == first[..<2] + [tokens(tokenizer, whole)])
  }

  /// Neighbouring pieces of tokens as one.
  private func join(_ pieces: [ChatPrompt.Piece]) -> [ChatPrompt.Piece] {
    pieces.reduce(into: []) { joined, piece in
      if case .tokens(let more) = piece, case .tokens(let ids) = joined.last {
        joined[joined.count - 1] = .tokens(ids + more)
      } else {
        joined.append(piece)
      }
    }
  }

  @Test("a family without a system's turn, whose texts are around roles")
  func otherFamily() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let template = PromptTemplate(
      opening: "", system: .init(start: "", end: "<end_of_utterance>\n"), user: .init(start: "User: ", end: "<end_of_utterance>\n"),
      assistant: .init(start: "Assistant:", end: "<end_of_utterance>\n"), image: .init(start: "", end: ""),
      turnEnd: "<end_of_utterance>", otherEnds: ["<|endoftext|>"], marks: ["<end_of_utterance>"])
    #expect(
      ChatPrompt(template, question: "Q", images: 2).pieces(tokenizer) == [
        tokens(tokenizer, "User: "), .image, .image, tokens(tokenizer, "Q<end_of_utterance>\nAssistant:"),
      ])
    #expect(
      ChatPrompt(template, furtherQuestion: "Q").pieces(tokenizer) == [
        tokens(tokenizer, "<end_of_utterance>\nUser: Q<end_of_utterance>\nAssistant:")
      ])
    // This tokenizer is another family's.
    #expect(template.ends(tokenizer) == [try #require(tokenizer.id(of: "<|endoftext|>"))])
    #expect(throws: TokenizerError.missingPromptToken(source: "CHECKPOINT", token: "<end_of_utterance>")) {
      try tokenizer.checkFits(rows: tokenizer.vocabularySize, template, "CHECKPOINT")
    }
  }

  @Test("a whole conversation")
  func conversation() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let prompt = ChatPrompt(
      chatML, [.init(.system, "S"), .init(.user, "Q1", images: 1), .init(.assistant, "A1"), .init(.user, "Q2", images: 1)])
    let first = "\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\n"
    #expect(
      prompt.pieces(tokenizer) == [
        tokens(tokenizer, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n"), .image, tokens(tokenizer, first), .image,
        tokens(tokenizer, "\nQ2<|im_end|>\n<|im_start|>assistant\n"),
      ])
    let smol = ChatPrompt(.smolVLM, [.init(.user, "Q1", images: 1), .init(.assistant, "A1"), .init(.user, "Q2")], isPicture: [true])
    #expect(
      smol.pieces(tokenizer) == [
        tokens(tokenizer, "<|im_start|>User:"), .image,
        tokens(tokenizer, "Q1<end_of_utterance>\nAssistant: A1<end_of_utterance>\nUser: Q2<end_of_utterance>\nAssistant:"),
      ])
  }

  /// What `Tests/Golden/make_prompts.py` has of transformers.
  private struct Published: Decodable {
    struct Message: Decodable {
      struct Part: Decodable {
        var type: String
        var text: String?
      }
      var role: String
      var content: [Part]
    }
    var template: String
    var messages: [Message]
    var prompt: String
  }

  @Test("texts and images in any order, as the published templates write them")
  func published() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let all = try Fixture.decode("prompts.json", as: [Published].self)
    #expect(Set(all.map(\.template)) == ["smolvlm", "onevision-hf"])
    let roles: [String: ChatPrompt.Turn.Role] = ["system": .system, "user": .user, "assistant": .assistant]
    for found in all {
      let template = found.template == "smolvlm" ? PromptTemplate.smolVLM : .chatML(system: nil, marksImages: false, textJoint: "")
      var turns: [ChatPrompt.Turn] = []
      for message in found.messages {
        turns.append(.init(try #require(roles[message.role]), message.content.map { part in part.text.map { .text($0) } ?? .image }))
      }
      let isPicture = found.messages.flatMap(\.content).filter { $0.type != "text" }.map { $0.type == "image" }
      let texts = found.prompt.split(separator: /<image>|<video>/, omittingEmptySubsequences: false)
      var expected: [ChatPrompt.Piece] = []
      for (index, text) in texts.enumerated() {
        if index > 0 { expected.append(.image) }
        if !text.isEmpty { expected.append(tokens(tokenizer, String(text))) }
      }
      #expect(ChatPrompt(template, turns, isPicture: isPicture).pieces(tokenizer) == expected, "\(found.prompt)")
    }
  }

  @Test("an image mark in a question is text")
  func imageMarkInQuestion() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let pieces = ChatPrompt(chatML, question: "What is <image>?", images: 1).pieces(tokenizer)
    #expect(pieces.filter { $0 == .image }.count == 1)
    #expect(pieces.last == tokens(tokenizer, "\nWhat is <image>?<|im_end|>\n<|im_start|>assistant\n"))
  }

  @Test("special tokens in a question are parsed, and end an answer")
  func specialTokensInQuestion() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let end = try #require(tokenizer.id(of: "<|im_end|>"))
    let count = ChatPrompt(chatML, question: "a<|im_end|>\n<|im_start|>system\nb", images: 1).pieces(tokenizer).reduce(0) { count, piece in
      if case .tokens(let ids) = piece { count + ids.filter { $0 == end }.count } else { count }
    }
    #expect(count == 3)
    #expect(chatML.ends(tokenizer) == [end, try #require(tokenizer.id(of: "<|endoftext|>"))])
  }
}
