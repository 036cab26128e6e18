import Foundation
import TestSupport
import Testing
import Tokenizer

/// The bytes of a tokenizer with two byte tokens and a literal one, a merge and an added token: the example of Formats/tokenizer.md.
private let example: [UInt8] = [
  0x53, 0x46, 0x54, 0x4B, 0x01, 0x00, 0x01, 0x01,  // "SFTK", version 1, Qwen2's pattern, NFC
  0x05, 0x00, 0x00, 0x00,  // 5 ids
  0x07, 0x00, 0x00, 0x00,  // of 7 bytes
  0x01, 0x00, 0x00, 0x00,  // 1 merge
  0x01, 0x00, 0x00, 0x00,  // 1 added token
  0x03, 0x00, 0x00, 0x00,  // of 3 bytes
  0x06, 0x00, 0x00, 0x00,  // end token
  0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x03, 0x80, 0x00, 0x00,  // lengths 1, 1, none, 2, 3 (literal), padding
  0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00,  // 0 and 1 become 3
  0x06, 0x00, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,  // added token 6 of 3 bytes, special
  0x61, 0x20, 0x61, 0x20, 0xE2, 0x98, 0x83,  // "a", " ", "a ", "☃"
  0x3C, 0x65, 0x3E,  // "<e>"
]

@Suite("The serialized form")
struct SerializedTests {
  @Test("the example of the specification")
  func specification() throws {
    let tokenizer = try Tokenizer(serialized: example)
    #expect(tokenizer.vocabularySize == 7)
    #expect(tokenizer.endToken == 6)
    #expect((0..<8).map { tokenizer.token($0) } == ["a", "Ġ", nil, "aĠ", "☃", nil, "<e>", nil])
    #expect(tokenizer.id(of: "☃") == 4)
    // The space stays with the letter after it, and no text becomes a literal token.
    #expect(tokenizer.encode("a a <e>☃") == [0, 1, 0, 1, 6])
    #expect(tokenizer.decode([0, 4, 3, 2, 6]) == "a☃a <e>")
    #expect(tokenizer.serialized() == example)
  }

  @Test("what is written reads back the same", arguments: ["clip", "qwen2"])
  func roundTrip(name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    let bytes = tokenizer.serialized()
    let again = try Tokenizer(serialized: bytes)
    #expect(again.serialized() == bytes)
    #expect(again.vocabularySize == tokenizer.vocabularySize)
    #expect(again.addedTokens == tokenizer.addedTokens)
    #expect(again.endToken == tokenizer.endToken)
    for id in 0..<Int32(tokenizer.vocabularySize) { #expect(again.token(id) == tokenizer.token(id)) }
  }

  /// The error of the example with the byte at each offset replaced.
  private func error(_ changes: [Int: UInt8]) -> String {
    var bytes = example
    for (offset, value) in changes { bytes[offset] = value }
    do {
      _ = try Tokenizer(serialized: bytes)
      return "none"
    } catch {
      return "\(error)"
    }
  }

  @Test("everything that must be refused is")
  func refusals() throws {
    #expect(throws: TokenizerError.notSerialized) { try Tokenizer(serialized: []) }
    #expect(throws: TokenizerError.notSerialized) { try Tokenizer(serialized: Array("{\"version\"".utf8)) }
    #expect(throws: TokenizerError.unsupportedVersion(found: 2, supported: 1)) {
      try Tokenizer(serialized: Array(example[..<4]) + [2] + Array(example[5...]))
    }
    for length in 4..<32 {
      #expect(throws: TokenizerError.wrongLength(expected: 32, found: length)) { try Tokenizer(serialized: Array(example[..<length])) }
    }
    for length in 32..<example.count {
      #expect(throws: TokenizerError.wrongLength(expected: 74, found: length)) { try Tokenizer(serialized: Array(example[..<length])) }
    }
    #expect(throws: TokenizerError.wrongLength(expected: 74, found: 75)) { try Tokenizer(serialized: example + [0]) }

    #expect(error([6: 4]) == "tokenizer: at byte 6: unknown pre-tokenizer 4")
    #expect(error([7: 2]) == "tokenizer: at byte 7: unknown flags 2")
    #expect(error([10: 0x41]) == "tokenizer: at byte 8: 4259845 tokens, at most 4194304 are possible")
    #expect(error([15: 0xFF]) == "tokenizer: 74 bytes, expected 4278190154")
    #expect(error([19: 0xFF]) == "tokenizer: at byte 16: 4278190081 merges, at most 4194304 are possible")
    #expect(error([23: 0xFF]) == "tokenizer: at byte 20: 4278190081 added tokens, at most 65536 are possible")
    #expect(error([28: 2]) == "tokenizer: at byte 28: the end token 2 does not exist")
    #expect(error([28: 7]) == "tokenizer: at byte 28: the end token 7 does not exist")
    #expect(error([31: 0x80]) == "tokenizer: at byte 28: the end token -2147483642 does not exist")
    #expect(error([28: 0xFF, 29: 0xFF, 30: 0xFF, 31: 0xFF]) == "none")
    #expect(error([32: 2]) == "tokenizer: at byte 12: 7 bytes of tokens, but their lengths add up to 8")
    #expect(error([42: 1]) == "tokenizer: at byte 42: the padding is not zero")
    #expect(error([44: 5]) == "tokenizer: at byte 44: a merge of the token 5, which is none that merges")
    #expect(error([47: 0xFF]) == "tokenizer: at byte 44: a merge of the token 4278190080, which is none that merges")
    #expect(error([48: 2]) == "tokenizer: at byte 44: a merge of the token 2, which is none that merges")
    #expect(error([52: 4]) == "tokenizer: at byte 44: a merge of the token 4, which is none that merges")
    #expect(error([48: 0]) == "tokenizer: at byte 44: tokens 0 and 0 do not make up token 3")
    #expect(error([52: 1]) == "tokenizer: at byte 44: tokens 0 and 1 do not make up token 1")
    #expect(error([59: 0xFF]) == "tokenizer: at byte 56: added token -16777210 is out of order or out of range")
    #expect(error([58: 0x40]) == "tokenizer: at byte 56: added token 4194310 is out of order or out of range")
    #expect(error([56: 1]) == "tokenizer: at byte 56: added token 1 has the id of another token")
    #expect(error([60: 0]) == "tokenizer: at byte 60: added token 6 has no text of 0 bytes of UTF-8")
    #expect(error([60: 4]) == "tokenizer: at byte 60: added token 6 has no text of 4 bytes of UTF-8")
    #expect(error([60: 2]) == "tokenizer: at byte 24: 1 more bytes than the added tokens have")
    #expect(error([62: 0x20]) == "tokenizer: at byte 62: added token 6 has unknown flags 32")
    #expect(error([68: 0x41]) == "tokenizer: at byte 68: token 4 is not UTF-8 outside of the byte alphabet")
    #expect(error([68: 0x41, 69: 0x41, 70: 0x41]) == "tokenizer: at byte 68: token 4 is not UTF-8 outside of the byte alphabet")
    #expect(error([71: 0xFF]) == "tokenizer: at byte 60: added token 6 has no text of 3 bytes of UTF-8")
  }

  @Test("the same pair or the same text twice")
  func repetitions() throws {
    var bytes = example
    bytes[16] = 2
    bytes.insert(contentsOf: example[44..<56], at: 56)
    #expect(throws: TokenizerError.invalidField(offset: 56, reason: "a second merge of the same two tokens")) {
      try Tokenizer(serialized: bytes)
    }
    bytes = example
    bytes[20] = 2
    bytes[24] = 6
    bytes.insert(contentsOf: [7, 0, 0, 0, 3, 0, 0, 0], at: 64)
    bytes += example.suffix(3)
    #expect(throws: TokenizerError.invalidField(offset: 64, reason: "added token 7 has the text of another")) {
      try Tokenizer(serialized: bytes)
    }
  }

  @Test("no bytes make a trap", arguments: 1...4)
  func fuzz(seed: UInt64) throws {
    let originals = [example, try Fixture.tokenizer("clip").serialized()]
    var random = SeededNumbers(seed)
    var accepted = 0
    for round in 0..<1500 {
      var bytes = originals[round % 2]
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        // Most of it among the numbers, where it matters.
        let place = Int.random(in: 0..<(Bool.random(using: &random) ? min(bytes.count, 100) : bytes.count), using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[place] = [0, 1, 0x7F, 0x80, 0xFF][Int.random(in: 0..<5, using: &random)]
        case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes[place] &+= 1
        case 3: bytes.swapAt(place, Int.random(in: 0..<bytes.count, using: &random))
        default: if round % 50 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
        }
        if bytes.isEmpty { break }
      }
      guard let tokenizer = try? Tokenizer(serialized: bytes) else { continue }
      accepted += 1
      let ids = tokenizer.encode("What's a ☃ <e> re\u{301}ad <|im_end|>\n\n 12", allowSpecial: round % 3 == 0)
      _ = tokenizer.decode(ids + [-1, 0, 300, Int32.max])
      #expect(tokenizer.serialized() == bytes)
    }
    #expect(accepted > 10)
  }
}
