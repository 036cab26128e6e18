import ModelFile
import Parallel
import Synchronization
import TestSupport
import Testing

@Suite struct TransformTests {
  private let pool = ThreadPool(threadCount: 2)

  @Test(arguments: [4096, 2 << 20])
  func unpackedAndPackedAgain(_ chunkSize: Int) throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("packed.sfq"), compression: .smallest, chunkSize: chunkSize)
    try ModelFileTransform.rewrite(from: folder.file("packed.sfq"), to: folder.file("raw.sfq"), compression: .none, pool: pool)
    try expectContents(of: folder.file("raw.sfq"))
    #expect(try ModelFileReader(path: folder.file("raw.sfq")).tensors.flatMap(\.planes).allSatisfy { $0.isRaw })
    try ModelFileTransform.rewrite(from: folder.file("raw.sfq"), to: folder.file("again.sfq"), compression: .smallest, pool: pool)
    #expect(try bytes(of: folder.file("again.sfq")) == bytes(of: folder.file("packed.sfq")))
    #expect(folder.contents == ["again.sfq", "packed.sfq", "raw.sfq"])
  }

  @Test func neverOntoItself() throws {
    let folder = try TemporaryDirectory()
    let path = folder.file("model.sfq")
    try write(to: path)
    for overwrite in [false, true] {
      #expect(
        failure { try ModelFileTransform.rewrite(from: path, to: path, compression: .none, overwrite: overwrite, pool: pool) }
          == .output(.isInput(path: path, input: path)))
    }
    try expectContents(of: path)
  }

  @Test func damageIsNotCopied() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    var content = try bytes(of: folder.file("model.sfq"))
    let chunk = try ModelFileReader(path: folder.file("model.sfq")).tensors[4].planes[0].chunks[2]
    content[chunk.offset] ^= 1
    try put(content, at: folder.file("model.sfq"))
    let error = failure {
      try ModelFileTransform.rewrite(from: folder.file("model.sfq"), to: folder.file("raw.sfq"), compression: .none, pool: pool)
    }
    #expect(error?.rule == "chunk-checksum")
    #expect(!folder.contents.contains("raw.sfq"))
  }

  @Test func aStoppedRunGoesOn() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    let stopped = failure {
      try ModelFileTransform.rewrite(from: folder.file("model.sfq"), to: folder.file("raw.sfq"), compression: .none, pool: pool) {
        done, total in
        done < total / 2
      }
    }
    #expect(stopped == .cancelled(path: folder.file("raw.sfq")))
    let first = Mutex<Int?>(nil)
    try ModelFileTransform.rewrite(from: folder.file("model.sfq"), to: folder.file("raw.sfq"), compression: .none, pool: pool) { done, _ in
      first.withLock { $0 = $0 ?? done }
      return true
    }
    // The first tensor's bytes were there already and count at once.
    #expect(first.withLock { $0 } == 1200)
    try expectContents(of: folder.file("raw.sfq"))
  }
}
