import Foundation
import Support

/// What has to be known of a vision transformer beside its tensors. Of a checkpoint it comes from the tower's own `config.json`, else from
/// a table by name; a model file has it as its `vision` section.
public struct VisionConfig: Sendable, Encodable, Equatable {
  /// What stands in a perceptron.
  public enum Activation: String, Sendable, Encodable, CaseIterable {
    /// `x · Φ(x)`.
    case gelu
    /// The same by way of tanh.
    case geluTanh = "gelu_pytorch_tanh"
    /// `x · σ(1.702 x)`.
    case quickGelu = "quick_gelu"
  }

  /// Side of the square that positions were learned for.
  public var imageSize: Int
  /// Heads of a layer's attention.
  public var headCount: Int
  /// Layers that run: all, or fewer where the decoder takes an earlier layer's output; nil: all there are.
  public var layerCount: Int?
  /// What norms add to the variance.
  public var epsilon: Float
  /// Between a perceptron's two linear layers.
  public var activation: Activation

  package enum CodingKeys: String, CodingKey {
    case imageSize = "image_size"
    case headCount = "num_attention_heads"
    case layerCount = "num_hidden_layers"
    case epsilon = "layer_norm_eps"
    case activation = "hidden_act"
  }
}

/// How a picture becomes a tower's input.
public struct PixelConfig: Sendable, Encodable, Equatable {
  /// How a picture that is no square becomes one.
  public enum Fit: String, Sendable, Encodable, CaseIterable {
    /// The shorter side to the square's, and its middle.
    case crop
    /// Both sides, whatever the shape.
    case stretch
    /// The longer side to a length first, the other one in proportion and made even, then both to the square's.
    case longest
  }
  /// How pixels are made of others, as Pillow does it.
  public enum Resampling: String, Sendable, Encodable, CaseIterable {
    /// A cubic.
    case bicubic
    /// A triangle.
    case bilinear
    /// A sinc of three periods.
    case lanczos
  }

  /// Side of the tower's square input.
  public var size: Int
  /// Of values from 0 to 1, by channel.
  public var mean: [Float]
  /// By which they are divided after.
  public var std: [Float]
  /// How a picture that is no square becomes one.
  public var fit: Fit
  /// How pixels are made of others.
  public var resampling: Resampling
  /// The length that `longest` brings a frame's longer side to.
  public var longestSide: Int?
  /// The same of a picture that is cut into tiles.
  public var pictureSide: Int?

  package enum CodingKeys: String, CodingKey {
    case size, mean, std, fit, resampling
    case longestSide = "longest_side"
    case pictureSide = "picture_side"
  }

  /// Mean and deviation that CLIP was trained with.
  package static let clipMean: [Float] = [0.48145466, 0.4578275, 0.40821073]
  package static let clipStd: [Float] = [0.26862954, 0.26130258, 0.27577711]
}

/// What configurations say of a tower, before its tensors are looked at.
package struct TowerSettings: Sendable {
  /// Of a vision transformer; nil: tensors say all of it.
  package var vision: VisionConfig?
  /// How frames become its input.
  package var pixels: PixelConfig
}

// MARK: Reading

/// The small files that say what a checkpoint's model is.
package struct ConfigFiles: Sendable {
  /// `config.json`.
  package var config: [UInt8]
  /// The same of a tower that has a directory of its own.
  package var tower: [UInt8]?
  /// `preprocessor_config.json`, of that directory or of the checkpoint.
  package var preprocessor: [UInt8]?
  /// A model file's `vision` section.
  package var vision: [UInt8]?

  /// What a configuration calls its tower: a hub's name, which may be that of a directory in the checkpoint too.
  package static func towerName(_ config: [UInt8]) -> String? {
    let name = try? ConfigFields(json: config).optionalString("mm_vision_tower")
    return name.flatMap { $0.isEmpty ? nil : $0 }
  }

  package init(config: [UInt8], tower: [UInt8]? = nil, preprocessor: [UInt8]? = nil, vision: [UInt8]? = nil) {
    (self.config, self.tower, self.preprocessor, self.vision) = (config, tower, preprocessor, vision)
  }
}

/// What a class of vision transformers takes where a config says nothing.
package struct VisionDefaults: Sendable {
  var modelType: String
  var headCount = 12
  var layerCount = 12
  var imageSize = 224
  var epsilon: Float
  var activation: VisionConfig.Activation
  var fit: PixelConfig.Fit
  var mean: [Float]
  var std: [Float]
  /// Heads and layers of the published sizes, by what a name contains.
  var sizes: [(name: String, heads: Int, layers: Int)]
}

extension TowerSettings {
  /// - Parameters:
  ///   - name: The tower's name in the main config.
  ///   - selectLayer: The layer whose output is taken, counted as in Python's lists of `hidden_states`, of which the first is before all
  ///     layers.
  init(_ defaults: VisionDefaults, name: String, files: ConfigFiles, selectLayer: Int) throws(ArchitectureError) {
    if let json = files.tower {
      let fields = try ConfigFields(tower: json, named: name, defaults)
      try self.init(defaults, fields, preprocessor: files.preprocessor, selectLayer: selectLayer, field: "mm_vision_select_layer")
    } else {
      let known = name.lowercased()
      guard let size = defaults.sizes.first(where: { known.contains($0.name) }) else {
        throw .configValue(
          field: "mm_vision_tower", found: name,
          expected: "a directory of that name in the checkpoint, or another given as the tower: heads and image size are in no other file")
      }
      let digits = String(known.reversed().prefix { $0.isASCII && $0.isNumber }.reversed())
      let side = Int(digits).flatMap { (64...4096).contains($0) ? $0 : nil } ?? defaults.imageSize
      let layers = try Self.layer(selectLayer, of: size.layers, field: "mm_vision_select_layer")
      self.init(
        vision: VisionConfig(
          imageSize: side, headCount: size.heads, layerCount: layers, epsilon: defaults.epsilon, activation: defaults.activation),
        pixels: try PixelConfig(defaults, imageSize: side, preprocessor: files.preprocessor))
    }
  }

  /// From the tower's own fields; `field` is the one that the layer's choice comes from.
  init(
    _ defaults: VisionDefaults, _ fields: ConfigFields, preprocessor: [UInt8]?, selectLayer: Int, field: String
  ) throws(ArchitectureError) {
    var vision = try VisionConfig(defaults, fields)
    let layers = try fields.optionalInteger("num_hidden_layers", in: 1...1024) ?? defaults.layerCount
    vision.layerCount = try Self.layer(selectLayer, of: layers, field: field)
    self.vision = vision
    pixels = try PixelConfig(defaults, imageSize: vision.imageSize, preprocessor: preprocessor)
  }

  private static func layer(_ index: Int, of layers: Int, field: String) throws(ArchitectureError) -> Int {
    let chosen = index < 0 ? layers + 1 + index : index
    guard (1...layers).contains(chosen) else {
      throw .configValue(field: field, found: "\(index)", expected: "one of the \(layers) layers that the tower has, -1 the last")
    }
    return chosen
  }

  /// A model file's `vision` section.
  package init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json, file: "vision")
    vision = VisionConfig(
      imageSize: try fields.integer("image_size", in: 1...4096), headCount: try fields.integer("num_attention_heads", in: 1...1024),
      layerCount: try fields.optionalInteger("num_hidden_layers", in: 1...1024),
      epsilon: Float(try fields.number("layer_norm_eps", in: 0...1)),
      activation: try fields.choice("hidden_act"))
    pixels = try PixelConfig(record: fields.object("pixels") ?? fields)
  }
}

extension ConfigFields {
  /// Of a tower's own `config.json`, which may be that of a whole model of text and pictures.
  init(tower json: [UInt8], named name: String, _ defaults: VisionDefaults) throws(ArchitectureError) {
    let whole = try ConfigFields(json: json, file: "the tower's config.json")
    self = try whole.object("vision_config") ?? whole
    if let type = try optionalString("model_type"), !type.hasPrefix(defaults.modelType) {
      throw .configValue(file: file, field: "model_type", found: type, expected: "\(defaults.modelType), which \(name.quoted) is")
    }
  }
}

extension VisionConfig {
  /// From a tower's own fields; all layers that there are.
  init(_ defaults: VisionDefaults, _ fields: ConfigFields) throws(ArchitectureError) {
    imageSize = try fields.optionalInteger("image_size", in: 1...4096) ?? defaults.imageSize
    headCount = try fields.optionalInteger("num_attention_heads", in: 1...1024) ?? defaults.headCount
    layerCount = nil
    epsilon = try fields.optionalNumber("layer_norm_eps", in: 0...1).map(Float.init) ?? defaults.epsilon
    activation = fields.isNull("hidden_act") ? defaults.activation : try fields.choice("hidden_act")
  }

  /// A model file's `vision` section, in which the pixels stand once more.
  package func json(_ pixels: PixelConfig) throws(ArchitectureError) -> [UInt8] {
    struct Section: Encodable {
      enum CodingKeys: CodingKey { case pixels }
      let vision: VisionConfig
      let pixels: PixelConfig

      func encode(to encoder: any Encoder) throws {
        try vision.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(pixels, forKey: .pixels)
      }
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return Array(try encoder.encode(Section(vision: self, pixels: pixels))) } catch {
      throw .configUnreadable(file: "vision", reason: "\(error)")
    }
  }
}

extension PixelConfig {
  /// As the tower's own image processor says; what it does not say is the class's default.
  init(_ defaults: VisionDefaults, imageSize: Int, preprocessor: [UInt8]?) throws(ArchitectureError) {
    (size, mean, std, fit, resampling) = (imageSize, defaults.mean, defaults.std, defaults.fit, .bicubic)
    guard let preprocessor else { return }
    let file = "preprocessor_config.json"
    let whole = try ConfigFields(json: preprocessor, file: file)
    let fields = try whole.object("image_processor") ?? whole
    if fields.isObject("size"), let object = try fields.object("size") {
      let names = fit == .crop ? ["shortest_edge", "height"] : ["height", "shortest_edge"]
      for name in names.reversed() { size = try object.optionalInteger(name, in: 1...4096) ?? size }
      if let width = try object.optionalInteger("width", in: 1...4096), width != size {
        throw .configValue(file: file, field: "size", found: "\(size) × \(width)", expected: "a square")
      }
    } else if let side = try fields.optionalInteger("size", in: 1...4096) {
      size = side
    }
    if !fields.isNull("image_mean") { mean = try fields.numbers("image_mean").map(Float.init) }
    if !fields.isNull("image_std") { std = try fields.numbers("image_std").map(Float.init) }
    switch try fields.optionalInteger("resample", in: 0...10) {
    case nil, 3: resampling = .bicubic
    case 2: resampling = .bilinear
    case 1: resampling = .lanczos
    case let other?:
      throw .configValue(file: file, field: "resample", found: "\(other)", expected: "3 (bicubic), 2 (bilinear) or 1 (Lanczos)")
    }
    if fit == .crop {
      // Older files say one number.
      let sides =
        fields.isObject("crop_size")
        ? try ["height", "width"].map { name throws(ArchitectureError) in
          try fields.object("crop_size")?.optionalInteger(name, in: 1...4096)
        } : [try fields.optionalInteger("crop_size", in: 1...4096)]
      if let side = sides.compactMap({ $0 }).first(where: { $0 != size }) {
        throw .configValue(file: file, field: "crop_size", found: "\(side)", expected: "\(size), to which the shorter side is resized")
      }
      if try fields.optionalBool("do_center_crop") == false {
        throw .configValue(file: file, field: "do_center_crop", found: "false", expected: "true")
      }
    }
    for field in ["do_resize", "do_rescale", "do_normalize"] where try fields.optionalBool(field) == false {
      throw .configValue(file: file, field: field, found: "false", expected: "true")
    }
    if let factor = try fields.optionalNumber("rescale_factor", in: 0...1e6), abs(factor * 255 - 1) > 1e-6 {
      throw .configValue(file: file, field: "rescale_factor", found: "\(factor)", expected: "1 / 255")
    }
    try check(file: file)
  }

  /// Of a model file.
  init(record fields: ConfigFields) throws(ArchitectureError) {
    size = try fields.integer("size", in: 1...4096)
    mean = try fields.numbers("mean").map(Float.init)
    std = try fields.numbers("std").map(Float.init)
    // Not told by files that are older than the choice.
    fit = fields.isNull("fit") ? .crop : try fields.choice("fit")
    resampling = try fields.choice("resampling")
    longestSide = try fields.optionalInteger("longest_side", in: 1...4096)
    pictureSide = try fields.optionalInteger("picture_side", in: 1...4096)
    if fit == .longest, longestSide == nil { throw .configMissing(file: fields.file, field: "longest_side") }
    try check(file: fields.file)
  }

  func check(file: String) throws(ArchitectureError) {
    guard mean.count == 3, std.count == 3, (mean + std).allSatisfy(\.isFinite), std.allSatisfy({ $0 > 0 }) else {
      throw .configValue(file: file, field: "mean, std", found: "\(mean), \(std)", expected: "three numbers each, deviations above 0")
    }
  }
}
