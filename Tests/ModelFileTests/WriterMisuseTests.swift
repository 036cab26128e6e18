import ModelFile
import Parallel
import TestSupport
import Testing

/// What a writer refuses, and that it goes on after that.
@Suite struct WriterMisuseTests {
  private let folder: TemporaryDirectory
  private let path: String
  private let writer: ModelFileWriter

  init() throws {
    folder = try TemporaryDirectory()
    path = folder.file("model.sfq")
    writer = try ModelFileWriter(path: path, fingerprint: "", pool: ThreadPool(threadCount: 1))
  }

  private func begin(_ name: String = "w", _ shape: [Int] = [2, 3], _ encoding: TensorEncoding = .float32) throws {
    try writer.beginTensor(TensorDescriptor(name: name, shape: shape, encoding: encoding))
  }

  @Test func planesTakeExactlyTheirBytes() throws {
    let part = FilePart.tensor("w", .values)
    try begin()
    let overfull = failure { try writer.write(.values, [UInt8](repeating: 0, count: 25)) }
    #expect(overfull == .planeOverfull(path: path, part: part, expected: 24, found: 25))
    try writer.write(.values, [UInt8](repeating: 1, count: 20))
    #expect(failure { try writer.endTensor() } == .planeIncomplete(path: path, part: part, expected: 24, found: 20))
    #expect(failure { try writer.write(.scales, [0]) } == .noSuchPlane(path: path, part: .tensor("w", .scales)))
    #expect(failure { try writer.finish() } == .tensorStillOpen(path: path, tensor: "w"))
    #expect(failure { try begin("v") } == .tensorStillOpen(path: path, tensor: "w"))
    try writer.write(.values, [1, 1, 1, 1])
    try writer.endTensor()
    #expect(failure { try writer.endTensor() } == .noOpenTensor(path: path))
    #expect(failure { try writer.write(.values, [0]) } == .noOpenTensor(path: path))
    #expect(failure { try begin() } == .duplicateTensor(path: path, tensor: "w"))
    try writer.finish()
    let loaded = try ModelFileReader(path: path).load("w", pool: ThreadPool(threadCount: 1))
    #expect(loaded[.values].map { Array($0.bytes) } == [UInt8](repeating: 1, count: 24))
  }

  @Test func shapesAndEncodings() throws {
    let quantized = TensorEncoding.quantized(bits: 4, group: 32, symmetric: true)
    #expect(failure { try begin("") }?.rule == "tensor-name")
    #expect(failure { try begin(String(repeating: "é", count: 257)) }?.rule == "tensor-name")
    #expect(failure { try begin("w", [2, 0]) }?.rule == "dimension")
    #expect(failure { try begin("w", [-1]) }?.rule == "dimension")
    #expect(failure { try begin("w", [Int](repeating: 1, count: 9)) }?.rule == "rank")
    #expect(failure { try begin("w", [64], quantized) }?.rule == "rank")
    #expect(failure { try begin("w", [Int.max, 2]) }?.rule == "element-limit")
    #expect(failure { try begin("w", [1 << 41, 4], quantized) }?.rule == "element-limit")
    #expect(failure { try begin("w", [2, 2], .quantized(bits: 2, group: 32, symmetric: true)) }?.rule == "bits")
    for group in [0, -32, 16, 48, 65568, Int.max] {
      #expect(failure { try begin("w", [2, 2], .quantized(bits: 8, group: group, symmetric: false)) }?.rule == "group")
    }
    try begin()
  }

  @Test func sections() throws {
    #expect(failure { try writer.addSection("", []) }?.rule == "section-name")
    #expect(failure { try writer.addSection("two words", []) }?.rule == "section-name")
    #expect(failure { try writer.addSection("s", [UInt8](repeating: 0, count: 64 << 20 + 1)) }?.rule == "section-limit")
    try writer.addSection("s", [])
    #expect(failure { try writer.addSection("s", []) } == .duplicateSection(path: path, section: "s"))
    for index in 1..<256 { try writer.addSection("s\(index)", [1]) }
    #expect(failure { try writer.addSection("one more", []) }?.rule == "section-name")
    #expect(failure { try writer.addSection("more", []) } == .tooManySections(path: path, found: 257, limit: 256))
    try writer.finish()
    #expect(try ModelFileReader(path: path).sections.count == 256)
  }

  @Test(arguments: [0, 4095, 5000, 8 << 20])
  func chunkSizes(_ size: Int) throws {
    let pool = ThreadPool(threadCount: 1)
    let found = failure { _ = try ModelFileWriter(path: folder.file("other"), fingerprint: "", chunkSize: size, pool: pool) }
    #expect(found == .chunkSize(path: folder.file("other"), found: size))
    #expect(folder.contents.count == 2)
  }
}
