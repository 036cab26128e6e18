import Foundation
import Testing
import Tokenizer

@Suite("Decoding and looking up tokens")
struct DecodingTests {
  private struct Case: Decodable {
    var ids: [Int32]
    var decoded: String
  }

  @Test("ids that are no text decode as HuggingFace decodes them, at once and one by one")
  func brokenText() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let cases = try Fixture.decode("qwen2/decoding.json", as: [Case].self)
    #expect(cases.count == 210)
    for one in cases {
      expectSame(tokenizer.decode(one.ids), one.decoded, "\(one.ids)")
      var stream = StreamDecoder(tokenizer)
      let pieces = one.ids.map { stream.append($0) } + [stream.finish()]
      expectSame(pieces.joined(), one.decoded, "\(one.ids)")
      #expect(stream.finish() == "")
    }
  }

  @Test("a stream holds a character back until its last byte, and no longer")
  func wholeCharacters() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    // The tokens of single bytes come first: those that are printable in Latin-1, then the others.
    let order =
      (0...255).filter { 0x21...0x7E ~= $0 || 0xA1...0xAC ~= $0 || 0xAE...0xFF ~= $0 }
      + (0...255).filter { !(0x21...0x7E ~= $0 || 0xA1...0xAC ~= $0 || 0xAE...0xFF ~= $0) }
    func pieces(_ bytes: [UInt8]) throws -> [String] {
      var stream = StreamDecoder(tokenizer)
      return try bytes.map { stream.append(Int32(try #require(order.firstIndex(of: Int($0))))) } + [stream.finish()]
    }
    #expect(try pieces(Array("a😀b".utf8)) == ["a", "", "", "", "😀", "b", ""])
    #expect(try pieces(Array("é中".utf8)) == ["", "é", "", "", "中", ""])
    // Never finished.
    #expect(try pieces([0xF0, 0x9F, 0x98]) == ["", "", "", "\u{FFFD}"])
    #expect(try pieces([0xE4, 0x41]) == ["", "\u{FFFD}A", ""])
    // Wrong from the second byte on: nothing to wait for.
    #expect(try pieces([0xE0, 0x80]) == ["", "\u{FFFD}\u{FFFD}", ""])
    #expect(try pieces([0xED, 0xA0]) == ["", "\u{FFFD}\u{FFFD}", ""])
    #expect(try pieces([0xF4, 0x90]) == ["", "\u{FFFD}\u{FFFD}", ""])
    #expect(try pieces([0xC0, 0xAF, 0xFF, 0x80]) == ["\u{FFFD}", "\u{FFFD}", "\u{FFFD}", "\u{FFFD}", ""])
  }

  @Test("special tokens are left out of a stream where asked")
  func skippingSpecial() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    let ids = tokenizer.encode("<|im_start|>a<|im_end|>")
    var stream = StreamDecoder(tokenizer, skipSpecial: true)
    #expect(ids.map { stream.append($0) } == ["", "a", ""])
    stream = StreamDecoder(tokenizer)
    #expect(ids.map { stream.append($0) } == ["<|im_start|>", "a", "<|im_end|>"])
  }

  @Test("tokens by id and ids by token")
  func lookups() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    #expect(tokenizer.vocabularySize == 3261)
    #expect(tokenizer.id(of: "Ġthe") == 279)
    #expect(tokenizer.token(279) == "Ġthe")
    #expect(tokenizer.id(of: "<|im_end|>") == 3258)
    #expect(tokenizer.token(3258) == "<|im_end|>")
    #expect(tokenizer.endToken == 3258)
    let special = tokenizer.addedTokens.filter(\.isSpecial).map(\.text)
    #expect(special == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<im_start>", "<im_end>"])
    for id in [-1, 3261, Int32.max, Int32.min] { #expect(tokenizer.token(id) == nil) }
    for text in ["", " the", "no such token", "e\u{301}"] { #expect(tokenizer.id(of: text) == nil) }
    for id in 0..<Int32(tokenizer.vocabularySize) {
      let text = try #require(tokenizer.token(id))
      #expect(tokenizer.id(of: text) == id)
    }
    #expect(tokenizer.decode([-1, 279, Int32.max, Int32.min, 3261]) == " the")
  }
}
