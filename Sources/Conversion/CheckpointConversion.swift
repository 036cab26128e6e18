import Runtime
import Safetensors
import Support

/// From a checkpoint directory to an `.sfq` file.
public struct CheckpointConversion: Sendable {
  private let converter: Converter
  private let path: String
  private let calibration: CalibrationOptions?
  private let target: SizeTarget?

  /// Opens and checks the checkpoint's headers. With `calibration` the model is run over clips to see what its layers take; with a `target`
  /// each matrix gets the bits and the group that cost least within it.
  public init(
    _ directory: String, options: ConversionOptions = ConversionOptions(), calibration: CalibrationOptions? = nil,
    target: SizeTarget? = nil
  ) throws(SlowFastError) {
    path = directory
    self.target = target
    self.calibration = calibration
    var options = options
    options.program = "slowfast \(SlowFastVersion.current)"
    do { converter = try Converter(checkpoint: try Checkpoint(model: directory, tower: options.tower), options: options) } catch {
      throw SlowFastError(error, path: directory)
    }
  }

  /// What a conversion would do; `problem` says what keeps it from doing it.
  public func report(
    calibrating: @escaping (CalibrationProgress) -> Void = { _ in }, isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) -> ConversionReport {
    do {
      try checkLevels()
      // Without a target, a plan depends on no inputs.
      let converter = target == nil ? converter : try prepared(calibrating, isCancelled).converter
      return try converter.plan().report(converter.options)
    } catch { throw SlowFastError(error, path: path) }
  }

  /// What keeps the conversion from being done, as far as it can be told without running the model or measuring weights; throws what a run
  /// would throw. nil: nothing.
  package func check() throws(SlowFastError) -> String? {
    do {
      try checkOptions()
      if calibration != nil { _ = try makeCalibrator({ _ in }, { false }) }
      if let target { try converter.checkReachable(target) }
      return try converter.plan().report(converter.options).problem
    } catch { throw SlowFastError(error, path: path) }
  }

  private func checkOptions() throws(SlowFastError) {
    switch (converter.options.method, calibration) {
    case (.gptq, nil): throw .conversion(.calibrationMissing(.gptq))
    case (.rtn, .some): throw .conversion(.calibrationUnused(.rtn))
    default: break
    }
    try checkLevels()
  }

  /// Whether uneven levels have a use. A target may give any matrix 4 bits, or none.
  private func checkLevels() throws(SlowFastError) {
    guard converter.options.isUneven, target == nil else { return }
    let hasUse = try converter.plan().stored.contains {
      if case .quantized(let scheme) = $0.descriptor.encoding { scheme.isUneven } else { false }
    }
    guard hasUse else { throw .conversion(.unevenUnused) }
  }

  /// Opens the clips; nil without calibration.
  private func makeCalibrator(
    _ calibrating: @escaping (CalibrationProgress) -> Void, _ isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) -> Calibrator? {
    guard let calibration else { return nil }
    return try Calibrator(
      try VideoLanguageModel(converter.checkpoint), calibration, converter.options, progress: calibrating,
      isCancelled: isCancelled)
  }

  /// The converter with the target's encodings, and the calibration if there is one.
  private func prepared(
    _ calibrating: @escaping (CalibrationProgress) -> Void, _ isCancelled: @escaping @Sendable () -> Bool
  ) throws -> (converter: Converter, calibrator: Calibrator?) {
    // Told before the clips are opened, and before the model is run.
    try checkOptions()
    if let target { try converter.checkReachable(target) }
    let calibrator = try makeCalibrator(calibrating, isCancelled)
    guard let target else { return (converter, calibrator) }
    let moments = try calibrator?.allMoments() ?? [:]
    let allocated = try converter.allocated(
      to: target, calibration: calibrator?.record, moments: { moments[$0] },
      progress: { calibrating(CalibrationProgress(stage: "measuring", done: $0, total: $1)) }, isCancelled: isCancelled)
    return (allocated, calibrator)
  }

  /// Converts. Both closures are called some times a second, on the caller's thread.
  public func run(
    to output: String, progress: (ConversionProgress) -> Void = { _ in }, calibrating: @escaping (CalibrationProgress) -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) -> ConversionSummary {
    let start = StageTimes.now
    let result: ConversionResult
    do {
      let (converter, calibrator) = try prepared(calibrating, isCancelled)
      result = try converter.run(to: output, calibration: calibrator, progress: progress, isCancelled: isCancelled)
    } catch {
      throw SlowFastError(error, path: path)
    }
    return ConversionSummary(result, path: output, seconds: StageTimes.now - start)
  }
}

/// What a conversion made and what it took.
public struct ConversionSummary: Sendable, Codable {
  /// The model file.
  public var path: String
  /// Its length.
  public var fileBytes: Int
  /// Of the checkpoint, read by this run: what an interrupted run had done is not in it.
  public var checkpointBytes: Int
  /// Weights of all tensors.
  public var weights: Int
  /// In memory, scales counted.
  public var bitsPerWeight: Double
  /// In the file.
  public var storedBitsPerWeight: Double
  /// Of this run; a conversion that went on counts from there.
  public var seconds: Double
  /// 10⁶ bytes of the checkpoint a second.
  public var megabytesPerSecond: Double
  /// Tensors that an earlier run had stored.
  public var resumedTensors: Int
  /// Tensors with infinities or NaN.
  public var nonfiniteTensors: [String]
  /// The process's peak, where the system tells.
  public var peakResidentBytes: Int?

  init(_ result: ConversionResult, path: String, seconds: Double) {
    self.path = path
    self.seconds = seconds
    fileBytes = result.fileByteCount
    let resumed = result.plan.stored.prefix(result.resumedTensorCount).reduce(0) { $0 + $1.source.byteCount }
    checkpointBytes = result.plan.sourceByteCount - resumed
    let total = result.plan.parts.last
    weights = total?.weightCount ?? 0
    bitsPerWeight = total?.bitsPerWeight ?? 0
    storedBitsPerWeight = weights > 0 ? Double(8 * fileBytes) / Double(weights) : 0
    megabytesPerSecond = seconds > 0 ? Double(checkpointBytes) / 1e6 / seconds : 0
    resumedTensors = result.resumedTensorCount
    nonfiniteTensors = result.nonfiniteTensors
    peakResidentBytes = RunStatistics.peakResidentBytes
  }
}

extension KeepRule {
  /// Reads `PATTERN=BITS`.
  public init(parsing text: String) throws(SlowFastError) {
    do throws(ConversionError) { self = try KeepRule(text) } catch {
      throw .badOption(
        "keep", found: text, expected: "PATTERN=\(ConversionOptions.bitChoices.alternatives) of \(KeepRule.patternWords)")
    }
  }
}
