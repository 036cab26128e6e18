import Models
import Support

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

  /// One stage, timed.
  public struct Stage: Sendable, Codable {
    /// As the table shows it.
    public var name: String
    /// Of one run, the median.
    public var seconds: Double
    /// Runs that were timed.
    public var repeats: Int
    /// Processor time over wall time and threads: well below 1 means that the stage does not use all threads, or that others use the
    /// machine.
    public var processorShare: Double
    /// What a run goes through: frames, tokens.
    public var units: Int?
    /// `frames`, `tokens`.
    public var unit: String?
    /// By the median run.
    public var unitsPerSecond: Double?
    /// Multiply-adds of a run.
    public var products: Int?
    /// In 10⁹ a second, and as a share of the limit: of int8 where the model is quantized, else of floats.
    public var productRate: Double?
    /// Of the machine's limit, 0 to 1.
    public var productShare: Double?
    /// Bytes of weights, keys and values that a run reads.
    public var bytes: Int?
    /// 10⁹ bytes a second.
    public var byteRate: Double?
    /// At which a plain loop read the same weights in turn with the runs; where there was none, the machine's limit counts.
    public var readRate: Double?
    /// Of `readRate`, 0 to 1.
    public var byteShare: Double?
  }

  /// A stage that was asked for and could not be timed.
  public struct Skipped: Sendable, Codable {
    /// The stage.
    public var name: String
    /// Why it could not be timed.
    public var reason: String
  }

  /// Of the program.
  public var version = SlowFastVersion.current
  /// Its path.
  public var model: String
  /// The instruction set in use.
  public var kernels: String
  /// Threads that computed.
  public var threads: Int
  /// Whether products are int8.
  public var isQuantized: Bool
  /// Frames whose tokens are read.
  public var frames: Int
  /// Tokens that are read through cross-attention.
  public var slowTokens: Int
  /// Who reads them.
  public var slowAttention: SlowAttention
  /// Bits of keys, values and slow tokens.
  public var cacheBits: Int
  /// nil where no stage is held against them, as decoding is not: measuring them takes memory.
  public var limits: Limits?
  /// In the order of a run.
  public var stages: [Stage] = []
  /// What could not be timed.
  public var skipped: [Skipped] = []
  /// Generated after the first context, greedily. The same model, options and kernels give the same ones.
  public var tokens: [Int32] = []
  /// XXH3-64 of `tokens`.
  public var tokenHash: String?
  /// Whether the slow and fast tokens came out of the tower; else they are made up, and the generated tokens are others.
  public var tokensSawTower = false
  /// The process's peak, where the system tells.
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
