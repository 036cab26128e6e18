/// What a benchmark measured.
public struct BenchmarkReport: Sendable, Codable {
  /// What the machine can do at most, measured beside the stages; in 10⁹ a second.
  public struct Limits: Sendable, Codable {
    /// int8 multiply-adds in registers.
    public var products: Double
    /// float multiply-adds in the first-level cache.
    public var floatProducts: Double
    /// Bytes read from memory.
    public var bytes: Double
  }

  public struct Stage: Sendable, Codable {
    public var name: String
    /// Of one run, the median.
    public var seconds: Double
    public var repeats: Int
    /// Processor time over wall time and threads: well below 1 means that the stage does not use all threads, or that others use the machine.
    public var processorShare: Double
    /// What a run goes through: frames, tokens.
    public var units: Int?
    public var unit: String?
    public var unitsPerSecond: Double?
    /// Multiply-adds of a run.
    public var products: Int?
    /// In 10⁹ a second, and as a share of the limit: of int8 where the model is quantized, else of floats.
    public var productRate: Double?
    public var productShare: Double?
    /// Bytes of weights, keys and values that a run reads.
    public var bytes: Int?
    public var byteRate: Double?
    /// At which a plain loop read the same weights in turn with the runs; where there was none, the machine's limit counts.
    public var readRate: Double?
    public var byteShare: Double?
  }

  /// A stage that was asked for and could not be timed.
  public struct Skipped: Sendable, Codable {
    public var name: String
    public var reason: String
  }

  public var version = SlowFastVersion.current
  public var model: String
  public var kernels: String
  public var threads: Int
  public var isQuantized: Bool
  public var frames: Int
  public var slowTokens: Int
  public var slowAttention: SlowAttention
  /// nil where no stage is held against them, as decoding is not: measuring them takes memory.
  public var limits: Limits?
  public var stages: [Stage] = []
  public var skipped: [Skipped] = []
  /// Generated after the first context, greedily. The same model, options and kernels give the same ones.
  public var tokens: [Int32] = []
  /// XXH3-64 of `tokens`.
  public var tokenHash: String?
  /// Whether the slow and fast tokens came out of the tower; else they are made up, and the generated tokens are others.
  public var tokensSawTower = false
  public var peakResidentBytes: Int?
}

extension BenchmarkReport.Stage {
  /// `runs`: wall and processor seconds of each.
  init(
    _ name: String, _ runs: [StageRun], threads: Int, units: Int? = nil, unit: String? = nil, products: Int? = nil, bytes: Int? = nil,
    readRate: Double? = nil, limits: BenchmarkReport.Limits?, isQuantized: Bool
  ) {
    self.name = name
    let median = runs.sorted { $0.wall < $1.wall }[runs.count / 2]
    seconds = median.wall
    repeats = runs.count
    processorShare = median.processor / max(1e-9, median.wall) / Double(threads)
    self.units = units
    self.unit = unit
    self.products = products
    self.bytes = bytes
    let seconds = max(1e-9, seconds)
    unitsPerSecond = units.map { Double($0) / seconds }
    productRate = products.map { Double($0) / seconds / 1e9 }
    byteRate = bytes.map { Double($0) / seconds / 1e9 }
    self.readRate = readRate
    if let limits {
      productShare = productRate.map { $0 / (isQuantized ? limits.products : limits.floatProducts) }
      byteShare = byteRate.map { $0 / (readRate ?? limits.bytes) }
    }
  }
}

/// Wall and processor seconds.
struct StageRun {
  var wall: Double
  var processor: Double
}
