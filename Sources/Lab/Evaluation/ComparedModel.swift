import Compute
import Conversion
import Foundation
import ModelFile
import Models
import Parallel
import Runtime
import Safetensors
import Support

/// One model that is measured beside the baseline.
struct ComparedModel {
  /// Where it comes from.
  enum Recipe {
    /// Written to a model file for as long as it is measured.
    case conversion(ConversionOptions, CalibrationOptions?, SizeTarget?, hasFloatInputs: Bool)
    /// A model file, or a checkpoint directory, that is there already.
    case file(String)
    /// The baseline with one part taken from the conversion of all parts.
    case part(String, ConversionOptions)
    /// The conversion of all parts, its inputs floats.
    case weightsAlone(ConversionOptions)
    /// The baseline, its inputs rounded to int8.
    case inputsAlone
    /// The baseline, its keys, values and slow tokens kept so.
    case cacheAlone(KeyValueType)
  }

  /// As reports call it.
  var name: String
  var recipe: Recipe
  /// The name in words; nil where it needs none.
  var words: String?
  /// In the table of what costs what, rather than among the variants.
  var isPart: Bool

  /// What of it decides the results, beside the checkpoint.
  func identity() throws(SlowFastError) -> [String] {
    switch recipe {
    case .conversion(_, _, _, let hasFloatInputs): ["conversion", text ?? "", "\(hasFloatInputs)"]
    case .file(let path): ["file", try ModelIdentity.of(path)]
    case .part(let part, _): ["part", part, text ?? ""]
    case .weightsAlone: ["weights", text ?? ""]
    case .inputsAlone: ["inputs"]
    case .cacheAlone(let type): ["cache", type.rawValue]
    }
  }

  /// What decides its conversion; nil where it has none.
  var text: String? {
    guard let options = conversion else { return nil }
    let keep = options.keep.map { "\($0.pattern)=\($0.bits)" }.joined(separator: " ")
    let calibrated = calibration.map { "\($0)" } ?? ""
    let target = target.map { "\($0)" } ?? ""
    return "\(options.bits) \(options.method) \(calibrated) \(target) \(options.group ?? 0) \(options.isAsymmetric) \(keep)"
      + (options.isUneven ? " uneven" : "")
  }

  /// The conversion that has to be there before it can be measured.
  var conversion: ConversionOptions? {
    switch recipe {
    case .conversion(let options, _, _, _), .part(_, let options), .weightsAlone(let options): options
    case .file, .inputsAlone, .cacheAlone: nil
    }
  }

  /// What that conversion is calibrated on.
  var calibration: CalibrationOptions? {
    if case .conversion(_, let calibration, _, _) = recipe { return calibration }
    return nil
  }

  /// What it may take.
  var target: SizeTarget? {
    if case .conversion(_, _, let target, _) = recipe { return target }
    return nil
  }

  /// That conversion, with the checkpoint's headers read.
  func conversion(of checkpoint: String) throws(SlowFastError) -> CheckpointConversion? {
    guard let conversion else { return nil }
    return try CheckpointConversion(checkpoint, options: conversion, calibration: calibration, target: target)
  }

  /// The model, given the baseline and, where there is one, the converted file.
  func model(_ baseline: VideoLanguageModel, converted: String?) throws(SlowFastError) -> VideoLanguageModel {
    func file() throws(SlowFastError) -> VideoLanguageModel { try VideoLanguageModel(path: converted ?? "") }
    switch recipe {
    case .file(let path): return try VideoLanguageModel(path: path)
    case .conversion(_, _, _, let hasFloatInputs):
      let model = try file()
      guard hasFloatInputs else { return model }
      return VideoLanguageModel(model, source: InputSource(model.source, .exact), cacheType: model.cacheType)
    case .part(let part, _):
      let other = try file().source
      let names = other.schema.requirements.filter { $0.role.isMatrix && $0.role.part == part }.map(\.name)
      return VideoLanguageModel(baseline, source: MixedSource(baseline.source, other, names: Set(names)), cacheType: baseline.cacheType)
    case .weightsAlone:
      return VideoLanguageModel(baseline, source: InputSource(try file().source, .exact), cacheType: baseline.cacheType)
    case .inputsAlone:
      return VideoLanguageModel(baseline, source: InputSource(baseline.source, .rounded), cacheType: baseline.cacheType)
    case .cacheAlone(let type): return VideoLanguageModel(baseline, source: baseline.source, cacheType: type)
    }
  }
}

extension ComparedModel {
  /// Every model of a comparison, in the order of the report.
  static func all(_ options: ComparisonOptions, baseline: VideoLanguageModel) -> [ComparedModel] {
    var models = options.variants.map {
      ComparedModel(
        name: $0.name,
        recipe: .conversion($0.conversion, $0.isCalibrated ? options.calibration : nil, $0.target, hasFloatInputs: $0.hasFloatInputs),
        words: $0.words, isPart: false)
    }
    models += options.files.map { ComparedModel(name: $0, recipe: .file($0), isPart: false) }
    guard let bits = options.partBits else { return models }
    let parts = ConversionPlan.matrixParts
    let all = ConversionOptions(bits: bits, keep: parts.map { KeepRule(pattern: $0, bits: bits) })
    let present = Set(baseline.source.schema.requirements.map(\.role.part))
    // In the order in which a clip meets them.
    for part in ["tower", "projector", "embedding", "attention", "cross", "mlp", "head"] where present.contains(part) {
      models.append(ComparedModel(name: part, recipe: .part(part, all), isPart: true))
    }
    models.append(ComparedModel(name: partNames.cache, recipe: .cacheAlone(.float16), isPart: true))
    models.append(ComparedModel(name: partNames.cache8, recipe: .cacheAlone(.int8), isPart: true))
    models.append(ComparedModel(name: partNames.weights, recipe: .weightsAlone(all), isPart: true))
    models.append(ComparedModel(name: partNames.inputs, recipe: .inputsAlone, isPart: true))
    return models
  }

  static let partNames = (
    cache: "key/value cache, float16", cache8: "key/value cache, int8", weights: "all weights, float inputs",
    inputs: "all inputs int8, float weights"
  )
}

/// Where the models come from that a comparison did not convert itself: from the baseline's checkpoint, or from another.
struct ComparedOrigins {
  private var origins: [String: ModelOrigin] = [:]
  private var others: Set<String> = []
  /// A sentence for each that is of other weights, or does not say.
  private(set) var notes: [String] = []

  init(_ models: [ComparedModel], checkpoint: String) throws(SlowFastError) {
    let paths = models.compactMap { if case .file(let path) = $0.recipe { path } else { nil } }
    guard !paths.isEmpty else { return }
    let baseline = try Self.origin(checkpoint)
    for path in paths {
      let name = path.quoted
      guard let baseline, let origin = try Self.origin(path) else {
        notes.append("\(name) does not say what it was converted from: what sets it apart may be more than bits")
        continue
      }
      origins[path] = origin
      if origin.fingerprints == baseline.fingerprints { continue }
      others.insert(path)
      let what =
        origin.recipe == nil ? "is another checkpoint than" : "was converted from \(origin.source.quoted), whose weights are not those of"
      notes.append(
        "\(name) \(what) the baseline \(baseline.source.quoted): what sets it apart is not bits alone, and it is not among the choices")
    }
  }

  func isAnother(_ compared: ComparedModel) -> Bool {
    if case .file(let path) = compared.recipe { return others.contains(path) }
    return false
  }

  func description(of compared: ComparedModel) -> String? {
    switch compared.recipe {
    case .file(let path):
      guard let origin = origins[path] else { return "a model file" }
      let other = others.contains(path) ? ", another model" : ""
      return origin.recipe.map { "a model file from \(origin.source.escaped())\(other): \($0)" } ?? "a checkpoint directory\(other)"
    default: return compared.words
    }
  }

  private static func origin(_ path: String) throws(SlowFastError) -> ModelOrigin? {
    do {
      if FileStatus(path: path)?.kind == .directory { return try ModelOrigin(Checkpoint(model: path, tower: nil)) }
      let file = try ModelFileReader(path: path)
      return file.hasSection("provenance") ? ModelOrigin(provenance: try file.section("provenance")) : nil
    } catch { throw SlowFastError(error, path: path) }
  }
}

/// The weights of one model with some tensors taken from another: what a part costs alone.
final class MixedSource: WeightSource {
  private let base: any WeightSource
  private let other: any WeightSource
  /// Tensors of `other`.
  private let names: Set<String>

  init(_ base: any WeightSource, _ other: any WeightSource, names: Set<String>) {
    self.base = base
    self.other = other
    self.names = names
  }

  var config: ModelConfig { base.config }
  var schema: TensorSchema { base.schema }
  var isQuantized: Bool { other.isQuantized }
  private func source(of name: String) -> any WeightSource { names.contains(name) ? other : base }

  func checkUnchanged() throws(SlowFastError) {
    try base.checkUnchanged()
    try other.checkUnchanged()
  }

  func residentBytes(_ names: [String]) -> Int {
    base.residentBytes(names.filter { !self.names.contains($0) }) + other.residentBytes(names.filter(self.names.contains))
  }
  var embeddingBytes: Int { source(of: TensorSchema.embeddingName).embeddingBytes }
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable { try source(of: TensorSchema.embeddingName).makeEmbeddingTable() }

  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {
    try base.preload(names.filter { !self.names.contains($0) }, pool: pool, progress: progress)
    try other.preload(names.filter(self.names.contains), pool: pool, progress: progress)
  }
  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix { try source(of: name).matrix(name) }
  func vector(_ name: String) throws(SlowFastError) -> Matrix { try source(of: name).vector(name) }
}

/// A model's weights with their inputs taken otherwise than they would be: what each half of the int8 scheme costs.
final class InputSource: WeightSource {
  enum Change {
    /// Every weight takes floats.
    case exact
    /// Weights that could be quantized take their inputs rounded to int8.
    case rounded
  }

  private let base: any WeightSource
  private let change: Change
  private let quantizable: Set<String>

  init(_ base: any WeightSource, _ change: Change) {
    self.base = base
    self.change = change
    quantizable = Set(base.schema.requirements.filter(\.role.isMatrix).map(\.name))
  }

  var config: ModelConfig { base.config }
  var schema: TensorSchema { base.schema }
  var isQuantized: Bool { base.isQuantized }
  func checkUnchanged() throws(SlowFastError) { try base.checkUnchanged() }
  func residentBytes(_ names: [String]) -> Int { base.residentBytes(names) }
  var embeddingBytes: Int { base.embeddingBytes }
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable { try base.makeEmbeddingTable() }
  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {
    try base.preload(names, pool: pool, progress: progress)
  }
  func vector(_ name: String) throws(SlowFastError) -> Matrix { try base.vector(name) }

  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix {
    var matrix = try base.matrix(name)
    switch change {
    case .exact: matrix.input = .exact
    case .rounded: if quantizable.contains(name) { matrix.input = .rounded(group: Self.group) }
    }
    return matrix
  }

  /// Inputs that share a scale, as beside most weights.
  private static let group = 128
}
