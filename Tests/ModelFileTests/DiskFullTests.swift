import Foundation
import ModelFile
import Parallel
import TestSupport
import Testing

@Suite(.enabled(if: SmallDisk.isPossible, "needs the right to mount a tmpfs"))
struct DiskFullTests {
  private let pool = ThreadPool(threadCount: 2)
  private let tensors = (0..<4).map {
    SampleTensor("w\($0)", [512, 512], .quantized(bits: 8, group: 64, symmetric: true), seed: UInt64($0))
  }

  @Test func aFullDiskIsAnErrorAndTheWorkIsKept() throws {
    let disk = try #require(SmallDisk(kibibytes: 1024))
    let path = "\(disk.path)/model.sfq"
    do {
      let writer = try ModelFileWriter(path: path, fingerprint: "f", compression: .none, chunkSize: 65536, pool: pool)
      let error = failure { for tensor in tensors { try write(tensor, with: writer, piece: 100_000) } }
      guard case .diskFull(let partial, let offset, _) = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(partial == path + ".partial" && offset > 3 * 262144)
      // The writer stays failed, and says why.
      #expect(failure { try writer.finish() } == error)
      let files = try FileManager.default.contentsOfDirectory(atPath: disk.path).sorted()
      #expect(files == ["model.sfq.partial", "model.sfq.partial.journal"])
    }
    // With more room the next run goes on after the tensors that are whole.
    #expect(mount("tmpfs", disk.path, "tmpfs", UInt(MS_REMOUNT), "size=4m") == 0)
    let writer = try ModelFileWriter(path: path, fingerprint: "f", compression: .none, chunkSize: 65536, pool: pool)
    #expect(writer.resumed.map(\.name) == ["w0", "w1", "w2", "w3"].prefix(writer.resumed.count).map { $0 } && writer.resumed.count >= 3)
    for tensor in tensors.dropFirst(writer.resumed.count) { try write(tensor, with: writer) }
    for (name, bytes) in SampleTensor.sections { try writer.addSection(name, bytes) }
    try writer.finish()
    try expectContents(tensors, of: path)
  }

  @Test func aDiskThatFillsUpAtTheVeryEnd() throws {
    let disk = try #require(SmallDisk(kibibytes: 1024))
    let path = "\(disk.path)/model.sfq"
    let writer = try ModelFileWriter(path: path, fingerprint: "f", compression: .none, chunkSize: 65536, pool: pool)
    for tensor in tensors.prefix(2) { try write(tensor, with: writer) }
    try writer.addSection("large", [UInt8](repeating: 1, count: 1 << 20))
    guard case .diskFull = failure(of: { try writer.finish() }) else {
      Issue.record("no error")
      return
    }
    #expect(!FileManager.default.fileExists(atPath: path))
  }
}
