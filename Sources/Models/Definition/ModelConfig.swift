import Tokenizer

/// What `config.json` says of the model. A ConvNeXt tower's depths and widths are in no config: they are read off its tensors.
public struct ModelConfig: Sendable, Equatable {
  /// Of what family the model is, in words.
  public var family: String
  /// `model_type`: the decoder's family.
  package var modelType: String
  /// `mm_vision_tower`: the tower's family.
  package var towerName: String?

  // Decoder.
  /// Values of a token between the decoder's layers.
  public var hiddenSize: Int
  /// Values inside a decoder layer's perceptron.
  public var intermediateSize: Int
  /// Layers of the decoder.
  public var layerCount: Int
  /// Heads of queries in a layer's attention.
  public var headCount: Int
  /// Heads of keys and values, each shared by `headCount / keyValueHeadCount` heads of queries.
  public var keyValueHeadCount: Int
  /// Values of a head.
  public var headDimension: Int
  /// Whether queries, keys and values have a bias.
  package var attentionHasBias: Bool
  /// Rows of the embedding.
  public var vocabularySize: Int
  /// What the decoder's norms add to the mean square.
  public var rmsNormEpsilon: Float
  /// The base of the rotary positions.
  public var ropeTheta: Float
  /// Whether the head is the embedding.
  public var tiesWordEmbeddings: Bool

  /// nil: no layer reads slow tokens.
  public var hybrid: HybridConfig?

  /// All of a clip's tokens stand in the prompt; nil: they are slow and fast tokens.
  public var sequence: SequenceConfig?

  // Vision.
  /// How frames become the tower's input.
  public var pixels: PixelConfig
  /// Of a vision transformer; nil: a ConvNeXt.
  public var vision: VisionConfig?
  /// What stands between tower and decoder.
  public var projector: ProjectorType
  /// By how much the tower's map is pooled for the slow tokens, in each direction.
  public var poolingStride: Int
  /// How frames become fast tokens.
  public var fastTokens: FastTokenConfig

  /// Which tokens read the slow tokens, unless the user says otherwise (`slow_attention`; `prompt` as the published code where it is
  /// absent).
  public var slowAttention: SlowAttention

  // Prompt.
  /// Positions that a prompt may have, visual tokens included (`tokenizer_model_max_length`).
  public var contextLength: Int
  /// Positions of prompt and answer together (`max_position_embeddings`).
  public var maximumPositions: Int
  /// How the model is spoken to.
  package var promptTemplate: PromptTemplate
  /// Ids that stand for the tokens of a picture, and of a clip, in a family that writes them in full; nil: in none.
  package var placeholders: Placeholders?
  /// Ids of tokens that end an answer, where there is no generation config to say so.
  public var endTokens: [Int32]

  /// Frames of a clip unless the user says otherwise; nil: as many as fill the fast tokens.
  public var frameCount: Int?
  /// Frames a second that a clip gets, evenly spread, where that is no more than its number of frames; of a clip that is longer a second at
  /// either end is left out. nil: always its number of frames, over the whole clip.
  public var frameRate: Double?
}

extension ProjectorType {
  /// By how much it makes the sides of the tower's map smaller.
  package var scale: Int { if case .pixelShuffle(let scale) = self { scale } else { 1 } }
}

extension ModelConfig {
  /// Side in pixels of the square that the tower sees.
  public var imageSize: Int { pixels.size }
  /// Published examples of LLaVA-OneVision and LLaVA-Video take the likeliest token, whatever the generation config says.
  package var answersGreedily: Bool { sequence != nil }
}

/// The layers that also read the slow tokens.
public struct HybridConfig: Sendable, Equatable {
  /// Indices of the hybrid layers, in order.
  public var layers: [Int]
  /// Only text tokens cross-attend; otherwise (`vanilla`) every position does, and the warm-up factor is the raw parameter.
  public var isTextOnly: Bool
  /// Text before the first visual token does not cross-attend.
  public var masksSystem: Bool
  /// The gate passes through tanh.
  public var gateHasTanh: Bool
  /// The gate has a second, learned factor.
  public var gateHasWarmUp: Bool
}

/// How clips and pictures become tokens that all stand in the prompt.
public struct SequenceConfig: Sendable, Equatable {
  /// What becomes of a frame's map of features.
  public enum Pooling: String, Sendable, CaseIterable {
    /// Of squares of 2×2, what is left over is left out.
    case average, max
    /// To half the side, rounded up.
    case bilinear
  }
  /// Where a clip has the learned token that ends a line.
  public enum Newline: String, Sendable, CaseIterable {
    /// Nowhere.
    case none = "no_token"
    /// After the last frame.
    case end = "one_token"
    /// After each frame.
    case frame
    /// After each row of each frame.
    case row = "grid"
  }
  /// What becomes of a picture.
  public enum Picture: String, Sendable, CaseIterable {
    /// Alone: cut into tiles, and shown as a whole before them. Beside others: as `pad`.
    case tiles
    /// Made a square by grey edges.
    case pad
    /// Made a square by stretching.
    case stretch
    /// Brought to a size by its longer side, cut into as many tiles as that takes, and shown as a whole after them.
    case resizedTiles
  }

  /// Of frames of a clip; nil: their maps stay as they are.
  public var pooling: Pooling?
  /// Of a clip.
  public var newline: Newline
  /// Of a picture.
  public var picture: Picture
  /// Sizes that a picture may be cut into tiles of, in pixels; none for `resizedTiles`, which cuts any.
  public var grid: [PictureSize]
  /// The most tiles' worth of tokens that a picture may have; nil: no limit.
  public var tileLimit: Int?
  /// Whether a picture's lines end with the learned token.
  public var picturesHaveNewlines: Bool
  /// Edges that were added to a picture are found with sizes rounded to 7 digits first.
  public var roundsEdges: Bool
  /// The question follows a sentence on the times of a video's frames; nil: it stands alone.
  public var tellsTimes: Times?

  /// How frames are taken whose times are told.
  public enum Times: Sendable, Equatable {
    /// Always so many of the whole clip.
    case spread
    /// One a second, or if these are too many, so many of the whole clip.
    case asSampled
  }
}

/// Ids that stand for visual tokens.
package struct Placeholders: Sendable, Equatable {
  package var picture: Int32
  package var clip: Int32
}

/// A picture's measures.
public struct PictureSize: Sendable, Equatable, Codable {
  /// In pixels.
  public var height: Int
  /// In pixels.
  public var width: Int

  /// So many pixels.
  public init(height: Int, width: Int) { (self.height, self.width) = (height, width) }
}

/// How a clip's pooled features become fast tokens.
public struct FastTokenConfig: Sendable, Equatable {
  /// Of so many frames one is taken.
  public var samplingStride: Int
  /// So many frames of those taken are averaged.
  public var temporalStride: Int
  /// Side of the squares of a frame's slow tokens that are averaged.
  public var spatialStride: Int
  /// Fast frames that there are at least, where the clip has as many.
  public var minimumFrames: Int
  /// Fast frames that there are at most: more frames are averaged to one; nil: no limit. No config says it: a run may.
  public var frameLimit: Int?
}

/// What stands between the tower and the decoder (`mm_projector_type`).
public enum ProjectorType: Sendable, Equatable {
  /// Nothing: features go in as they are.
  case identity
  /// One linear layer.
  case linear
  /// `mlpNx_gelu`: N linear layers with GELU between.
  case mlp(depth: Int)
  /// Squares of so many positions in each direction become one of all their channels, which goes through one linear layer without bias.
  case pixelShuffle(scale: Int)
}

/// Which tokens read the slow tokens while an answer is made.
public enum SlowAttention: String, Sendable, CaseIterable, Codable {
  /// The prompt's only: what the published inference code does.
  case prompt
  /// The answer's too: as in training.
  case all
}
