import Foundation
import ModelFile
import Parallel
import TestSupport
import Testing

@Suite struct DamageTests {
  private let pool = ThreadPool(threadCount: 2)

  @Test(arguments: [ChunkCompression.none, .standard, .smallest])
  func loadingRefusesADamagedChunkAndNamesIt(_ compression: ChunkCompression) throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: compression)
    let whole = try bytes(of: folder.file("model.sfq"))
    for tensor in try ModelFileReader(path: folder.file("model.sfq")).tensors {
      for plane in tensor.planes {
        let chunk = try #require(plane.chunks.last)
        var content = whole
        content[chunk.offset + chunk.storedByteCount / 2] ^= 1
        try put(content, at: folder.file("damaged.sfq"))
        let reader = try ModelFileReader(path: folder.file("damaged.sfq"))
        let error = failure { _ = try reader.load(tensor.name, pool: pool) }
        guard case .chunkChecksum(_, let part, let range, let expected, let found) = error else {
          Issue.record("\(tensor.name): \(String(describing: error))")
          continue
        }
        #expect(part == plane.part && range == chunk.range && expected == chunk.checksum && found != expected)
        let damage = try reader.verify(pool: pool)
        #expect(damage.map(\.part) == [plane.part] && damage.map(\.range) == [chunk.range])
      }
    }
  }

  @Test func verifyFindsEveryFlippedByte() throws {
    let folder = try TemporaryDirectory()
    let tensors = [SampleTensor("w", [3, 40], .quantized(bits: 4, group: 32, symmetric: false), seed: 1)]
    try write(tensors, to: folder.file("model.sfq"))
    let whole = try bytes(of: folder.file("model.sfq"))
    for offset in whole.indices {
      var content = whole
      content[offset] ^= 1 << UInt8(offset % 8)
      try put(content, at: folder.file("damaged.sfq"))
      do {
        let damage = try ModelFileReader(path: folder.file("damaged.sfq")).verify(pool: pool)
        #expect(damage.count == 1 && damage.allSatisfy { $0.range.contains(offset) }, "byte \(offset): \(damage)")
      } catch {
        #expect(error.rule != nil, "byte \(offset): \(error)")
      }
    }
  }

  @Test func verifyReportsAllDamageAtOnce() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    let reader = try ModelFileReader(path: folder.file("model.sfq"))
    var content = try bytes(of: folder.file("model.sfq"))
    let chunks = [0, 2, 4].map { reader.tensors[$0].planes[0].chunks[0] } + [reader.sections[0].plane.chunks[0]]
    for chunk in chunks { content[chunk.offset] ^= 255 }
    try put(content, at: folder.file("damaged.sfq"))
    let damaged = try ModelFileReader(path: folder.file("damaged.sfq"))
    #expect(try damaged.verify(pool: pool).map(\.range) == chunks.map(\.range))
    #expect(failure { _ = try damaged.section("config.json") }?.rule == "chunk-checksum")
    // What is whole can still be used.
    #expect(try damaged.load("layers.0.q.weight", pool: pool).planes.count == 2)
  }

  @Test(arguments: [ChunkCompression.none, .standard, .smallest])
  func aFileThatShrinksWhileItIsOpenIsAnError(_ compression: ChunkCompression) throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: compression)
    let reader = try ModelFileReader(path: folder.file("model.sfq"))
    let handle = try #require(FileHandle(forWritingAtPath: folder.file("model.sfq")))
    try handle.truncate(atOffset: 100)
    for name in ["layers.0.q.weight", "layers.0.k.weight"] {
      guard case .endedEarly = failure(of: { _ = try reader.load(name, pool: pool) }) else {
        Issue.record("\(name): no error")
        continue
      }
    }
  }

  @Test func whatIsNoModelFile() throws {
    let folder = try TemporaryDirectory()
    try put(Array("just some text, long enough for a prelude, in a file named as if it were a model".utf8), at: folder.file("text.sfq"))
    #expect(failure { _ = try ModelFileReader(path: folder.file("text.sfq")) }?.rule == "magic")
    try put([], at: folder.file("empty.sfq"))
    #expect(
      failure { _ = try ModelFileReader(path: folder.file("empty.sfq")) }
        == .tooShort(path: folder.file("empty.sfq"), expected: 64, found: 0))
    #expect(failure { _ = try ModelFileReader(path: folder.path) } == .notRegularFile(path: folder.path))
    #expect(failure { _ = try ModelFileReader(path: folder.file("none")) } == .cannotOpen(path: folder.file("none"), code: ENOENT))
    #expect(failure { _ = try ModelFileReader(path: "a\0b") } == .cannotOpen(path: "a\0b", code: EINVAL))
  }

  @Test func whatIsNotThere() throws {
    let folder = try TemporaryDirectory()
    let path = folder.file("model.sfq")
    try write(to: path)
    let reader = try ModelFileReader(path: path)
    #expect(failure { _ = try reader.load("nothing", pool: pool) } == .noSuchTensor(path: path, tensor: "nothing"))
    #expect(failure { _ = try reader.loadAll(of: ["gate", "no\n"], pool: pool) } == .noSuchTensor(path: path, tensor: "no\n"))
    #expect(failure { _ = try reader.section("nothing") } == .noSuchSection(path: path, section: "nothing"))
    #expect(ModelFileError.noSuchTensor(path: "f", tensor: "no\n").description == #"f: has no tensor 'no\n'"#)
  }
}
