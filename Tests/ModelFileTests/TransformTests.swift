import ModelFile
import Parallel
import Synchronization
import Testing

@Suite struct TransformTests {
  private let pool = ThreadPool(threadCount: 2)

  @Test(arguments: [4096, 2 << 20])
  func unpackedAndPackedAgain(_ chunkSize: Int) throws {
    let folder = try TemporaryFolder()
    try write(to: folder("packed.sfq"), chunkSize: chunkSize)
    try ModelFileTransform.rewrite(from: folder("packed.sfq"), to: folder("raw.sfq"), compression: .none, pool: pool)
    try expectContents(of: folder("raw.sfq"))
    #expect(try ModelFileReader(path: folder("raw.sfq")).tensors.flatMap(\.planes).allSatisfy { $0.isRaw })
    try ModelFileTransform.rewrite(from: folder("raw.sfq"), to: folder("again.sfq"), compression: .standard, pool: pool)
    #expect(try bytes(of: folder("again.sfq")) == bytes(of: folder("packed.sfq")))
    #expect(folder.files == ["again.sfq", "packed.sfq", "raw.sfq"])
  }

  @Test func inPlace() throws {
    let folder = try TemporaryFolder()
    let path = folder("model.sfq")
    try write(to: path)
    #expect(failure { try ModelFileTransform.rewrite(from: path, to: path, compression: .none, pool: pool) } == .outputExists(path: path))
    try ModelFileTransform.rewrite(from: path, to: path, compression: .none, overwrite: true, pool: pool)
    try expectContents(of: path)
  }

  @Test func damageIsNotCopied() throws {
    let folder = try TemporaryFolder()
    try write(to: folder("model.sfq"))
    var content = try bytes(of: folder("model.sfq"))
    let chunk = try ModelFileReader(path: folder("model.sfq")).tensors[4].planes[0].chunks[2]
    content[chunk.offset] ^= 1
    try put(content, at: folder("model.sfq"))
    let error = failure { try ModelFileTransform.rewrite(from: folder("model.sfq"), to: folder("raw.sfq"), compression: .none, pool: pool) }
    #expect(error?.rule == "chunk-checksum")
    #expect(!folder.files.contains("raw.sfq"))
  }

  @Test func aStoppedRunGoesOn() throws {
    let folder = try TemporaryFolder()
    try write(to: folder("model.sfq"))
    let stopped = failure {
      try ModelFileTransform.rewrite(from: folder("model.sfq"), to: folder("raw.sfq"), compression: .none, pool: pool) { done, total in
        done < total / 2
      }
    }
    #expect(stopped == .cancelled(path: folder("raw.sfq")))
    let first = Mutex<Int?>(nil)
    try ModelFileTransform.rewrite(from: folder("model.sfq"), to: folder("raw.sfq"), compression: .none, pool: pool) { done, _ in
      first.withLock { $0 = $0 ?? done }
      return true
    }
    // The first tensor's bytes were there already and count at once.
    #expect(first.withLock { $0 } == 1200)
    try expectContents(of: folder("raw.sfq"))
  }
}
