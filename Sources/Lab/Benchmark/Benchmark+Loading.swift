import Foundation
import ModelFile
import Models
import Runtime
import Support

extension Benchmark {
  /// Bytes of weights that loading is timed with.
  private static let sampleBytes = 256 << 20

  /// Some of the decoder's tensors, in a packed file and in a raw one.
  mutating func timeLoading() throws(SlowFastError) {
    guard wants(.load) else { return }
    guard model.source is ModelFileSource else { return skip("load", "a checkpoint directory is mapped, not loaded") }
    var names: [String] = []
    var bytes = 0
    for name in model.source.schema.decoderNames {
      let size = model.source.residentBytes([name])
      guard bytes + size <= Self.sampleBytes || names.isEmpty else { continue }
      names.append(name)
      bytes += size
    }
    let directory = NSTemporaryDirectory() + "/slowfast-bench-\(getpid())"
    do { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) } catch {
      return skip("load", "cannot make \(directory)")
    }
    defer { try? FileManager.default.removeItem(atPath: directory) }
    for (form, compression) in [("zstd", ChunkCompression.smallest), ("raw", .none)] {
      let path = directory + "/" + form + ".sfq"
      do throws(ModelFileError) {
        try ModelFileTransform.rewrite(from: model.path, to: path, compression: compression, only: Set(names), pool: pool)
      } catch { throw SlowFastError(error) }
      let pool = self.pool
      let runs = try measure("load (\(form))") { () throws(SlowFastError) in
        // A reader of its own each time: what is checked once is not checked again.
        do throws(ModelFileError) { _ = try ModelFileReader(path: path).loadAll(of: names, pool: pool) } catch {
          throw SlowFastError(error)
        }
      }
      add("load (\(form))", runs, bytes: bytes)
    }
  }

  /// The tower and the projector, loaded as a session does it; once.
  mutating func loadVision() throws(SlowFastError) -> VisionModel {
    try load("load tower", model.source.schema.visionNames) { source throws(SlowFastError) in try VisionModel(source) }
  }

  mutating func loadDecoder() throws(SlowFastError) -> any Decoder {
    try load("load decoder", model.source.schema.decoderNames) { source throws(SlowFastError) in
      try source.schema.decoder.loaded(LayerBuilder(.decoder, from: source))
    }
  }

  /// Loading where nothing else needs the weights.
  mutating func timeWholeLoads() throws(SlowFastError) {
    guard wants(.load), model.source is ModelFileSource else { return }
    _ = try loadVision()
    _ = try loadDecoder()
  }

  private mutating func load<Part>(
    _ name: String, _ names: [String], _ make: (any WeightSource) throws(SlowFastError) -> Part
  ) throws(SlowFastError) -> Part {
    progress(name)
    let source = model.source
    var part: Part?
    let run = try once { () throws(SlowFastError) in
      try source.preload(names, pool: pool) { _, _ in }
      part = try make(source)
    }
    guard let part else { throw .cancelled }
    if wants(.load), source is ModelFileSource { add(name, [run], bytes: source.residentBytes(names)) }
    return part
  }
}
