import Foundation
import ModelFile
import Models
import Support

/// What is in an `.sfq` file: what `inspect` prints.
public struct ModelSummary: Sendable, Codable {
  /// A tensor of the file.
  public struct Tensor: Sendable, Codable {
    /// As in the file.
    public var name: String
    /// Outermost dimension first.
    public var shape: [Int]
    /// `int4/128`, `float32`, …
    public var encoding: String
    /// `tower`, `projector`, `attention`, …
    public var part: String
    /// In memory.
    public var bytes: Int
    /// In the file.
    public var storedBytes: Int
  }

  /// Sums over the tensors of a part, or of all.
  public struct Part: Sendable, Codable {
    /// `tower`, `projector`, `attention`, …
    public var name: String
    /// How many.
    public var tensors = 0
    /// Their weights.
    public var parameters = 0
    /// In memory.
    public var bytes = 0
    /// In the file.
    public var storedBytes = 0

    /// In memory, scales counted.
    public var bitsPerWeight: Double { parameters > 0 ? Double(8 * bytes) / Double(parameters) : 0 }
    /// In the file.
    public var storedBitsPerWeight: Double { parameters > 0 ? Double(8 * storedBytes) / Double(parameters) : 0 }
  }

  /// The model file.
  public var path: String
  /// `major.minor`.
  public var formatVersion: String
  /// Its length.
  public var fileBytes: Int
  /// Weights of all tensors.
  public var parameters: Int
  /// Of what family the model is, in words.
  public var family: String
  /// What it can be shown, in words.
  public var takes: [String]
  /// Pixels of a side that the tower takes.
  public var imageSize: Int
  /// Frames that it was made for.
  public var defaultFrames: Int
  /// Blocks of each stage of the tower.
  public var towerDepths: [Int]
  /// Channels of each stage of the tower.
  public var towerWidths: [Int]
  /// Layers of the decoder.
  public var decoderLayers: Int
  /// Those that read the slow tokens, from 0.
  public var hybridLayers: [Int]
  /// Values of a token between the decoder's layers.
  public var hiddenSize: Int
  /// Rows of the embedding.
  public var vocabularySize: Int
  /// How it answers unless the user says otherwise.
  public var generation: GenerationRecord
  /// Tokens that end an answer.
  public var stopTokens: [String]
  /// Over all tensors.
  public var total: Part
  /// By part.
  public var parts: [Part]
  /// In the file's order.
  public var tensors: [Tensor]
  /// Sections of the file that are no tensors, with their bytes.
  public var sections: [String: Int]
  /// How the file was made.
  public var provenance: String?

  /// Reads the file's table; no weight is read.
  public init(path: String) throws(SlowFastError) {
    do {
      let file = try ModelFileReader(path: path)
      let model = try VideoLanguageModel(file)
      let schema = model.source.schema
      let parts = Dictionary(schema.requirements.map { ($0.name, $0.role.part) }, uniquingKeysWith: { first, _ in first })
      self.path = path
      formatVersion = "\(file.version.major).\(file.version.minor)"
      fileBytes = file.byteCount
      family = model.config.family
      takes = model.config.takes
      imageSize = model.config.imageSize
      defaultFrames = model.defaultFrameCount
      towerDepths = schema.tower.depths
      towerWidths = schema.tower.widths
      decoderLayers = model.config.layerCount
      hybridLayers = model.config.hybrid?.layers ?? []
      hiddenSize = model.config.hiddenSize
      vocabularySize = model.config.vocabularySize
      generation = model.generation
      stopTokens = model.generationDefaults.stopTokens.sorted().map { model.tokenizer.token($0) ?? "\($0)" }
      var total = Part(name: "all")
      var sums: [String: Part] = [:]
      tensors = []
      for tensor in file.tensors {
        let part = parts[tensor.name] ?? "other"
        tensors.append(
          Tensor(
            name: tensor.name, shape: tensor.descriptor.shape, encoding: "\(tensor.descriptor.encoding)", part: part,
            bytes: tensor.rawByteCount, storedBytes: tensor.storedByteCount))
        sums[part, default: Part(name: part)].add(tensor)
        total.add(tensor)
      }
      self.total = total
      parameters = total.parameters
      self.parts = sums.values.sorted { $0.bytes != $1.bytes ? $0.bytes > $1.bytes : $0.name < $1.name }
      sections = Dictionary(file.sections.map { ($0.name, $0.byteCount) }, uniquingKeysWith: +)
      provenance = file.hasSection("provenance") ? String(decoding: try file.section("provenance"), as: UTF8.self) : nil
    } catch { throw SlowFastError(error, path: path) }
  }
}

extension ModelConfig {
  /// What the model can be shown, in words.
  fileprivate var takes: [String] {
    guard let sequence else { return ["clips", "pictures as clips of one frame"] }
    if sequence.picture == .resizedTiles {
      let tiles = ((pixels.pictureSide ?? imageSize) + imageSize - 1) / imageSize
      return ["clips", "one picture, in up to \(tiles * tiles) tiles", "several pictures, each in tiles"]
    }
    guard sequence.picture == .tiles else { return ["clips", "pictures"] }
    let most = sequence.grid.map { ($0.height / imageSize) * ($0.width / imageSize) }.max() ?? 0
    return ["clips", "one picture, in up to \(most) tiles", "several pictures, each whole"]
  }
}

extension ModelSummary.Part {
  package mutating func add(_ tensor: StoredTensor) {
    tensors += 1
    parameters += tensor.descriptor.elementCount
    bytes += tensor.rawByteCount
    storedBytes += tensor.storedByteCount
  }
}
