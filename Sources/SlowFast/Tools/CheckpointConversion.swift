import Checkpoint
import Conversion
import ModelFile

/// From a checkpoint directory to an `.sfq` file.
public struct CheckpointConversion: Sendable {
  private let converter: Converter
  private let path: String

  /// Opens and checks the checkpoint's headers.
  public init(_ directory: String, options: ConversionOptions = ConversionOptions()) throws(SlowFastError) {
    path = directory
    var options = options
    options.program = "slowfast \(SlowFastVersion.current)"
    do { converter = try Converter(checkpoint: try Checkpoint(directory: directory), options: options) } catch {
      throw SlowFastError(error, path: directory)
    }
  }

  /// What a conversion would do; `problem` says what keeps it from doing it.
  public func report() throws(SlowFastError) -> ConversionReport {
    do { return try converter.plan().report(converter.options) } catch { throw SlowFastError(error, path: path) }
  }

  /// Converts. Both closures are called some times a second, on the caller's thread.
  public func run(
    to output: String, progress: (ConversionProgress) -> Void = { _ in }, isCancelled: () -> Bool = { false }
  ) throws(SlowFastError) -> ConversionSummary {
    let start = StageTimes.now
    let result: ConversionResult
    do { result = try converter.run(to: output, progress: progress, isCancelled: isCancelled) } catch {
      throw SlowFastError(error, path: path)
    }
    return ConversionSummary(result, path: output, seconds: StageTimes.now - start)
  }
}

/// What a conversion made and what it took.
public struct ConversionSummary: Sendable, Codable {
  public var path: String
  public var fileBytes: Int
  /// Of the checkpoint, read by this run: what an interrupted run had done is not in it.
  public var checkpointBytes: Int
  public var weights: Int
  public var bitsPerWeight: Double
  public var storedBitsPerWeight: Double
  public var seconds: Double
  public var megabytesPerSecond: Double
  public var resumedTensors: Int
  public var nonfiniteTensors: [String]
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
      throw .badOption(name: "--keep", found: text, expected: "PATTERN=4, 8, 16 or 32")
    }
  }
}
