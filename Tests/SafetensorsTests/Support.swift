import Foundation

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
