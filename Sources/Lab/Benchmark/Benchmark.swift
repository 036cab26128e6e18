import Compute
import Measurement
import Models
import Parallel
import Runtime
import Support
import Video

/// A part of the way from a clip to an answer that can be timed by itself.
public enum BenchmarkStage: String, Sendable, CaseIterable, Codable {
  /// A part of the decoder, packed and raw, from the system's cache; then the tower and the decoder from the file as it is.
  case load
  /// The clip's frames, decoded; needs a clip.
  case decode
  /// Frames to pixels for the tower; of the clip, or of a made-up 1280 × 720 picture.
  case resize
  /// One frame, also stage by stage.
  case tower
  /// Features to the decoder's width.
  case projector
  /// Keys and values of the slow tokens in the hybrid layers.
  case cross
  /// Reading a prompt.
  case prefill
  /// One token after so many.
  case generate
}

/// What to time and how often.
public struct BenchmarkOptions: Sendable {
  /// What is timed.
  public var stages = Set(BenchmarkStage.allCases)
  /// Runs of each stage, of which the median counts; one more before them warms up.
  public var repeats = 3
  /// Frames whose slow tokens the decoder reads; nil takes the model's own number.
  public var frames: Int?
  /// Lengths of prompts. What the model's context does not hold is left out.
  public var prompts = [512, 1296]
  /// Tokens in the cache before those that are generated.
  public var contexts = [64, 1400, 4096]
  /// Conversations that make tokens at the same time, after the first of `contexts`; each number is a row.
  public var together: [Int] = []
  /// Generated tokens of each run.
  public var generatedTokens = 16
  /// For `decode` and `resize`.
  public var clip: MediaInput?
  /// nil: all that the process may use.
  public var threads: Int?
  /// Which tokens read the slow tokens; nil: as the model says. `all` is the harder one: each generated token reads all slow tokens.
  public var slowAttention: SlowAttention?
  /// Bits of keys, values and slow tokens: 8, 16 or 32; nil: 16 beside quantized weights, else 32.
  public var cacheBits: Int?

  /// All stages, with the model's own frames.
  public init() {}

  /// Throws `badOption` for a value out of range.
  public func validate() throws(SlowFastError) {
    func check(_ values: [Int], _ range: ClosedRange<Int>, _ name: String) throws(SlowFastError) {
      for value in values where !range.contains(value) {
        throw .badOption(name, found: "\(value)", expected: "\(range.lowerBound) to \(range.upperBound)")
      }
    }
    try check([repeats], 1...1000, "repeats")
    try check([frames].compactMap { $0 }, 1...Limits.frames, "frames")
    try check(prompts, 1...GenerationOptions.tokenLimit, "prompts")
    try check(contexts, 1...GenerationOptions.tokenLimit, "contexts")
    try check(together, 1...64, "together")
    try check([generatedTokens], 1...65536, "generatedTokens")
    if let cacheBits, KeyValueType(bits: cacheBits) == nil {
      throw .badOption("cacheBits", found: "\(cacheBits)", expected: "8, 16 or 32")
    }
  }
}

/// Times each stage of a model on this machine, beside what the machine can do at most.
public struct Benchmark {
  let model: VideoLanguageModel
  let options: BenchmarkOptions
  let engine: Engine
  let isCancelled: @Sendable () -> Bool
  let frames: Int
  let layout: any VisualLayout
  var report: BenchmarkReport
  let progress: (String) -> Void

  /// Runs all stages that are asked for. `progress` hears what is being timed.
  public static func run(
    _ model: VideoLanguageModel, options: BenchmarkOptions = BenchmarkOptions(), progress: @escaping (String) -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) -> BenchmarkReport {
    try options.validate()
    var benchmark = try Benchmark(model, options, progress, isCancelled)
    try benchmark.timeLoading()
    try benchmark.timeVideo()
    try benchmark.timeModel()
    benchmark.report.peakResidentBytes = RunStatistics.peakResidentBytes
    return benchmark.report
  }

  private init(
    _ model: VideoLanguageModel, _ options: BenchmarkOptions, _ progress: @escaping (String) -> Void,
    _ isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) {
    self.model = model
    self.options = options
    self.progress = progress
    self.isCancelled = isCancelled
    let pool = ThreadPool(threadCount: options.threads)
    let engine = try classified { () throws(ComputeError) in try Engine(pool: pool) }
    self.engine = engine
    frames = options.frames ?? model.defaultFrameCount
    layout = model.config.layout(.clip(frames: frames), towerSide: model.source.schema.tower.outputSide)
    report = BenchmarkReport(
      model: model.path, kernels: engine.kernels.name, threads: pool.threadCount, isQuantized: model.source.isQuantized, frames: frames,
      slowTokens: layout.slowCount, slowAttention: options.slowAttention ?? model.generation.slowAttention,
      cacheBits: 0, limits: nil)
    report.cacheBits = cacheType.bits
    if !options.stages.isSubset(of: [.decode, .resize]) { report.limits = try machineLimits() }
  }

  private func machineLimits() throws(SlowFastError) -> BenchmarkReport.Limits {
    progress("the machine's limits")
    guard let limits = MachineLimits(engine.kernels, pool) else { throw SlowFastError(ComputeError.outOfMemory(bytes: 256 << 20)) }
    return .init(products: limits.products, floatProducts: limits.floatProducts, bytes: limits.bytes)
  }

  var pool: ThreadPool { engine.pool }
  var cacheType: KeyValueType { options.cacheBits.flatMap { KeyValueType(bits: $0) } ?? model.cacheType }

  func wants(_ stages: BenchmarkStage...) -> Bool { !options.stages.isDisjoint(with: stages) }

  mutating func skip(_ name: String, _ reason: String) { report.skipped.append(.init(name: name, reason: reason)) }

  /// Runs `body` once to warm up and then as often as the options say.
  func measure(_ name: String, warmsUp: Bool = true, _ body: () throws(SlowFastError) -> Void) throws(SlowFastError) -> [StageRun] {
    progress(name)
    var runs: [StageRun] = []
    for index in (warmsUp ? -1 : 0)..<options.repeats {
      if isCancelled() { throw .cancelled }
      let run = try once(body)
      if index >= 0 { runs.append(run) }
    }
    return runs
  }

  func once(_ body: () throws(SlowFastError) -> Void) throws(SlowFastError) -> StageRun {
    let (wall, processor) = (monotonicSeconds(), processorSeconds())
    try body()
    return StageRun(wall: monotonicSeconds() - wall, processor: processorSeconds() - processor)
  }

  mutating func add(
    _ name: String, _ runs: [StageRun], units: Int? = nil, unit: String? = nil, products: Int? = nil, bytes: Int? = nil,
    readRate: Double? = nil
  ) {
    report.stages.append(
      .init(
        name, runs, threads: pool.threadCount, units: units, unit: unit, products: products, bytes: bytes, readRate: readRate,
        limits: report.limits, isQuantized: report.isQuantized))
  }

  /// Values between −1 and 1, the same each time.
  static func madeUp(rows: Int, columns: Int, seed: UInt64) throws(SlowFastError) -> Matrix {
    let matrix = try classified { () throws(ComputeError) in try Matrix(rows: rows, columns: columns) }
    var generator = SplitMix64(state: seed)
    for index in 0..<rows * columns { matrix.pointer[index] = Float(2 * generator.nextUnit() - 1) }
    return matrix
  }
}
