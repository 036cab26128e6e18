import Compute
import Measurement
import Models
import Parallel
import Runtime
import Support

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
      limits: nil)
    if !options.stages.isSubset(of: [.decode, .resize]) { report.limits = try machineLimits() }
  }

  private func machineLimits() throws(SlowFastError) -> BenchmarkReport.Limits {
    progress("the machine's limits")
    guard let limits = MachineLimits(engine.kernels, pool) else { throw SlowFastError(ComputeError.outOfMemory(bytes: 256 << 20)) }
    return .init(products: limits.products, floatProducts: limits.floatProducts, bytes: limits.bytes)
  }

  var pool: ThreadPool { engine.pool }

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
