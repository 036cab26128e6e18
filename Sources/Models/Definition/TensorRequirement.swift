/// What a tensor is for: decides the type that it may be stored in.
package enum TensorRole: String, Sendable, CaseIterable {
  case embedding, head, attention, crossAttention, mlp, projector
  case towerLinear, towerDownsample, towerStem, towerDepthwise
  case norm, bias, layerScale, gate

  /// The part of the model for tables and options: `tower`, `projector`, `attention`, …
  package var part: String {
    switch self {
    case .towerLinear, .towerDownsample, .towerStem, .towerDepthwise: "tower"
    case .norm, .bias, .layerScale, .gate: "vectors"
    case .crossAttention: "cross"
    default: rawValue
    }
  }

  /// A matrix that is multiplied with many activations, and so may be quantized.
  package var isMatrix: Bool {
    switch self {
    case .embedding, .head, .attention, .crossAttention, .mlp, .projector, .towerLinear, .towerDownsample: true
    default: false
    }
  }
}

/// The components of a model, in the order in which they compute. The decoder's weights are not in memory while clips are encoded, the
/// others' not while an answer is made.
package enum ModelComponent: Sendable { case tower, projector, decoder }

/// How a checkpoint's tensor is laid out in a model file and in memory.
package enum TensorLayout: Sendable, Equatable {
  case asStored
  /// A convolution `[out, in, height, width]` as the matrix `[out, height · width · in]` that channels-last patches are multiplied with.
  case patchMatrix
  /// A depthwise convolution `[channels, 1, height, width]` as `[height · width, channels]`.
  case depthwise
}

/// One tensor that the model cannot do without.
package struct TensorRequirement: Sendable, Equatable {
  /// As in the published checkpoints.
  package var name: String
  /// As in the published checkpoints.
  package var shape: [Int]
  package var role: TensorRole
  package var layout: TensorLayout
  package var component: ModelComponent

  /// The shape in a model file: what `layout` makes of `shape`.
  package var storedShape: [Int] {
    switch layout {
    case .asStored: shape
    case .patchMatrix: [shape[0], shape[1] * shape[2] * shape[3]]
    case .depthwise: [shape[2] * shape[3], shape[0]]
    }
  }
}

extension TensorRequirement {
  /// Calls `body` with each index of the stored layout, in order, and the index of that value in the checkpoint's.
  package func forEachStoredIndex(_ body: (_ stored: Int, _ source: Int) -> Void) {
    let count = shape.reduce(1, *)
    switch layout {
    case .asStored:
      for index in 0..<count { body(index, index) }
    case .patchMatrix:
      let (outputs, inputs, area) = (shape[0], shape[1], shape[2] * shape[3])
      var stored = 0
      for output in 0..<outputs {
        for position in 0..<area {
          for input in 0..<inputs {
            body(stored, (output * inputs + input) * area + position)
            stored += 1
          }
        }
      }
    case .depthwise:
      let (channels, area) = (shape[0], shape[2] * shape[3])
      var stored = 0
      for position in 0..<area {
        for channel in 0..<channels {
          body(stored, channel * area + position)
          stored += 1
        }
      }
    }
  }
}
