import Foundation
import ModelFile
import Parallel
import Safetensors
import Tensors
import TestSupport

let goldenDirectory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Golden"

extension TemporaryDirectory {
  var output: String { file("model.sfq") }
}

/// A tensor in memory, as a checkpoint's file has it.
struct RawTensor {
  var name: String
  var type: TensorType
  var shape: [Int]
  var bytes: [UInt8]
}

/// A golden checkpoint that a test may change before it is written.
struct EditableCheckpoint {
  var tensors: [RawTensor] = []
  var config: String
  private let golden: String

  init(_ name: String) throws {
    golden = goldenDirectory + "/" + name
    let checkpoint = try Checkpoint(directory: golden)
    config = String(decoding: checkpoint.config, as: UTF8.self)
    for shard in checkpoint.shards {
      for tensor in shard.tensors {
        let bytes = try shard.withBytes(of: tensor) { Array($0) }
        tensors.append(RawTensor(name: tensor.name, type: tensor.type, shape: tensor.shape, bytes: bytes))
      }
    }
  }

  subscript(name: String) -> RawTensor {
    get { tensors.first { $0.name == name } ?? RawTensor(name: name, type: .float32, shape: [], bytes: []) }
    set { for index in tensors.indices where tensors[index].name == name { tensors[index] = newValue } }
  }

  mutating func remove(_ name: String) { tensors.removeAll { $0.name == name } }

  /// Writes a checkpoint of one file below `directory` and opens it.
  func write(in directory: TemporaryDirectory, named name: String = "model") throws -> Checkpoint {
    let path = directory.path + "/" + name
    try? FileManager.default.removeItem(atPath: path)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for file in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
      try FileManager.default.copyItem(atPath: golden + "/" + file, toPath: path + "/" + file)
    }
    try Data(config.utf8).write(to: URL(fileURLWithPath: path + "/config.json"))
    try Data(safetensors(tensors)).write(to: URL(fileURLWithPath: path + "/model.safetensors"))
    return try Checkpoint(directory: path)
  }
}

/// The bytes of a safetensors file.
func safetensors(_ tensors: [RawTensor]) -> [UInt8] {
  var offset = 0
  var entries: [String] = []
  for tensor in tensors {
    let name = tensor.name.unicodeScalars.map {
      $0.value < 0x20 ? "\\u00" + ($0.value < 16 ? "0" : "") + String($0.value, radix: 16) : "\($0)"
    }
    let end = offset + tensor.bytes.count
    entries.append(
      "\"\(name.joined())\":{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":\(tensor.shape),\"data_offsets\":[\(offset),\(end)]}")
    offset = end
  }
  let header = Array("{\(entries.joined(separator: ","))}".utf8)
  let prefix = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
  return prefix + header + tensors.flatMap(\.bytes)
}

/// The values of a checkpoint's tensor.
func floats(_ tensor: RawTensor) -> [Float] {
  let size = tensor.type.size
  return stride(from: 0, to: tensor.bytes.count, by: size).map { start in
    let bits = (0..<size).reduce(UInt32(0)) { $0 | UInt32(tensor.bytes[start + $1]) << (8 * UInt32($1)) }
    switch tensor.type {
    case .bfloat16: return Float(bitPattern: bits << 16)
    case .float16: return Float(Float16(bitPattern: UInt16(bits)))
    default: return Float(bitPattern: bits)
    }
  }
}

/// A tensor of a model file, its values computed from the format's description and nothing else.
struct ReadTensor {
  var values: [Float]
  /// The step between two codes at each value; nil where values are stored as they are.
  var steps: [Float]?

  init(_ file: ModelFileReader, _ name: String) throws {
    let tensor = try file.load(name, pool: ThreadPool(threadCount: 1))
    let descriptor = tensor.descriptor
    func half(_ plane: PlaneKind, _ index: Int) -> Float {
      tensor[plane].map { Float(Float16(bitPattern: $0.bytes.load(fromByteOffset: 2 * index, as: UInt16.self))) } ?? .nan
    }
    switch descriptor.encoding {
    case .float(.float32):
      values = (0..<descriptor.elementCount).map { index in
        tensor[.values].map { $0.bytes.load(fromByteOffset: 4 * index, as: Float.self) } ?? .nan
      }
    case .float(.float16): values = (0..<descriptor.elementCount).map { half(.values, $0) }
    case .float(.bfloat16):
      values = (0..<descriptor.elementCount).map { index in
        tensor[.values].map { Float(bitPattern: UInt32($0.bytes.load(fromByteOffset: 2 * index, as: UInt16.self)) << 16) } ?? .nan
      }
    case .quantized(let scheme):
      let (bits, group, symmetric) = (scheme.bits, scheme.group, scheme.isSymmetric)
      let (rows, columns) = (descriptor.rows, descriptor.columns)
      let groups = (columns + group - 1) / group
      let codes = tensor[.codes].map { Array($0.bytes) } ?? []
      var values: [Float] = []
      var steps: [Float] = []
      for row in 0..<rows {
        let (panel, lane) = (row / 32, row % 32)
        for column in 0..<columns {
          let (g, k) = (column / group, column % group)
          let panelStart = panel * groups * group * bits * 4
          let code: Int
          if bits == 3 {
            let four = k % 32 / 4
            func part(_ index: Int) -> Int {
              Int(codes[panelStart + g * group * 12 + k / 32 * 384 + index * 128 + lane * 4 + k % 4])
            }
            code = four < 6 ? (part(four / 2) >> (four % 2 * 3)) & 7 : (part(four - 6) >> 6) + ((part(2) >> four) & 1) * 4
          } else if bits == 4 {
            let byte = codes[panelStart + g * group * 16 + k / 8 * 128 + lane * 4 + k % 4]
            code = Int(k % 8 < 4 ? byte & 15 : byte >> 4)
          } else {
            code = Int(codes[panelStart + g * group * 32 + k / 4 * 128 + lane * 4 + k % 4])
          }
          let index = (panel * groups + g) * 32 + lane
          let scale = half(.scales, index)
          let level = scheme.isUneven ? Int(QuantizedScheme.unevenLevels[code]) : code - (1 << (bits - 1))
          values.append(symmetric ? scale * Float(level) : scale * Float(code) + half(.minima, index))
          steps.append(abs(scale))
        }
      }
      self.values = values
      self.steps = steps
    }
  }
}
