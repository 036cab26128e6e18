import Foundation
import ModelFile
import Support
import Tokenizer

extension Tokenizer {
  /// The tokenizer of an `.sfq` file or of a checkpoint directory; nothing else of it is read.
  public init(model path: String) throws(SlowFastError) {
    guard let kind = FileStatus(path: path)?.kind else {
      throw .badModel(path: path, reason: FileKind(path: path).insteadOfModel(path) ?? "no such file or directory")
    }
    do {
      self =
        kind == .directory
        ? try Tokenizer(checkpoint: path) : try Tokenizer(serialized: try ModelFileReader(path: path).section("tokenizer"))
    } catch { throw SlowFastError(error, path: path) }
  }

  /// The text of ids, every one of which must be a token.
  public func text(of ids: [Int32]) throws(SlowFastError) -> String {
    for id in ids where token(id) == nil {
      throw .badOption(name: "token id", found: "\(id)", expected: "a token of the vocabulary, 0 to \(vocabularySize - 1)")
    }
    return decode(ids)
  }
}
