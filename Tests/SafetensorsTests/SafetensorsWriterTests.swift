import Foundation
import Safetensors
import Support
import TestSupport
import Testing

@Suite struct SafetensorsWriterTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  @Test func whatIsWrittenIsReadBack() throws {
    let metadata = ["prompt": "a \"quoted\" \\ line\nand\u{1}more é😀", "x": ""]
    var writer = SafetensorsWriter(metadata: metadata)
    try writer.add("floats", shape: [2, 2], [1, -2.5, .infinity, 0x1p-149] as [Float])
    try writer.add("ids\n\"", shape: [3], [-200, 0, .max] as [Int32])
    try writer.add("pixels", shape: [1, 3], [0, 127, 255] as [UInt8])
    try writer.add("none", shape: [0, 4], [] as [Float])
    try writer.add("one", shape: [], [7] as [Float])
    let path = directory.path + "/out.safetensors"
    try writer.write(to: path)

    let file = try SafetensorsFile(path: path)
    #expect(file.metadata == metadata)
    #expect(file.tensors.count == 5)
    #expect(try file.floats(of: "floats") == [1, -2.5, .infinity, 0x1p-149])
    #expect(try file.int32s(of: "ids\n\"") == [-200, 0, .max])
    #expect(try file.uint8s(of: "pixels") == [0, 127, 255])
    #expect(try file.floats(of: "none").isEmpty)
    #expect(try file.floats(of: "one") == [7])
    #expect((file.tensors.first?.bytes.lowerBound ?? 1) % 8 == 0)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["out.safetensors"])
  }

  @Test func refusesWhatMakesNoFile() throws {
    var writer = SafetensorsWriter()
    #expect(throws: CheckpointError.countDoesNotMatchShape(tensor: "a", count: 3, shape: [2, 2])) {
      try writer.add("a", shape: [2, 2], [1, 2, 3] as [Float])
    }
    #expect(throws: CheckpointError.self) { try writer.add("a", shape: [-1, -1], [1] as [Float]) }
    try writer.add("a", shape: [1], [1] as [Float])
    #expect(throws: CheckpointError.self) { try writer.add("a", shape: [1], [1] as [Float]) }
    #expect(throws: CheckpointError.self) { try writer.add("__metadata__", shape: [1], [1] as [Float]) }
  }

  @Test func replacesOnlyWhenAllowedAndLeavesNothingBehind() throws {
    var writer = SafetensorsWriter()
    try writer.add("a", shape: [1], [1] as [Float])
    let path = try directory.write("there", "old")
    #expect(throws: CheckpointError.output(.exists(path: path))) { try writer.write(to: path, replacing: false) }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
    try writer.write(to: path)
    #expect(try SafetensorsFile(path: path).tensors.count == 1)

    let nowhere = directory.path + "/missing/out"
    #expect(throws: CheckpointError.output(.cannotWrite(path: nowhere, SystemError(ENOENT)))) { try writer.write(to: nowhere) }
    let taken = directory.path + "/taken"
    try FileManager.default.createDirectory(atPath: taken, withIntermediateDirectories: false)
    #expect(throws: CheckpointError.output(.notReplaceable(path: taken, kind: .directory))) { try writer.write(to: taken) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == ["taken", "there"])
  }
}
