import Foundation
import Testing
import Tokenizer

/// The tables against Swift's own Unicode data, which knows the version that each scalar came with.
@Suite("Unicode data")
struct UnicodeTests {
  private static let scalars = (UInt32(0)...0x10FFFF).compactMap(Unicode.Scalar.init)

  private func isKnown(_ scalar: Unicode.Scalar, to version: Int) -> Bool { scalar.properties.age.map { $0.major <= version } ?? false }

  @Test("letters and numbers are those of Unicode 16, white space as ever")
  func classes() {
    let properties = ScalarProperties.shared
    for scalar in Self.scalars {
      let expected: ScalarClass
      switch scalar.properties.generalCategory {
      case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: expected = .letter
      case .decimalNumber, .letterNumber, .otherNumber: expected = .number
      default: expected = scalar.properties.isWhitespace ? scalar == "\n" || scalar == "\r" ? .newline : .space : .other
      }
      let found = properties.scalarClass(scalar.value)
      if found != (isKnown(scalar, to: 16) ? expected : .other) { Issue.record("U+\(String(scalar.value, radix: 16)): \(found)") }
    }
  }

  @Test("combining classes are those of Unicode 9")
  func combiningClasses() {
    for scalar in Self.scalars {
      let expected = isKnown(scalar, to: 9) ? scalar.properties.canonicalCombiningClass.rawValue : 0
      let found = ScalarProperties.shared.combiningClass(scalar.value)
      if found != expected { Issue.record("U+\(String(scalar.value, radix: 16)): \(found), expected \(expected)") }
    }
  }

  /// Foundation's NFC is no reference: it leaves some jamo after a syllable (U+AC00 U+11A8) where they are.
  private func normalize(_ text: String) -> String {
    let bytes = Array(text.utf8)
    return NFC.normalize(bytes, 0..<bytes.count).map { String(decoding: $0, as: UTF8.self) } ?? text
  }

  private struct NFCVectors: Decodable {
    struct Text: Decodable {
      var text: String
      var normalized: String
    }
    struct Block: Decodable {
      var start: UInt32
      var digest: UInt64
    }
    var texts: [Text]
    var blocks: [Block]
  }

  @Test("NFC of random runs of letters, marks and jamo is that of HuggingFace's tokenizers")
  func randomTexts() throws {
    for one in try Fixture.decode("unicode/nfc.json", as: NFCVectors.self).texts {
      expectSame(normalize(one.text), one.normalized, "\(one.text.unicodeScalars.map { String($0.value, radix: 16) })")
    }
  }

  @Test("NFC of every scalar of the blocks that it changes, alone and among marks, is that of HuggingFace's tokenizers")
  func blocks() throws {
    let blocks = try Fixture.decode("unicode/nfc.json", as: NFCVectors.self).blocks
    #expect(blocks.count == 14)
    for block in blocks {
      var digest: UInt64 = 0
      for scalar in (block.start..<block.start + 0x1000).compactMap(Unicode.Scalar.init) {
        for text in ["\(scalar)", "a\(scalar)\u{301}", "q\u{345}\(scalar)\u{334}", "\(scalar)\u{327}\u{301}"] {
          digest = Vectors.digest(normalize(text).utf8, digest)
        }
      }
      #expect(digest == block.digest, "U+\(String(block.start, radix: 16))")
    }
  }
}
