import Compute
import Models
import Runtime
import Testing

/// Which tokens of a prompt read the slow tokens.
@Suite struct PromptTests {
  private func config(_ change: (inout HybridConfig) -> Void = { _ in }) throws -> ModelConfig {
    var config = try VideoLanguageModel(path: Golden.path("clip")).config
    var hybrid = try #require(config.hybrid)
    change(&hybrid)
    config.hybrid = hybrid
    return config
  }

  private func visual(_ rows: Int) throws -> Prompt.Piece { .visual(try Matrix(rows: rows, columns: 2)) }

  @Test func textAroundTheClip() throws {
    let prompt = Prompt(pieces: [.text([1, 2, 3]), try visual(5), .text([4, 5])])
    #expect(prompt.tokenCount == 10)
    #expect(try prompt.crossRanges(config: config()) == [0..<3, 8..<10])
    #expect(try prompt.crossRanges(config: config { $0.masksSystem = true }) == [8..<10])
    #expect(try prompt.crossRanges(config: config { $0.isTextOnly = false }) == [0..<10])
  }

  @Test func twoClips() throws {
    let prompt = Prompt(pieces: [.text([1]), try visual(2), .text([2]), try visual(3), .text([3, 4])])
    #expect(try prompt.crossRanges(config: config()) == [0..<1, 3..<4, 7..<9])
    #expect(try prompt.crossRanges(config: config { $0.masksSystem = true }) == [3..<4, 7..<9])
  }

  @Test func withoutAClipNothingReads() throws {
    let prompt = Prompt(pieces: [.text([1, 2, 3])])
    #expect(try prompt.crossRanges(config: config()) == [])
    #expect(try prompt.crossRanges(config: config { $0.isTextOnly = false }) == [])
    let empty = Prompt(pieces: [.text([1]), try visual(0)])
    #expect(try empty.crossRanges(config: config()) == [])
    var plain = try config()
    plain.hybrid = nil
    let clip = Prompt(pieces: [.text([1]), try visual(2)])
    #expect(clip.crossRanges(config: plain) == [])
  }

  @Test func furtherQuestionsFollowTheClip() throws {
    let prompt = Prompt(pieces: [.text([1, 2, 3])], followsVisual: true)
    #expect(try prompt.crossRanges(config: config()) == [0..<3])
    #expect(try prompt.crossRanges(config: config { $0.masksSystem = true }) == [0..<3])
    #expect(try prompt.crossRanges(config: config { $0.isTextOnly = false }) == [0..<3])
  }
}
