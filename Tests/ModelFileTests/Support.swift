import Foundation
import ModelFile
import Parallel
import TestSupport
import Testing

extension SeededNumbers {
  /// Codes as quantizing gaussian weights to 4 bits makes them: zstd takes them to about nine tenths.
  mutating func codes(_ count: Int) -> [UInt8] {
    func nibble(_ bits: UInt64) -> UInt8 {
      // A sum of four uniform numbers is near enough to a gaussian one.
      let sum = (0..<4).reduce(0) { $0 + Int(bits >> UInt64($1 * 6) & 63) }
      return UInt8(max(0, min(15, (sum - 126) / 16 + 8)))
    }
    return (0..<count).map { _ in
      let bits = next()
      return nibble(bits) | nibble(bits >> 30) << 4
    }
  }
}

/// A tensor and what its planes hold.
struct SampleTensor {
  var descriptor: TensorDescriptor
  var planes: [PlaneKind: [UInt8]]

  init(_ name: String, _ shape: [Int], _ encoding: TensorEncoding, seed: UInt64) {
    descriptor = TensorDescriptor(name: name, shape: shape, encoding: encoding)
    var numbers = SeededNumbers(seed)
    planes = [:]
    if let layout = descriptor.quantizedLayout {
      planes[.codes] = numbers.codes(layout.codeBytes)
      planes[.scales] = SampleTensor.halves(layout.scaleBytes, &numbers)
      if !layout.scheme.isSymmetric { planes[.minima] = SampleTensor.halves(layout.scaleBytes, &numbers) }
    } else {
      planes[.values] = SampleTensor.halves(descriptor.elementCount * (encoding.valueSize ?? 0), &numbers)
    }
  }

  /// Bytes that are small numbers in every float type: no infinities, which would compare badly.
  private static func halves(_ count: Int, _ numbers: inout SeededNumbers) -> [UInt8] {
    var bytes = numbers.bytes(count)
    for index in stride(from: 1, to: count, by: 2) { bytes[index] = 0x2C | bytes[index] & 0x83 }
    return bytes
  }

  /// One of each encoding, with padding, several chunks and a plane long enough to begin at a page.
  static let all: [SampleTensor] = [
    SampleTensor("norm.weight", [300], .float32, seed: 1),
    SampleTensor("layers.0.q.weight", [70, 200], .quantized(bits: 4, group: 32, symmetric: true), seed: 2),
    SampleTensor("layers.0.k.weight", [512, 384], .quantized(bits: 4, group: 128, symmetric: false), seed: 3),
    SampleTensor("layers.0.v.weight", [33, 100], .quantized(bits: 8, group: 64, symmetric: true), seed: 4),
    SampleTensor("embedding", [500, 96], .bfloat16, seed: 5),
    SampleTensor("conv", [6, 3, 4, 4], .float16, seed: 6),
    SampleTensor("gate", [], .float32, seed: 7),
  ]

  static let sections: [(String, [UInt8])] = [
    ("config.json", Array(#"{"model_type": "example"}"#.utf8)), ("empty", []), ("tokenizer", Array(repeating: 65, count: 20000)),
  ]
}

/// Writes tensors and sections; the pieces of different planes come in turns.
func write(
  _ tensors: [SampleTensor] = SampleTensor.all, to path: String, compression: ChunkCompression = .standard, chunkSize: Int = 4096,
  overwrite: Bool = false, pool: ThreadPool = ThreadPool(threadCount: 2)
) throws {
  let writer = try ModelFileWriter(
    path: path, fingerprint: "test", compression: compression, chunkSize: chunkSize, overwrite: overwrite, pool: pool)
  for tensor in tensors { try write(tensor, with: writer) }
  for (name, bytes) in SampleTensor.sections { try writer.addSection(name, bytes) }
  try writer.finish()
}

func write(_ tensor: SampleTensor, with writer: ModelFileWriter, piece: Int = 7777) throws {
  try writer.beginTensor(tensor.descriptor)
  var rest = tensor.planes.mapValues { $0[...] }
  while rest.contains(where: { !$0.value.isEmpty }) {
    for (kind, bytes) in rest.sorted(by: { $0.key.rawValue > $1.key.rawValue }) where !bytes.isEmpty {
      try writer.write(kind, Array(bytes.prefix(piece)))
      rest[kind] = bytes.dropFirst(piece)
    }
  }
  try writer.endTensor()
}

/// Everything that `tensors` hold is what the file gives back.
func expectContents(
  _ tensors: [SampleTensor] = SampleTensor.all, of path: String, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let pool = ThreadPool(threadCount: 2)
  let reader = try ModelFileReader(path: path)
  #expect(reader.tensors.map(\.descriptor) == tensors.map(\.descriptor), sourceLocation: sourceLocation)
  let loaded = try reader.loadAll(of: tensors.map(\.descriptor.name), pool: pool)
  for (tensor, found) in zip(tensors, loaded) {
    for (kind, bytes) in tensor.planes {
      #expect(found[kind].map { Array($0.bytes) } == bytes, "\(tensor.descriptor.name) \(kind)", sourceLocation: sourceLocation)
    }
  }
  for (name, bytes) in SampleTensor.sections { #expect(try reader.section(name) == bytes, sourceLocation: sourceLocation) }
  #expect(try reader.verify(pool: pool).isEmpty, sourceLocation: sourceLocation)
}

func bytes(of path: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) }
func put(_ bytes: [UInt8], at path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

/// The folder of the format's specification.
let formats = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Formats").path

/// What a call throws; nil if it does not.
func failure(of body: () throws -> Void) -> ModelFileError? {
  do {
    try body()
    return nil
  } catch { return error as? ModelFileError }
}
