import Conversion
import Foundation
import Models
import Parallel
import Runtime
import Support
import Synchronization

/// One run of a comparison: the baseline first, then one model after the other.
struct ComparisonRun {
  let comparison: Comparison
  let baseline: VideoLanguageModel
  let origins: ComparedOrigins
  let folder: ReportFolder
  /// Of the checkpoint.
  let identity: String
  /// Models, the baseline included.
  let count: Int
  let progress: @Sendable (ComparisonProgress) -> Void
  let isCancelled: @Sendable () -> Bool
  /// Of the clips, for all models.
  let frames = KeptFrames(limit: min(512 << 20, (MemoryPlan.availableBytes() ?? 1 << 32) / 8))

  private var options: ComparisonOptions {
    var options = comparison.options
    options.slowAttention = slowAttention
    return options
  }
  private var slowAttention: SlowAttention { comparison.options.slowAttention ?? baseline.generation.slowAttention }
  private var clips: [EvaluationSet.Clip] { comparison.data.clips }

  func report(_ models: [ComparedModel]) throws(SlowFastError) -> ComparisonReport {
    let session = try Session(baseline, options: sessionOptions)
    let settings = settings(kernels: session.statistics.kernels)
    let reference = try journal([identity, "baseline"] + settings, of: "baseline", 0)
    try measureBaseline(reference)
    var failures: [ClipFailure] = []
    var tally = Tally(descriptions: comparison.data.descriptionKinds)
    // Of the clips that could be measured.
    var known: [Int: ClipRecord] = [:]
    for (index, clip) in clips.enumerated() {
      guard let record = reference.record(index) else { continue }
      if let reason = record.failure {
        failures.append(ClipFailure(video: clip.label, model: "baseline", reason: reason))
      } else {
        tally.add(record, of: clip, baseline: nil)
        known[index] = record.forTally
      }
    }
    guard tally.questionCount > 0 else {
      throw .badFile(
        path: comparison.dataName, problem: "none of its clips could be measured: \(failures.first?.reason ?? "no question")")
    }
    var results: [ModelResult] = []
    var converted: (key: [String], path: String)?
    defer { if let converted { SystemCalls.remove(converted.path) } }
    for (place, compared) in models.enumerated() {
      let journal = try journal([identity] + compared.identity() + settings, of: compared.name, place + 1)
      let facts = FactsFile(path: String(journal.path.dropLast("jsonl".count)) + "json")
      let missing = known.keys.filter { journal.record($0) == nil }.sorted()
      if facts.read() == nil || !missing.isEmpty {
        let key = compared.text.map { [identity, $0] }
        if let old = converted, old.key != key {
          SystemCalls.remove(old.path)
          converted = nil
        }
        if let key, converted == nil { converted = (key, folder.modelFile(key)) }
        try measure(missing, of: compared, place: place + 1, journal, reference: reference, facts, converted: converted?.path)
      }
      results.append(try result(of: compared, journal, beside: known, facts, &failures))
    }
    var base = tally.result("baseline", isBaseline: true)
    let weights = ModelFacts(weightsOf: baseline)
    base.description = "the checkpoint's weights as they are"
    base.fileBytes = weights.fileBytes
    base.residentBytes = weights.residentBytes
    base.bitsPerWeight = weights.bitsPerWeight
    let variants = zip(models, results).filter { !$0.0.isPart }.map(\.1)
    return ComparisonReport(
      program: "slowfast \(SlowFastVersion.current)", date: Date().formatted(.iso8601), machine: Machine.description,
      checkpoint: URL(fileURLWithPath: comparison.checkpoint).lastPathComponent.fileNameText,
      parameters: baseline.source.schema.requirements.reduce(0) { $0 + $1.shape.reduce(1, *) }, data: comparison.dataName.fileNameText,
      clips: base.clips,
      questions: tally.questionCount, tokens: tally.tokenCount, frames: options.frames ?? baseline.defaultFrameCount,
      slowAttention: slowAttention, kernels: session.statistics.kernels, threads: session.statistics.threads, baseline: base,
      variants: variants, parts: zip(models, results).filter { $0.0.isPart }.map(\.1), partBits: options.partBits, failures: failures,
      choice: Choice(among: variants, questions: tally.questionCount), notes: origins.notes)
  }

  private var sessionOptions: SessionOptions {
    var session = SessionOptions()
    session.threads = options.threads
    session.slowAttention = slowAttention
    return session
  }

  /// What the results depend on beside the models.
  private func settings(kernels: String) -> [String] {
    let sampling = options.sampling ?? baseline.defaultSampling.rule
    return [
      SlowFastVersion.current, comparison.data.fingerprint, kernels, slowAttention.rawValue, "\(baseline.answerVocabulary) tokens",
      "\(options.frames ?? baseline.defaultFrameCount) \(options.maximumTokens) \(options.featureClips) \(SparseDistribution.kept)"
        + (sampling == .uniform ? "" : " \(sampling)"),
    ]
  }

  private func show(_ model: String, _ place: Int, _ work: ComparisonProgress.Work) {
    progress(ComparisonProgress(model: model, index: place, count: count, work: work))
  }

  /// The records of what `identity` says; damaged ones are told.
  private func journal(_ identity: [String], of model: String, _ place: Int) throws(SlowFastError) -> MeasurementJournal {
    let journal = try folder.journal(identity)
    for line in journal.damagedLines {
      show(model, place, .warning("\(journal.path.escaped()):\(line): a damaged measurement; its clip is measured again"))
    }
    return journal
  }

  private func measureBaseline(_ journal: MeasurementJournal) throws(SlowFastError) {
    let missing = clips.indices.filter { journal.record($0) == nil }
    try measure(missing, with: baseline, "baseline", 0, journal) { (measurer, index) throws(SlowFastError) in
      try measurer.measureBaseline(clips[index], index: index, keepsFeatures: index < options.featureClips)
    }
  }

  /// Measures what is missing of a model's clips. Threads that share the work of a small model wait for each other more than they work: so
  /// after the first clip, of which memory and speed are told, each has clips of its own.
  private func measure(
    _ missing: [Int], with model: VideoLanguageModel, _ name: String, _ place: Int, _ journal: MeasurementJournal,
    record: (ClipMeasurer, Int) throws(SlowFastError) -> ClipRecord
  ) throws(SlowFastError) {
    if missing.isEmpty { return }
    let done = Mutex(clips.count - missing.count)
    /// Whether the clip could be measured.
    func take(_ index: Int, _ measurer: ClipMeasurer) throws(SlowFastError) -> Bool {
      done.withLock { show(name, place, .measuring($0, of: clips.count)) }
      let made = try record(measurer, index)
      try journal.append(made)
      done.withLock { $0 += 1 }
      return made.failure == nil
    }
    let threads = options.threads ?? Resources.processors
    let isShared = threads > 1 && Self.isSmall(model, threads: threads)
    var left = missing[...]
    let measurer = try ClipMeasurer(model, options, frames: frames, isCancelled: isCancelled)
    while let index = left.popFirst() {
      if try take(index, measurer), isShared { break }
    }
    if left.isEmpty { return }
    let pool = ThreadPool(threadCount: threads)
    let measurers = try (0..<pool.threadCount).map { _ throws(SlowFastError) in
      try ClipMeasurer(model, options, threads: 1, frames: frames, isCancelled: isCancelled)
    }
    let rest = Array(left)
    try pool.forEach(rest.count) { (number, worker) throws(SlowFastError) in _ = try take(rest[number], measurers[worker]) }
  }

  /// Whether its weights stay in the caches of processors, and there is memory for a conversation on each.
  private static func isSmall(_ model: VideoLanguageModel, threads: Int) -> Bool {
    let schema = model.source.schema
    return model.source.residentBytes(schema.visionNames + schema.decoderNames) <= 32 << 20
      && MemoryPlan.availableBytes() ?? .max > threads << 30
  }

  private func measure(
    _ missing: [Int], of compared: ComparedModel, place: Int, _ journal: MeasurementJournal, reference: MeasurementJournal,
    _ facts: FactsFile, converted: String?
  ) throws(SlowFastError) {
    var summary: ConversionSummary?
    if let converted, FileStatus(path: converted) == nil, let conversion = try compared.conversion(of: comparison.checkpoint) {
      summary = try conversion.run(
        to: converted, progress: { show(compared.name, place, .converting($0.doneByteCount, of: $0.totalByteCount)) },
        isCancelled: isCancelled)
    }
    try facts.write(try ModelFacts(compared, converted: converted, seconds: summary?.seconds ?? facts.read()?.conversionSeconds))
    let model = try compared.model(baseline, converted: converted)
    try measure(missing, with: model, compared.name, place, journal) { (measurer, index) throws(SlowFastError) in
      // It was there a moment ago.
      guard let known = reference.record(index) else { throw .badFile(path: reference.path, problem: "changed while it was read") }
      return try measurer.measure(clips[index], beside: known)
    }
  }

  private func result(
    of compared: ComparedModel, _ journal: MeasurementJournal, beside baseline: [Int: ClipRecord], _ facts: FactsFile,
    _ failures: inout [ClipFailure]
  ) throws(SlowFastError) -> ModelResult {
    var tally = Tally(descriptions: comparison.data.descriptionKinds)
    for (index, clip) in clips.enumerated() {
      guard let known = baseline[index], let record = journal.record(index) else { continue }
      if let reason = record.failure {
        failures.append(ClipFailure(video: clip.label, model: compared.name.fileNameText, reason: reason))
      } else {
        tally.add(record, of: clip, baseline: known)
      }
    }
    var result = tally.result(compared.name.fileNameText, isBaseline: false)
    let known = facts.read()
    if case .conversion(_, _, _, hasFloatInputs: true) = compared.recipe { result.hasFloatInputs = true }
    result.description = compared.isPart ? nil : origins.description(of: compared)
    if origins.isAnother(compared) { result.isAnotherModel = true }
    result.fileBytes = known?.fileBytes
    result.residentBytes = known?.residentBytes
    result.bitsPerWeight = known?.bitsPerWeight
    result.storedBitsPerWeight = known?.storedBitsPerWeight
    result.shareOfWeights = known?.shareOfWeights
    result.conversionSeconds = known?.conversionSeconds
    return result
  }
}

/// What is known of a model's file, kept because the file is not.
struct ModelFacts: Codable {
  var fileBytes: Int?
  var residentBytes: Int?
  var bitsPerWeight: Double?
  var storedBitsPerWeight: Double?
  var shareOfWeights: Double?
  var conversionSeconds: Double?

  init(_ compared: ComparedModel, converted: String?, seconds: Double?) throws(SlowFastError) {
    let path: String?
    if case .file(let own) = compared.recipe { path = own } else { path = converted }
    guard let path else { return }
    if FileStatus(path: path)?.kind == .directory {
      self = ModelFacts(weightsOf: try VideoLanguageModel(path: path))
      return
    }
    let summary = try ModelSummary(path: path)
    if case .part(let name, _) = compared.recipe {
      let part = summary.parts.first { $0.name == name }
      shareOfWeights = Double(part?.parameters ?? 0) / Double(max(1, summary.parameters))
      return
    }
    fileBytes = summary.fileBytes
    residentBytes = summary.total.bytes
    bitsPerWeight = summary.total.bitsPerWeight
    storedBitsPerWeight = summary.parameters > 0 ? Double(8 * summary.fileBytes) / Double(summary.parameters) : nil
    conversionSeconds = seconds
  }

  /// Of weights that are used as they are stored.
  init(weightsOf model: VideoLanguageModel) {
    let schema = model.source.schema
    let weights = schema.requirements.reduce(0) { $0 + $1.shape.reduce(1, *) }
    let bytes = model.source.residentBytes(schema.requirements.map(\.name))
    fileBytes = bytes
    residentBytes = bytes
    bitsPerWeight = Double(8 * bytes) / Double(max(1, weights))
  }
}
