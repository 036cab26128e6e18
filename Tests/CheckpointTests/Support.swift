import Foundation

/// A directory that goes with the value.
final class TemporaryDirectory {
  let path: String

  init() throws {
    // In memory where the system has such a place: thousands of small files are written.
    let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : NSTemporaryDirectory()
    path = parent + "slowfast-checkpoint-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file and returns its path.
  @discardableResult func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = path + "/" + name
    // Foundation would wait for the disk after each file.
    let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard descriptor >= 0, bytes.withUnsafeBytes({ Glibc.write(descriptor, $0.baseAddress, $0.count) }) == bytes.count else {
      throw CocoaError(.fileWriteUnknown)
    }
    close(descriptor)
    return file
  }

  @discardableResult func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }
}

/// The bytes of a safetensors file with this header text and `dataBytes` zeros after it.
func safetensors(_ header: String, dataBytes: Int = 0) -> [UInt8] {
  safetensors(Array(header.utf8), data: [UInt8](repeating: 0, count: dataBytes))
}

func safetensors(_ header: [UInt8], data: [UInt8]) -> [UInt8] { littleEndian(UInt64(header.count)) + header + data }

func littleEndian(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

/// The header of one F32 tensor per name, one after the other.
func header(_ tensors: [(String, [Int])]) -> String {
  var offset = 0
  let entries = tensors.map { name, shape in
    let end = offset + 4 * shape.reduce(1, *)
    defer { offset = end }
    return "\"\(name)\":{\"dtype\":\"F32\",\"shape\":\(shape),\"data_offsets\":[\(offset),\(end)]}"
  }
  return "{\(entries.joined(separator: ","))}"
}

/// A file of F32 zeros.
func zeros(_ tensors: [(String, [Int])]) -> [UInt8] {
  safetensors(header(tensors), dataBytes: tensors.reduce(0) { $0 + 4 * $1.1.reduce(1, *) })
}

let goldenDirectory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Golden"
