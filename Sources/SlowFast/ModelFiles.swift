import Foundation
import ModelFile
import Models
import Parallel
import Support
import Tokenizer

/// What can be done with `.sfq` files without running them.
public enum ModelFiles {
  /// Damage that `verify` found.
  public struct Finding: Sendable, Codable, CustomStringConvertible {
    /// The tensor, section or part of the file.
    public var part: String
    /// First damaged byte in the file, and the one after the last.
    public var start: Int
    /// The byte after the damaged range.
    public var end: Int
    /// One line: the file, the part, the bytes, what was expected and what was found.
    public var problem: String

    public var description: String { problem }
  }

  /// Checks every checksum. `progress` gets bytes done and in all, and says whether to go on.
  public static func verify(
    _ path: String, threads: Int? = nil, progress: @escaping @Sendable (Int, Int) -> Bool = { _, _ in true }
  ) throws(SlowFastError) -> [Finding] {
    do throws(ModelFileError) {
      let damage = try ModelFileReader(path: path).verify(pool: ThreadPool(threadCount: threads), progress: progress)
      return damage.map {
        Finding(
          part: $0.part.map { "\($0)" } ?? "between chunks", start: $0.range.lowerBound, end: $0.range.upperBound, problem: $0.description)
      }
    } catch { throw SlowFastError(error, path: path) }
  }

  /// Writes the same model as small as it gets, or with no chunk compressed. The embedding table stays raw: single rows of it are read.
  public static func rewrite(
    _ path: String, to output: String, compressed: Bool, force: Bool = false, threads: Int? = nil,
    progress: @escaping @Sendable (Int, Int) -> Bool = { _, _ in true }
  ) throws(SlowFastError) {
    do throws(ModelFileError) {
      try ModelFileTransform.rewrite(
        from: path, to: output, compression: compressed ? .smallest : .none, keptRaw: [TensorSchema.embeddingName],
        overwrite: force, pool: ThreadPool(threadCount: threads), progress: progress)
    } catch { throw SlowFastError(error, path: path) }
  }
}

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
