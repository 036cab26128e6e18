import Models
import Parallel
import Support
import Synchronization

/// Which parts of a model are in memory. Each is read once, whoever asks for it and however many at the same time, and is there as long as
/// somebody holds it.
package final class WeightResidency: @unchecked Sendable {
  private let source: any WeightSource
  /// Held while a part is read and built: a source may hand out only once what it has read ahead.
  private let lock = Mutex(())
  // Under the lock.
  private weak var vision: VisionWeights?
  private weak var decoder: DecoderWeights?

  package init(_ source: any WeightSource) { self.source = source }

  /// Whether somebody holds tower and projector, and whether somebody holds the decoder.
  package var isInMemory: (vision: Bool, decoder: Bool) { lock.withLock { _ in (vision != nil, decoder != nil) } }

  package func visionWeights(pool: ThreadPool, _ progress: @escaping ProgressHandler) throws(SlowFastError) -> VisionWeights {
    try lock.withLock { _ throws(SlowFastError) in
      if let vision { return vision }
      try source.preload(source.schema.visionNames, pool: pool) { progress(.loading($0, of: $1)) }
      let made = try VisionWeights(source)
      vision = made
      return made
    }
  }

  package func decoderWeights(pool: ThreadPool, _ progress: @escaping ProgressHandler) throws(SlowFastError) -> DecoderWeights {
    try lock.withLock { _ throws(SlowFastError) in
      if let decoder { return decoder }
      try source.preload(source.schema.decoderNames, pool: pool) { progress(.loading($0, of: $1)) }
      let made = DecoderWeights(try source.schema.decoder.loaded(LayerBuilder(.decoder, from: source)))
      decoder = made
      return made
    }
  }
}

/// Tower and projector, for any number of clips at once.
package final class VisionWeights: Sendable {
  package let tower: any VisionTower
  package let projector: any Projector
  package let config: ModelConfig

  package init(_ source: any WeightSource) throws(SlowFastError) {
    tower = try source.schema.tower.loaded(LayerBuilder(.tower, from: source))
    projector = try source.schema.projector.loaded(LayerBuilder(.projector, from: source))
    config = source.config
  }
}

/// The decoder, for any number of conversations at once.
package final class DecoderWeights: Sendable {
  package let decoder: any Decoder

  package init(_ decoder: any Decoder) { self.decoder = decoder }
}
