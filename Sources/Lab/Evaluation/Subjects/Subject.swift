import Conversion
import Foundation
import Runtime
import Support

/// One model that is measured beside the baseline.
struct Subject {
  enum Making {
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
    /// The baseline, its keys and values kept as float16.
    case cacheAlone
  }

  /// As reports call it.
  var name: String
  var making: Making
  /// The name in words; nil where it needs none.
  var words: String?
  /// In the table of what costs what, rather than among the variants.
  var isPart: Bool

  /// What of it decides the results, beside the checkpoint.
  func identity() throws(SlowFastError) -> [String] {
    switch making {
    case .conversion(_, _, _, let hasFloatInputs): ["conversion", text ?? "", "\(hasFloatInputs)"]
    case .file(let path): ["file", try ModelIdentity.of(path)]
    case .part(let part, _): ["part", part, text ?? ""]
    case .weightsAlone: ["weights", text ?? ""]
    case .inputsAlone: ["inputs"]
    case .cacheAlone: ["cache"]
    }
  }

  /// What decides its conversion; nil where it has none.
  var text: String? {
    guard let options = conversion else { return nil }
    let keep = options.keep.map { "\($0.pattern)=\($0.bits)" }.joined(separator: " ")
    let calibrated = calibration.map { "\($0)" } ?? ""
    let target = target.map { "\($0)" } ?? ""
    return "\(options.bits) \(options.method) \(calibrated) \(target) \(options.group ?? 0) \(options.isAsymmetric) \(keep)"
  }

  /// The conversion that has to be there before it can be measured.
  var conversion: ConversionOptions? {
    switch making {
    case .conversion(let options, _, _, _), .part(_, let options), .weightsAlone(let options): options
    case .file, .inputsAlone, .cacheAlone: nil
    }
  }

  /// What that conversion is calibrated on.
  var calibration: CalibrationOptions? {
    if case .conversion(_, let calibration, _, _) = making { return calibration }
    return nil
  }

  /// What it may take.
  var target: SizeTarget? {
    if case .conversion(_, _, let target, _) = making { return target }
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
    switch making {
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
    case .cacheAlone: return VideoLanguageModel(baseline, source: baseline.source, cacheType: .float16)
    }
  }
}

extension Subject {
  /// Every subject of a comparison, in the order of the report.
  static func all(_ options: ComparisonOptions, baseline: VideoLanguageModel) -> [Subject] {
    var subjects = options.variants.map {
      Subject(
        name: $0.name,
        making: .conversion($0.conversion, $0.isCalibrated ? options.calibration : nil, $0.target, hasFloatInputs: $0.hasFloatInputs),
        words: $0.words, isPart: false)
    }
    subjects += options.files.map { Subject(name: $0, making: .file($0), isPart: false) }
    guard let bits = options.partBits else { return subjects }
    let parts = ConversionPlan.matrixParts
    let all = ConversionOptions(bits: bits, keep: parts.map { KeepRule(pattern: $0, bits: bits) })
    let present = Set(baseline.source.schema.requirements.map(\.role.part))
    // In the order in which a clip meets them.
    for part in ["tower", "projector", "embedding", "attention", "cross", "mlp", "head"] where present.contains(part) {
      subjects.append(Subject(name: part, making: .part(part, all), isPart: true))
    }
    subjects.append(Subject(name: partNames.cache, making: .cacheAlone, isPart: true))
    subjects.append(Subject(name: partNames.weights, making: .weightsAlone(all), isPart: true))
    subjects.append(Subject(name: partNames.inputs, making: .inputsAlone, isPart: true))
    return subjects
  }

  static let partNames = (cache: "key/value cache, float16", weights: "all weights, float inputs", inputs: "all inputs int8, float weights")
}
