import Compute
import ModelFile
import Models
import Parallel
import Quantization
import Runtime
import Support
import Video

/// What a calibration is doing, for progress displays.
public struct CalibrationProgress: Sendable, Equatable {
  /// What is at work, in words.
  public var stage: String
  /// Steps that are done.
  public var done: Int
  /// Steps in all.
  public var total: Int
}

/// Runs the model over clips and questions, a block or a layer at a time, to see what each linear layer takes as inputs.
///
/// The activations of all clips and questions stand before one unit of the model. To prepare a unit they are run through it with its
/// weights as they are, and every input is seen; when all its tensors are written they are run through it again, as it is in the model file
/// now, and stand before the next. So memory is the activations and what one unit's inputs need, whatever the size of the model.
final class Calibrator: Calibration {
  let record: CalibrationRecord
  let model: VideoLanguageModel
  let options: CalibrationOptions
  let set: EvaluationSet
  let engine: Engine
  let sampling: SamplingRequest
  let method: QuantizationMethod
  let progress: (CalibrationProgress) -> Void
  let isCancelled: @Sendable () -> Bool

  private let units: [ModelUnit]
  /// The unit that a tensor belongs to, by its name.
  private let places: [String: Int]
  private var encodings: [String: TensorEncoding] = [:]
  /// Tensors as they are in the model file by now.
  private var written: any WeightSource

  /// The unit that the activations stand before.
  private var current = 0
  private var prepared: PreparedUnit?
  /// The activations: maps of frames in the tower, later text and clips in the decoder.
  var frames: TowerActivations?
  var decoder: DecoderActivations?

  /// Opens the clips' files and tokenizes the texts, so that what is wrong with them is told before any work is done.
  init(
    _ model: VideoLanguageModel, _ options: CalibrationOptions, _ conversion: ConversionOptions,
    progress: @escaping (CalibrationProgress) -> Void, isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) {
    self.model = model
    self.options = options
    self.progress = progress
    self.isCancelled = isCancelled
    method = conversion.method
    written = model.source
    let all = try EvaluationSet(paths: options.paths)
    let set = options.clipLimit.map(all.prefix) ?? all
    self.set = set
    var sampling = model.defaultSampling
    if let frames = options.frames { sampling.frames = frames }
    self.sampling = sampling
    let pool = ThreadPool(threadCount: conversion.threadCount)
    engine = try classified { () throws(ComputeError) in try Engine(pool: pool) }
    units = model.source.schema.units
    var places: [String: Int] = [:]
    for (place, unit) in units.enumerated() {
      for name in unit.tensors { places[name] = place }
    }
    self.places = places
    record = CalibrationRecord(
      files: options.paths.map(Self.name), fingerprint: set.fingerprint, clips: set.videoCount, questions: set.questionCount,
      frames: sampling.frames, damping: options.damping, ordersByActivation: options.ordersByActivation, folds: options.folds,
      followsQuantized: options.followsQuantized)
    try checkSize()
  }

  private static func name(_ path: String) -> String { String(path.split(separator: "/").last ?? "") }

  /// Inputs that a layer should be seen to take, at least: as many as it has, or some hundreds.
  private func checkSize() throws(SlowFastError) {
    let least = min(512, model.config.hiddenSize)
    var tokens = 0
    for clip in set.clips {
      let layout = try clip.source().map(layout)
      for texts in Self.texts(of: clip) {
        tokens += (layout?.fastCount ?? 0) + model.tokenizer.encode(texts.question).count + model.tokenizer.encode(texts.answer).count
      }
    }
    guard tokens >= least else { throw .calibrationTooSmall(tokens: tokens, least: least) }
  }

  /// Questions and answers about a clip; where there are none, a plain question and no answer.
  static func texts(of clip: EvaluationSet.Clip) -> [(question: String, answer: String)] {
    clip.questions.isEmpty ? [(CalibrationOptions.plainQuestion, "")] : clip.questions.map { ($0.question, $0.answer) }
  }

  // MARK: Calibration

  func begin(_ plan: ConversionPlan, written: @escaping @Sendable (String) throws(SlowFastError) -> LoadedTensor?) {
    encodings = Dictionary(plan.stored.map { ($0.descriptor.name, $0.descriptor.encoding) }, uniquingKeysWith: { first, _ in first })
    guard options.followsQuantized else { return }
    self.written = CalibratedSource(model.source, written: written)
  }

  func treatment(of tensor: ConversionPlan.Stored) throws(SlowFastError) -> TensorTreatment {
    let name = tensor.descriptor.name
    guard let place = places[name] else { return TensorTreatment() }
    while current < place { try pass() }
    return try prepare().treatment(of: name, self)
  }

  /// Sees what the current unit takes, once.
  private func prepare() throws(SlowFastError) -> PreparedUnit {
    if let prepared { return prepared }
    report()
    let unit = PreparedUnit()
    try run(model.source, keepsOutput: false, seeing: unit)
    if options.folds { try FoldSearch(engine: engine, encodings: encodings).search(units[current], unit, model.source) }
    prepared = unit
    return unit
  }

  /// Runs the activations through the whole unquantized model and hands out what each unit was seen to take; then they are gone.
  func forEachUnit(_ body: (PreparedUnit) -> Void) throws(SlowFastError) {
    defer { (current, frames, decoder) = (0, nil, nil) }
    for index in units.indices {
      current = index
      report()
      let unit = PreparedUnit()
      try run(model.source, keepsOutput: true, seeing: unit)
      body(unit)
    }
  }

  /// Brings the activations behind the current unit.
  private func pass() throws(SlowFastError) {
    prepared = nil
    report()
    try run(written, keepsOutput: true, seeing: nil)
    current += 1
  }

  private func report() { progress(CalibrationProgress(stage: "calibrating", done: current, total: units.count)) }

  /// Runs the activations through the current unit of `source`.
  private func run(_ source: any WeightSource, keepsOutput: Bool, seeing unit: PreparedUnit?) throws(SlowFastError) {
    defer { engine.observer = nil }
    let place = units[current]
    if place.component == .decoder {
      frames = nil
      if decoder == nil { decoder = try DecoderActivations(self, written) }
      try decoder?.run(place, source, keepsOutput: keepsOutput, seeing: unit, self)
    } else {
      if frames == nil { frames = try TowerActivations(self) }
      try frames?.run(place, source, keepsOutput: keepsOutput, seeing: unit, self)
    }
  }

  /// Slots for all inputs of a unit, whose matrices `builder` has loaded.
  func slots(_ unit: ModelUnit, _ builder: LayerBuilder) throws(SlowFastError) -> [InputSlot] {
    var slots: [InputSlot] = []
    for input in unit.inputs {
      guard let weight = builder.matrices[input.matrices[0]] else { continue }
      slots.append(try slot(input.matrices, weight))
    }
    return slots
  }

  /// A slot for the inputs of `weight`, which it shares with the others of `names`.
  private func slot(_ names: [String], _ weight: WeightMatrix) throws(SlowFastError) -> InputSlot {
    let isQuantized = names.contains { if case .quantized? = encodings[$0] { true } else { false } }
    return InputSlot(
      names: names, weight: weight,
      statistics: try classified { () throws(ComputeError) in
        try InputStatistics(
          count: weight.columns, needsHessian: method == .gptq && isQuantized, seed: UInt64(current) &* 977 &+ UInt64(names[0].utf8.count))
      })
  }

  func checkCancelled() throws(SlowFastError) {
    if isCancelled() { throw .cancelled }
  }
}

extension Calibrator {
  /// Mean squares of the inputs of every matrix that is watched, by the matrix's name: a run through the whole unquantized model. The
  /// activations stand at the model's beginning again afterwards.
  func allMoments() throws(SlowFastError) -> [String: [Float]] {
    var moments: [String: [Float]] = [:]
    try forEachUnit { unit in
      for slot in unit.slots {
        let own = slot.storedMoments()
        for name in slot.names { moments[name] = own }
      }
    }
    return moments
  }
}
