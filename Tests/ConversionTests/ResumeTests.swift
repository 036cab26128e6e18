import Conversion
import Foundation
import ModelFile
import Safetensors
import Support
import TestSupport
import Testing

/// Runs that are interrupted, and the runs after them.
@Suite struct ResumeTests {
  let directory: TemporaryDirectory
  let checkpoint: Checkpoint
  init() throws {
    directory = try TemporaryDirectory()
    checkpoint = try Checkpoint(directory: goldenDirectory + "/clip")
  }

  private func data(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  /// Stops before tensor `index`, or later in it.
  private func interrupt(at index: Int, _ options: ConversionOptions = ConversionOptions()) throws {
    var isReached = false
    let error = #expect(throws: SlowFastError.self) {
      try Converter(checkpoint: checkpoint, options: options).run(to: directory.output) {
        isReached = $0.index >= index
      } isCancelled: {
        isReached
      }
    }
    #expect(error?.kind == .cancelled && error?.description == "interrupted")
    #expect(directory.contents.contains("model.sfq.partial"))
    #expect(!directory.contents.contains("model.sfq"))
  }

  private func fresh(_ options: ConversionOptions = ConversionOptions()) throws -> Data {
    let path = directory.path + "/fresh.sfq"
    try Converter(checkpoint: checkpoint, options: options).run(to: path)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try data(path)
  }

  /// One half of a model would be of other weights than the other.
  @Test(arguments: [false, true]) func aCheckpointThatChangesMeanwhile(isCut: Bool) throws {
    let copy = directory.file("checkpoint")
    try FileManager.default.copyItem(atPath: goldenDirectory + "/clip", toPath: copy)
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: copy + "/model.safetensors"))
    let length = Int(try file.seekToEnd())
    let converter = try Converter(checkpoint: try Checkpoint(directory: copy))
    var isDone = false
    let error = #expect(throws: SlowFastError.self) {
      try converter.run(to: directory.output) { progress in
        guard progress.index >= 60, !isDone else { return }
        isDone = true
        if isCut {
          ftruncate(file.fileDescriptor, off_t(length - 1000))
        } else {
          let other = [UInt8](repeating: 0x3C, count: length / 4)
          pwrite(file.fileDescriptor, other, other.count, off_t(length / 2))
        }
      }
    }
    #expect(isDone && error?.kind == .modelChanged, "\(error as Any)")
    #expect(error?.description.contains("model.safetensors: was changed") == true)
    #expect(directory.contents == ["checkpoint"])
  }

  @Test func goesOnWhereItWasInterrupted() throws {
    let expected = try fresh()
    try interrupt(at: 60)
    // And once more, further on.
    try interrupt(at: 130)
    var first: ConversionProgress?
    var last: ConversionProgress?
    let result = try Converter(checkpoint: checkpoint).run(to: directory.output) {
      first = first ?? $0
      last = $0
    }
    #expect(result.resumedTensorCount == 130)
    #expect(first?.index == 130)
    #expect((first?.resumedByteCount ?? 0) > 0)
    #expect(last?.doneByteCount == last?.totalByteCount)
    #expect(last?.totalByteCount == result.plan.sourceByteCount)
    #expect(try data(directory.output) == expected)
    #expect(directory.contents == ["model.sfq"])
  }

  @Test func otherOptionsStartAgain() throws {
    try interrupt(at: 100)
    let options = ConversionOptions(bits: 8)
    let result = try Converter(checkpoint: checkpoint, options: options).run(to: directory.output)
    #expect(result.resumedTensorCount == 0)
    #expect(try data(directory.output) == fresh(options))
  }

  @Test func anotherCheckpointStartsAgain() throws {
    var golden = try EditableCheckpoint("clip")
    let first = try golden.write(in: directory)
    var isReached = false
    #expect(throws: SlowFastError.self) {
      try Converter(checkpoint: first).run(to: directory.output) {
        isReached = $0.index >= 50
      } isCancelled: {
        isReached
      }
    }
    // One bit of a tensor that was done, in the middle of it: neither lengths nor headers tell.
    golden["model.vision_tower.vision_tower.stem.0.weight"].bytes[101] ^= 0x80
    let second = try golden.write(in: directory)
    let result = try Converter(checkpoint: second).run(to: directory.output)
    #expect(result.resumedTensorCount == 0)
    let name = "model.vision_tower.vision_tower.stem.0.weight"
    let read = try ReadTensor(ModelFileReader(path: directory.output), name).values
    var expected = [Float](repeating: 0, count: read.count)
    let values = floats(golden[name])
    result.plan.stored.first { $0.descriptor.name == name }?.requirement.forEachStoredIndex { expected[$0] = values[$1] }
    #expect(read == expected)
  }

  @Test func damagedRemainsAreDoneAgain() throws {
    let expected = try fresh()
    try interrupt(at: 100)
    let partial = directory.output + ".partial"
    var bytes = try data(partial)
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: partial))
    let result = try Converter(checkpoint: checkpoint).run(to: directory.output)
    #expect(result.resumedTensorCount > 0 && result.resumedTensorCount < 100)
    #expect(try data(directory.output) == expected)
  }
}
