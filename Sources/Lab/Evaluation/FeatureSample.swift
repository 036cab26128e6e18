import Compute
import Models
import Runtime
import Video

/// Some rows of what each stage shows of a clip: the same ones for every model, so that they can be compared.
struct FeatureSample: Codable, Equatable {
  struct Stage: Codable, Equatable {
    /// `tower`, `projector`, `embedding`, `layer 1`, …
    var name: String
    var columns: Int
    var rows: PackedFloats
  }
  var stages: [Stage]

  /// Rows of the tower's and the projector's maps that are kept of a clip, and positions of its prompt.
  static let visionRows = 32
  static let promptRows = 16
}

/// How far a stage of one model is from that of another, as means over the rows that are kept.
public struct FeatureError: Codable, Sendable, Equatable {
  /// `tower`, `projector`, `layer 1`, …
  public var stage: String
  /// Cosine between the rows.
  public var cosine: Double
  /// ‖row − baseline's‖ / ‖baseline's‖.
  public var relative: Double
}

extension FeatureSample {
  /// This sample's distance from the baseline's, stage by stage; stages that do not fit are left out.
  func errors(against baseline: FeatureSample) -> [FeatureError] {
    stages.compactMap { stage in
      guard let other = baseline.stages.first(where: { $0.name == stage.name }), other.columns == stage.columns, stage.columns > 0,
        other.rows.values.count == stage.rows.values.count
      else { return nil }
      return Self.error(stage.name, stage.rows.values, other.rows.values, columns: stage.columns)
    }
  }

  private static func error(_ stage: String, _ values: [Float], _ baseline: [Float], columns: Int) -> FeatureError? {
    var (cosines, relatives, count) = (0.0, 0.0, 0)
    for start in stride(from: 0, to: values.count, by: columns) {
      var (dot, own, other, difference) = (0.0, 0.0, 0.0, 0.0)
      for index in start..<start + columns {
        let (x, y) = (Double(values[index]), Double(baseline[index]))
        dot += x * y
        own += x * x
        other += y * y
        difference += (x - y) * (x - y)
      }
      guard own > 0, other > 0, difference.isFinite else { continue }
      cosines += min(1, dot / (own * other).squareRoot())
      relatives += (difference / other).squareRoot()
      count += 1
    }
    return count == 0 ? nil : FeatureError(stage: stage, cosine: cosines / Double(count), relative: relatives / Double(count))
  }
}

/// Collects a sample while a clip and its first question go through a model.
final class FeatureSampler: ClipObserver {
  private let rowsOfFrame: Int
  private var positions: Set<Int> = []
  private let layers: Int
  private var features: [Float] = []
  private var featureColumns = 0
  private var projected: [Float] = []
  private var projectedColumns = 0
  /// By layer, the input embeddings first.
  private var hidden: [[Float]]
  private var hiddenColumns = 0

  /// For a clip of at most so many frames.
  init(config: ModelConfig, frames: Int) {
    rowsOfFrame = max(1, FeatureSample.visionRows / max(1, frames))
    layers = config.layerCount
    hidden = Array(repeating: [], count: config.layerCount + 1)
  }

  /// When the clip is encoded and the length of the first question's prompt is known.
  func choosePositions(of promptTokens: Int) {
    let rows = min(FeatureSample.promptRows, promptTokens)
    // Evenly, and the last one, from which the answer's first token is read.
    positions = Set((0..<rows).map { promptTokens - 1 - $0 * promptTokens / rows })
  }

  func finishClip(_ tokens: SlowFastTokens) {}

  func see(_ event: FrameEvent<EncodedFrame>) {
    switch event {
    case .begin, .repeated: break
    case .frame(let frame): add(frame)
    case .restart: (features, projected) = ([], [])
    }
  }

  private func add(_ frame: EncodedFrame) {
    featureColumns = frame.features.columns
    projectedColumns = frame.projected.columns
    let count = min(rowsOfFrame, frame.features.rows)
    for index in 0..<count {
      let row = index * frame.features.rows / count
      features += UnsafeBufferPointer(start: frame.features.row(row), count: frame.features.columns)
      projected += UnsafeBufferPointer(start: frame.projected.row(row), count: frame.projected.columns)
    }
  }

  /// As a generator's observer.
  func add(layer: Int, position: Int, _ x: Matrix) {
    hiddenColumns = x.columns
    for row in 0..<x.rows where positions.contains(position + row) {
      hidden[layer] += UnsafeBufferPointer(start: x.row(row), count: x.columns)
    }
  }

  var sample: FeatureSample {
    var stages = [
      FeatureSample.Stage(name: "tower", columns: featureColumns, rows: PackedFloats(features)),
      FeatureSample.Stage(name: "projector", columns: projectedColumns, rows: PackedFloats(projected)),
    ]
    for (layer, values) in hidden.enumerated() {
      let name = layer == 0 ? "embedding" : "layer \(layer)"
      stages.append(.init(name: name, columns: hiddenColumns, rows: PackedFloats(values)))
    }
    return FeatureSample(stages: stages)
  }
}
