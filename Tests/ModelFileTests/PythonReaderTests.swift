import Foundation
import ModelFile
import Parallel
import Tensors
import TestSupport
import Testing

/// The independent reader in `Formats/` on what this module writes, and on the conformance files.
private enum Python {
  static let program = ProcessInfo.processInfo.environment["SLOWFAST_PYTHON"] ?? "python3"

  static let isThere = (try? run(["-c", "import numpy, zstandard, xxhash"]).status == 0) ?? false

  static func run(_ arguments: [String]) throws -> (status: Int32, output: Data) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, output)
  }

  static func reader(_ arguments: String...) throws -> (status: Int32, output: Data) {
    try run(["\(formats)/sfq_reader.py"] + arguments)
  }
}

@Suite(.enabled(if: Python.isThere, "needs python3 with numpy, zstandard and xxhash"))
struct PythonReaderTests {
  @Test func readsTheConformanceFiles() throws {
    let (status, output) = try Python.reader("conformance", "\(formats)/conformance/manifest.json")
    #expect(status == 0, "\(String(decoding: output, as: UTF8.self))")
  }

  @Test(arguments: [ChunkCompression.none, .standard, .smallest])
  func readsWhatWeWrite(_ compression: ChunkCompression) throws {
    let folder = try TemporaryDirectory()
    let path = folder.file("model.sfq")
    try write(to: path, compression: compression)
    #expect(try Python.reader("verify", path).status == 0)
    let found = try JSONDecoder().decode(Contents.self, from: Python.reader("contents", path).output)
    let ours = try Contents(of: ModelFileReader(path: path))
    #expect(found.tensors == ours.tensors && found.sections == ours.sections)
    #expect(found.tensors.count == SampleTensor.all.count)
  }

  @Test func findsTheSameDamage() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    var content = try bytes(of: folder.file("model.sfq"))
    let chunk = try ModelFileReader(path: folder.file("model.sfq")).tensors[2].planes[0].chunks[1]
    content[chunk.offset + 5] ^= 16
    try put(content, at: folder.file("damaged.sfq"))
    let (status, output) = try Python.reader("verify", folder.file("damaged.sfq"))
    #expect(status == 1)
    #expect(String(decoding: output, as: UTF8.self).contains("bytes \(chunk.range.lowerBound) to \(chunk.range.upperBound)"))
  }

  @Test(arguments: [false, true])
  func dequantizesAsTheLayoutSays(isUneven: Bool) throws {
    let folder = try TemporaryDirectory()
    let scheme = QuantizedScheme(bits: 4, group: 32, isSymmetric: true, isUneven: isUneven)
    let tensor = SampleTensor("w", [40, 64], .quantized(scheme), seed: 11)
    try write([tensor], to: folder.file("model.sfq"))
    #expect(try Python.reader("dump", folder.file("model.sfq"), "w", folder.file("w.npy")).status == 0)
    let array = try bytes(of: folder.file("w.npy"))
    let codes = try #require(tensor.planes[.codes])
    let scales = try #require(tensor.planes[.scales])
    // Row 33, column 13, the example of the specification: byte 1157, the high half; scale 65.
    let code = Int(codes[1157] >> 4)
    let scale = floatOfHalf(scales.integer(UInt16.self, at: 2 * 65))
    let dumped = Float(bitPattern: array.integer(UInt32.self, at: array.count - 40 * 64 * 4 + (33 * 64 + 13) * 4))
    #expect(dumped == scale * Float(isUneven ? Int(QuantizedScheme.unevenLevels[code]) : code - 8))
  }

  /// A normal float16.
  private func floatOfHalf(_ bits: UInt16) -> Float {
    let value = Float(1024 + Int(bits & 0x3FF)) * exp2(Float(Int(bits >> 10 & 31) - 25))
    return bits >> 15 == 1 ? -value : value
  }
}

extension PythonReaderTests {
  @Test func theReadmeExplainsTheSmallestFile() throws {
    let (status, output) = try Python.reader("explain", "\(formats)/conformance/smallest.sfq")
    let readme = try String(contentsOfFile: "\(formats)/conformance/README.md", encoding: .utf8)
    #expect(status == 0 && output.count > 1000)
    #expect(readme.contains(String(decoding: output, as: UTF8.self)))
  }

  /// Two readers that share nothing but the specification agree about files that are changed at random.
  @Test func bothReadersAgreeAboutChangedFiles() throws {
    let folder = try TemporaryDirectory()
    var numbers = SeededNumbers(77)
    var entries: [[String: Any]] = []
    for index in 0..<300 {
      var content = Mutation.apply(to: try #require(Mutation.seeds.randomElement(using: &numbers)), &numbers)
      content.mendChecksums()
      try put(content, at: folder.file("\(index).sfq"))
      var entry: [String: Any] = ["file": "\(index).sfq"]
      do {
        let reader = try ModelFileReader(path: folder.file("\(index).sfq"))
        let contents = try Contents(of: reader)
        if try reader.verify(pool: ThreadPool(threadCount: 1)).isEmpty {
          entry["contents"] = try JSONSerialization.jsonObject(with: JSONEncoder().encode(contents))
        }
      } catch {}
      if entry["contents"] == nil { entry["refuse"] = "any rule" }
      entries.append(entry)
    }
    #expect((5..<290).contains(entries.count { $0["refuse"] == nil }))
    try put([UInt8](JSONSerialization.data(withJSONObject: ["files": entries])), at: folder.file("manifest.json"))
    let (status, output) = try Python.reader("conformance", folder.file("manifest.json"))
    #expect(status == 0, "\(String(decoding: output, as: UTF8.self))")
  }
}
