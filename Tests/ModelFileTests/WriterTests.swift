import Foundation
import ModelFile
import Parallel
import TestSupport
import Testing

@Suite struct WriterTests {
  private let pool = ThreadPool(threadCount: 2)

  private func writer(_ path: String, fingerprint: String = "test", overwrite: Bool = false) throws -> ModelFileWriter {
    try ModelFileWriter(path: path, fingerprint: fingerprint, chunkSize: 4096, overwrite: overwrite, pool: pool)
  }

  /// Writes some tensors, half of another, and goes away as a killed process would.
  private func interrupt(_ path: String, after count: Int, fingerprint: String = "test") throws {
    let writer = try writer(path, fingerprint: fingerprint)
    for tensor in SampleTensor.all[writer.resumed.count..<count] { try write(tensor, with: writer) }
    let next = SampleTensor.all[count]
    try writer.beginTensor(next.descriptor)
    for (kind, bytes) in next.planes { try writer.write(kind, Array(bytes.prefix(bytes.count / 2))) }
  }

  /// Goes on where the last run was, to the end.
  private func complete(_ path: String, expecting resumed: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let writer = try writer(path)
    #expect(writer.resumed.map(\.descriptor) == SampleTensor.all.prefix(resumed).map(\.descriptor), sourceLocation: sourceLocation)
    for tensor in SampleTensor.all.dropFirst(writer.resumed.count) { try write(tensor, with: writer) }
    for (name, bytes) in SampleTensor.sections { try writer.addSection(name, bytes) }
    try writer.finish()
  }

  @Test(arguments: 0..<SampleTensor.all.count)
  func anInterruptedRunIsTakenUp(_ count: Int) throws {
    let folder = try TemporaryDirectory()
    try interrupt(folder.file("model.sfq"), after: count)
    #expect(folder.contents == ["model.sfq.partial", "model.sfq.partial.journal"])
    try complete(folder.file("model.sfq"), expecting: count)
    #expect(folder.contents == ["model.sfq"])
    try expectContents(of: folder.file("model.sfq"))
    // To the last byte what one run makes.
    try write(to: folder.file("straight.sfq"))
    #expect(try bytes(of: folder.file("model.sfq")) == bytes(of: folder.file("straight.sfq")))
  }

  @Test func aRunMayBeInterruptedMoreThanOnce() throws {
    let folder = try TemporaryDirectory()
    for count in [2, 3, 5] { try interrupt(folder.file("model.sfq"), after: count) }
    try complete(folder.file("model.sfq"), expecting: 5)
    try expectContents(of: folder.file("model.sfq"))
  }

  @Test func damagedWorkIsDoneAgain() throws {
    let folder = try TemporaryDirectory()
    try interrupt(folder.file("model.sfq"), after: 5)
    var partial = try bytes(of: folder.file("model.sfq.partial"))
    // In the third tensor's codes.
    partial[50000] ^= 4
    try put(partial, at: folder.file("model.sfq.partial"))
    try complete(folder.file("model.sfq"), expecting: 2)
    try expectContents(of: folder.file("model.sfq"))
  }

  @Test func aPartialFileThatLostItsEndIsCutBack() throws {
    let folder = try TemporaryDirectory()
    try interrupt(folder.file("model.sfq"), after: 5)
    let partial = try bytes(of: folder.file("model.sfq.partial"))
    try put(Array(partial.prefix(50000)), at: folder.file("model.sfq.partial"))
    try complete(folder.file("model.sfq"), expecting: 2)
    try expectContents(of: folder.file("model.sfq"))
  }

  @Test func aJournalThatIsCutOrDamagedLosesOnlyItsEnd() throws {
    let folder = try TemporaryDirectory()
    try interrupt(folder.file("model.sfq"), after: 4)
    let journal = try bytes(of: folder.file("model.sfq.partial.journal"))
    try put(Array(journal.dropLast(3)), at: folder.file("model.sfq.partial.journal"))
    do {
      let again = try writer(folder.file("model.sfq"))
      #expect(again.resumed.count == 3)
    }
    var damaged = journal
    damaged[journal.count - 20] ^= 1
    try put(damaged, at: folder.file("model.sfq.partial.journal"))
    try complete(folder.file("model.sfq"), expecting: 3)
    try expectContents(of: folder.file("model.sfq"))
  }

  @Test func foreignWorkIsDiscarded() throws {
    let folder = try TemporaryDirectory()
    try interrupt(folder.file("model.sfq"), after: 4, fingerprint: "other settings")
    try complete(folder.file("model.sfq"), expecting: 0)
    try expectContents(of: folder.file("model.sfq"))
    try put([1, 2, 3], at: folder.file("again.sfq.partial"))
    try put([4, 5, 6], at: folder.file("again.sfq.partial.journal"))
    try complete(folder.file("again.sfq"), expecting: 0)
    try expectContents(of: folder.file("again.sfq"))
  }

  @Test func aFinishedFileUnderThePartialNameIsNotTouched() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    try FileManager.default.linkItem(atPath: folder.file("model.sfq"), toPath: folder.file("model.sfq.partial"))
    let whole = try bytes(of: folder.file("model.sfq"))
    let writer = try writer(folder.file("model.sfq"), overwrite: true)
    #expect(writer.resumed.isEmpty)
    try write(SampleTensor.all[0], with: writer)
    #expect(try bytes(of: folder.file("model.sfq")) == whole)
  }

  @Test func abortLeavesNothing() throws {
    let folder = try TemporaryDirectory()
    let writer = try writer(folder.file("model.sfq"))
    try write(SampleTensor.all[0], with: writer)
    writer.abort()
    #expect(folder.contents.isEmpty)
    #expect(failure { try writer.finish() } == .writerClosed(path: folder.file("model.sfq")))
    #expect(failure { try write(SampleTensor.all[1], with: writer) } == .writerClosed(path: folder.file("model.sfq")))
  }

  @Test func anExistingFileIsLeftAlone() throws {
    let folder = try TemporaryDirectory()
    try put([1, 2, 3], at: folder.file("model.sfq"))
    #expect(failure { _ = try writer(folder.file("model.sfq")) } == .output(.exists(path: folder.file("model.sfq"))))
    #expect(try bytes(of: folder.file("model.sfq")) == [1, 2, 3])
    #expect(folder.contents == ["model.sfq"])
    try write(to: folder.file("model.sfq"), overwrite: true)
    try expectContents(of: folder.file("model.sfq"))
  }

  @Test func aFileThatAppearsMeanwhileIsLeftAloneToo() throws {
    let folder = try TemporaryDirectory()
    let writer = try writer(folder.file("model.sfq"))
    try write(SampleTensor.all[0], with: writer)
    try put([1, 2, 3], at: folder.file("model.sfq"))
    #expect(failure { try writer.finish() } == .output(.exists(path: folder.file("model.sfq"))))
    #expect(try bytes(of: folder.file("model.sfq")) == [1, 2, 3])
  }

  @Test func twoWritersOfOneNameExcludeEachOther() throws {
    let folder = try TemporaryDirectory()
    let first = try writer(folder.file("model.sfq"))
    try write(SampleTensor.all[0], with: first)
    #expect(failure { _ = try writer(folder.file("model.sfq")) } == .locked(path: folder.file("model.sfq.partial")))
    try first.finish()
    #expect(try ModelFileReader(path: folder.file("model.sfq")).tensors.count == 1)
    try write(to: folder.file("model.sfq"), overwrite: true)
  }

  @Test func aFolderThatIsNotThere() throws {
    let path = "/nowhere/model.sfq"
    #expect(failure { _ = try writer(path) } == .cannotCreate(path: path + ".partial", code: ENOENT))
  }
}
