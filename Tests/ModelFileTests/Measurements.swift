import Foundation
import ModelFile
import Parallel
import TestSupport
import Testing

/// Speeds, printed and not judged: `SLOWFAST_MEASURE=1 swift test -c release --filter ModelFileTests.Measurements`.
/// `SLOWFAST_MEASURE_FOLDER` says where the files go (a quarter gigabyte each); the temporary folder by default.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["SLOWFAST_MEASURE"] != nil), .serialized)
struct Measurements {
  /// 32 tensors of 16 M weights: 272 MB of codes and scales.
  private static let layers = 32
  private static let shape = [4096, 4096]

  @Test func writingLoadingAndVerifying() throws {
    let folder = try TemporaryDirectory(in: ProcessInfo.processInfo.environment["SLOWFAST_MEASURE_FOLDER"])
    let tensor = Self.gaussian()
    let raw = Self.layers * tensor.planes.values.reduce(0) { $0 + $1.count }
    print("\(Self.layers) tensors, \(raw / 1_000_000) MB of int4/64 codes and scales of gaussian weights")
    for threads in [1, 2] {
      let pool = ThreadPool(threadCount: threads)
      for (name, compression) in [("packed", ChunkCompression.smallest), ("raw", .none)] {
        let path = folder.file("\(name).sfq")
        try report("write \(name), \(threads) threads", raw, best: 1) { try Self.write(tensor, to: path, compression, pool) }
        let reader = try ModelFileReader(path: path)
        print("  \(name): \(reader.byteCount / 1_000_000) MB, \(Double(reader.byteCount) / Double(raw)) of the raw size")
        try report("load \(name), \(threads) threads", raw) {
          let reader = try ModelFileReader(path: path)
          _ = try reader.loadAll(of: reader.tensors.map(\.name), pool: pool)
        }
        try report("verify \(name), \(threads) threads", reader.byteCount) { _ = try reader.verify(pool: pool) }
      }
      let bytes = [UInt8](repeating: 3, count: 64 << 20)
      report("XXH3-64 of memory, 1 thread", bytes.count) { _ = checksum(bytes) }
    }
    let opening = ContinuousClock().measure { for _ in 0..<100 { _ = try? ModelFileReader(path: folder.file("packed.sfq")) } }
    print("open: \(opening / 100)")
  }

  @Test func openingAFileOfManyTensors() throws {
    let folder = try TemporaryDirectory()
    let tensors = (0..<1000).map { SampleTensor("model.layers.\($0).mlp.down_proj.weight", [64, 256], .float32, seed: UInt64($0)) }
    try ModelFileTests.write(tensors, to: folder.file("model.sfq"), chunkSize: 16384, pool: ThreadPool(threadCount: 1))
    let opening = ContinuousClock().measure { for _ in 0..<20 { _ = try? ModelFileReader(path: folder.file("model.sfq")) } }
    print("open 1000 tensors, 4000 chunks: \(opening / 20)")
  }

  /// Gaussian weights rounded to 4 bits with a scale for each 64, its largest weight at −8.
  private static func gaussian() -> SampleTensor {
    var tensor = SampleTensor("w", [32, 64], .quantized(bits: 4, group: 64, symmetric: true), seed: 1)
    tensor.descriptor = TensorDescriptor(name: "w", shape: shape, encoding: .quantized(bits: 4, group: 64, symmetric: true))
    var numbers = SeededNumbers(1)
    var codes: [UInt8] = []
    var scales: [UInt8] = []
    for _ in 0..<shape[0] * shape[1] / 64 {
      var weights: [Float] = []
      for _ in 0..<32 {
        let radius = (-2 * Float.random(in: 1e-9...1, using: &numbers).logarithm).squareRoot()
        let angle = Float.random(in: 0...(2 * .pi), using: &numbers)
        weights += [radius * Float(cos(Double(angle))), radius * Float(sin(Double(angle)))]
      }
      let scale = (weights.max { abs($0) < abs($1) } ?? 1) / -8
      let rounded = weights.map { UInt8(max(0, min(15, ($0 / scale).rounded() + 8))) }
      for index in stride(from: 0, to: 64, by: 8) {
        for k in index..<index + 4 { codes.append(rounded[k] | rounded[k + 4] << 4) }
      }
      scales.append(littleEndianHalf: scale * 0.02)
    }
    tensor.planes = [.codes: codes, .scales: scales]
    return tensor
  }

  private static func write(_ tensor: SampleTensor, to path: String, _ compression: ChunkCompression, _ pool: ThreadPool) throws {
    let writer = try ModelFileWriter(path: path, fingerprint: "", compression: compression, overwrite: true, pool: pool)
    for layer in 0..<layers {
      try writer.beginTensor(TensorDescriptor(name: "w\(layer)", shape: shape, encoding: tensor.descriptor.encoding))
      for (kind, bytes) in tensor.planes { try writer.write(kind, bytes) }
      try writer.endTensor()
    }
    try writer.finish()
  }

  /// The best of some runs, by the clock and by the processor time that this process had: the latter says what a machine that nobody
  /// else uses would do.
  private func report(_ name: String, _ bytes: Int, best runs: Int = 5, _ body: () throws -> Void) rethrows {
    var shortest = Double.infinity
    var least = Double.infinity
    for _ in 0..<runs {
      let start = Self.processorSeconds
      let elapsed = try ContinuousClock().measure(body).components
      shortest = min(shortest, Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18)
      least = min(least, Self.processorSeconds - start)
    }
    func rate(_ seconds: Double) -> Double { (Double(bytes) / seconds / 1e7).rounded() / 100 }
    print("\(name): \(rate(shortest)) GB/s, \(rate(least)) GB per second of one core")
  }

  private static var processorSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}

extension Float {
  fileprivate var logarithm: Float { Float(log(Double(self))) }
}

extension [UInt8] {
  /// A float16 of a normal number, rounded towards zero: near enough for measuring.
  fileprivate mutating func append(littleEndianHalf value: Float) {
    let exponent = UInt16(Swift.max(1, Swift.min(30, Int(value.exponent) + 15)))
    let bits = (value < 0 ? 0x8000 : 0) | exponent << 10 | UInt16(value.significandBitPattern >> 13)
    append(UInt8(truncatingIfNeeded: bits))
    append(UInt8(truncatingIfNeeded: bits >> 8))
  }
}
