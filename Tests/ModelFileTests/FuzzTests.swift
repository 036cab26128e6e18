import Foundation
import ModelFile
import Parallel
import TestSupport
import Testing

/// Valid files, changed at random: each is refused, or what it gives is what its checksums say. Never a trap, never a read beyond the end.
@Suite struct FuzzTests {
  private static let pool = ThreadPool(threadCount: 1)

  /// Everything that a program does with a file; what it throws.
  private static func useAll(_ path: String) throws -> [Damage] {
    let reader = try ModelFileReader(path: path)
    // A table may promise more than there is; only what is small is loaded here.
    let names = reader.tensors.filter { $0.rawByteCount < 1 << 24 }.map(\.name)
    for section in reader.sections { _ = try? reader.section(section.name) }
    for name in names {
      guard let tensor = try? reader.load(name, pool: pool) else { continue }
      // Every byte that is handed out can be read.
      for plane in tensor.planes { _ = checksum(plane.bytes) }
      let rows = try reader.rows(of: name)
      var values = [Float](repeating: 0, count: rows.columns)
      _ = values.withUnsafeMutableBufferPointer { buffer in
        buffer.baseAddress.map { try? rows.read(row: rows.rows - 1, into: $0) }
      }
    }
    return try reader.verify(pool: pool)
  }

  @Test(arguments: 0..<8)
  func changedFilesWithChecksumsThatFit(_ seed: UInt64) throws {
    let folder = try TemporaryDirectory()
    var numbers = SeededNumbers(seed)
    var opened = 0
    for _ in 0..<400 {
      var content = Mutation.apply(to: try #require(Mutation.seeds.randomElement(using: &numbers)), &numbers)
      content.mendChecksums()
      try put(content, at: folder.file("model.sfq"))
      do {
        _ = try Self.useAll(folder.file("model.sfq"))
        opened += 1
      } catch {
        let problem = try #require(error as? ModelFileError)
        #expect(problem.rule != nil, "\(problem)")
        #expect(!problem.description.contains("\n"))
      }
    }
    // The mutations reach beyond the first check.
    #expect(opened > 20 && opened < 380)
  }

  @Test(arguments: 0..<4)
  func changedFilesAreNeverTakenForWhole(_ seed: UInt64) throws {
    let folder = try TemporaryDirectory()
    var numbers = SeededNumbers(seed + 100)
    for _ in 0..<300 {
      let whole = try #require(Mutation.seeds.randomElement(using: &numbers))
      let content = Mutation.apply(to: whole, &numbers)
      guard content != whole else { continue }
      try put(content, at: folder.file("model.sfq"))
      let damage = try? Self.useAll(folder.file("model.sfq"))
      #expect(damage?.isEmpty != true)
    }
  }

  @Test func everyTruncationIsRefused() throws {
    let folder = try TemporaryDirectory()
    let whole = try bytes(of: "\(formats)/conformance/packed.sfq")
    for count in 0..<whole.count {
      try put(Array(whole.prefix(count)), at: folder.file("model.sfq"))
      let error = failure { _ = try ModelFileReader(path: folder.file("model.sfq")) }
      #expect(error?.rule == (count < 8 && count > 0 ? "mangled" : count < 64 ? "prelude-short" : "file-length") || count < 4)
      #expect(error != nil)
    }
  }

  @Test func journalsOfAnyContentAreSafe() throws {
    let folder = try TemporaryDirectory()
    var numbers = SeededNumbers(5)
    do {
      let writer = try ModelFileWriter(path: folder.file("model.sfq"), fingerprint: "f", chunkSize: 4096, pool: Self.pool)
      for tensor in SampleTensor.all.prefix(4) { try write(tensor, with: writer) }
    }
    let partial = try bytes(of: folder.file("model.sfq.partial"))
    let journal = try bytes(of: folder.file("model.sfq.partial.journal"))
    for _ in 0..<300 {
      var content = journal
      for _ in 0..<Int.random(in: 1...4, using: &numbers) {
        let offset = Int.random(in: 0..<content.count, using: &numbers)
        content[offset] = UInt8.random(in: .min ... .max, using: &numbers)
      }
      try put(content, at: folder.file("model.sfq.partial.journal"))
      try put(partial, at: folder.file("model.sfq.partial"))
      let writer = try ModelFileWriter(path: folder.file("model.sfq"), fingerprint: "f", chunkSize: 4096, pool: Self.pool)
      #expect(writer.resumed.map(\.descriptor) == SampleTensor.all.prefix(writer.resumed.count).map(\.descriptor))
    }
  }
}
