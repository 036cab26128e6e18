import Foundation
import ModelFile
import Parallel
import Safetensors
import Support

/// How far a conversion is.
public struct ConversionProgress: Sendable {
  /// The tensor that is being stored, as the model file names it.
  public var tensor: String
  /// Its place among all, from 0.
  public var index: Int
  /// Tensors in all.
  public var count: Int
  /// Bytes of the checkpoint that are done, and in all.
  public var doneByteCount: Int
  /// Bytes of the checkpoint in all.
  public var totalByteCount: Int
  /// Of those done, bytes that an interrupted run before this one did: not to be counted for the rate.
  public var resumedByteCount: Int
}

/// What a conversion made.
public struct ConversionResult: Sendable {
  /// What was planned, and done.
  public var plan: ConversionPlan
  /// Length of the model file.
  public var fileByteCount: Int
  /// Tensors taken over from an interrupted run.
  public var resumedTensorCount: Int
  /// Names of tensors of the checkpoint with NaN or infinities, where they were allowed.
  public var nonfiniteTensors: [String]
}

/// Turns a checkpoint into a model file.
public struct Converter: Sendable {
  package let checkpoint: Checkpoint
  /// As they were given.
  public let options: ConversionOptions
  /// What no option changes.
  private let contents: CheckpointContents

  package init(checkpoint: Checkpoint, options: ConversionOptions = ConversionOptions()) throws(SlowFastError) {
    try classified { () throws(ConversionError) in try options.validate() }
    self.checkpoint = checkpoint
    self.options = options
    contents = CheckpointContents(checkpoint)
  }

  /// The same checkpoint otherwise; what was read of it is not read again.
  init(_ other: Converter, options: ConversionOptions) {
    (checkpoint, contents) = (other.checkpoint, other.contents)
    self.options = options
  }

  /// What `run` would do, with a calibration of which the file has this record. Reads headers, the tokenizer and the first bytes of each
  /// tensor.
  package func plan(_ calibration: CalibrationRecord? = nil) throws(SlowFastError) -> ConversionPlan { try prepare(calibration).plan }

  /// Writes the model file under a temporary name, `path` with `.partial`, and renames it when it is whole and on the disk.
  ///
  /// A run that `isCancelled` stopped, or that was killed, leaves the temporary file, and the next run with the same checkpoint and
  /// options goes on after the last whole tensor. After any other error nothing is left. Both closures are called on the caller's
  /// thread, some times a second. `calibration` is asked about each tensor; nil: nothing is known of the inputs.
  @discardableResult
  package func run(
    to path: String, calibration: (any Calibration)? = nil, progress: (ConversionProgress) -> Void = { _ in },
    isCancelled: () -> Bool = { false }
  ) throws(SlowFastError) -> ConversionResult {
    try checkOutput(path)
    if options.method == .gptq, calibration == nil { throw .conversion(.calibrationMissing(options.method)) }
    if options.method == .rtn, calibration != nil { throw .conversion(.calibrationUnused(options.method)) }
    let (plan, sections) = try prepare(calibration?.record)
    try classified { () throws(ConversionError) in try plan.check(ignoringUnknown: options.ignoresUnknown) }
    let pool = ThreadPool(threadCount: options.threadCount)
    let writer = try openWriter(path, plan, sections, pool)
    do throws(SlowFastError) {
      let nonfinite = try store(plan, writer, calibration, pool, progress, isCancelled)
      try classified { () throws(ModelFileError) in
        for section in sections.entries { try writer.addSection(section.name, section.bytes) }
        try writer.finish()
      }
      return ConversionResult(
        plan: plan, fileByteCount: try length(of: path), resumedTensorCount: writer.resumed.count, nonfiniteTensors: nonfinite)
    } catch {
      if error.kind != .cancelled { writer.abort() }
      throw error
    }
  }

  /// The plan, and all sections.
  private func prepare(_ calibration: CalibrationRecord?) throws(SlowFastError) -> (plan: ConversionPlan, sections: Sections) {
    let (config, tokenizer, shards) = try contents.read()
    var sections = try Sections(checkpoint, config, tokenizer: tokenizer, slowAttention: options.slowAttention)
    let planner = Planner(checkpoint: checkpoint, config: config, options: options)
    var plan = try planner.plan()
    try sections.add(Provenance(checkpoint, plan, options, calibration, shards: shards))
    try planner.measure(&plan, sections: sections.lengths)
    return (plan, sections)
  }

  /// Everything that the file's bytes depend on, and the checkpoint's times, so that no half is made from another checkpoint's weights.
  private func fingerprint(_ sections: Sections) -> String {
    let times = checkpoint.shards.map { "\($0.file.modified)" }
    let digests = sections.entries.map { "\($0.name) \(checksum($0.bytes))" }
    return (digests + times).joined(separator: "\n")
  }

  private func openWriter(
    _ path: String, _ plan: ConversionPlan, _ sections: Sections, _ pool: ThreadPool
  ) throws(SlowFastError) -> ModelFileWriter {
    try classified { () throws(ModelFileError) in
      func open() throws(ModelFileError) -> ModelFileWriter {
        try ModelFileWriter(
          path: path, fingerprint: fingerprint(sections), compression: options.compression, overwrite: options.replacesOutput,
          inputs: checkpoint.paths, pool: pool)
      }
      let writer = try open()
      if plan.stored.map(\.descriptor).starts(with: writer.resumed.map(\.descriptor)) { return writer }
      // An earlier version of the program went through the tensors in another way.
      writer.abort()
      return try open()
    }
  }

  /// Returns the names of tensors with NaN or infinities.
  private func store(
    _ plan: ConversionPlan, _ writer: ModelFileWriter, _ calibration: (any Calibration)?, _ pool: ThreadPool,
    _ progress: (ConversionProgress) -> Void, _ isCancelled: () -> Bool
  ) throws(SlowFastError) -> [String] {
    let store = TensorStore(
      checkpoint: checkpoint, writer: writer, pool: pool, method: options.method, allowsNonfinite: options.allowsNonfinite)
    nonisolated(unsafe) let file = writer  // Asked on this thread only, between two tensors.
    calibration?.begin(plan) { (name: String) throws(SlowFastError) in
      try classified { () throws(ModelFileError) in try file.load(name) }
    }
    let resumed = writer.resumed.count
    let resumedBytes = plan.stored.prefix(resumed).reduce(0) { $0 + $1.source.byteCount }
    var state = ConversionProgress(
      tensor: "", index: resumed, count: plan.stored.count, doneByteCount: resumedBytes, totalByteCount: plan.sourceByteCount,
      resumedByteCount: resumedBytes)
    for (index, tensor) in plan.stored.enumerated().dropFirst(resumed) {
      state.tensor = tensor.descriptor.name
      state.index = index
      let next = index + 1 < plan.stored.count ? plan.stored[index + 1].source : nil
      let treatment = try calibration?.treatment(of: tensor)
      try store.store(tensor, treatment ?? TensorTreatment(), next: next) { (byteCount: Int) throws(SlowFastError) in
        state.doneByteCount += byteCount
        progress(state)
        if isCancelled() { throw .cancelled }
      }
      // What came of another checkpoint's weights must not stand beside this one's, nor be found whole by a later run.
      try checkUnchanged()
    }
    return store.nonfiniteTensors
  }

  private func checkUnchanged() throws(SlowFastError) {
    do throws(CheckpointError) { for shard in checkpoint.shards { try shard.file.checkUnchanged() } } catch { throw SlowFastError(error) }
  }

  private func length(of path: String) throws(SlowFastError) -> Int {
    try classified { () throws(CheckpointError) in try SourceFile(path: path).byteCount }
  }

  /// Before any work is done; the writer looks again.
  private func checkOutput(_ path: String) throws(SlowFastError) {
    try classified { () throws(OutputError) in try OutputFile.check(path, replacing: options.replacesOutput, inputs: checkpoint.paths) }
  }
}
