import ArgumentParser
import SlowFast
import Support

struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Turn a HuggingFace checkpoint into one .sfq file.",
    usage: "slowfast convert CHECKPOINT MODEL.sfq [OPTIONS]",
    discussion: """
        slowfast convert checkpoint/ model.sfq --bits 4
        slowfast convert checkpoint/ model.sfq \\
          --keep tower=4 --keep 'model.layers.0.*=16'
        slowfast convert checkpoint/ model.sfq \\
          --method gptq --calibrate questions.jsonl
        slowfast convert checkpoint/ model.sfq --target-size 4.5GB
        slowfast convert checkpoint/ --dry-run

      Reads config.json, safetensors files, the tokenizer and generation_config.json of the checkpoint, one tensor at a time. The output \
      appears under its name only when it is whole; an interrupted run goes on where it was when it is repeated.

      A part is one of \(ConversionPlan.matrixParts.joined(separator: ", ")).
      """)

  @Argument(help: "A checkpoint directory.", completion: .directory)
  var checkpoint: String
  @Argument(help: "The .sfq file to write; not needed with --dry-run.", completion: .file())
  var output: String?
  @Option(
    help: "Bits of a weight: 3 or 4 (8 in tower and projector, unless --keep says otherwise), 8, 16 (as stored) or 32.",
    completion: .list(ConversionOptions.bitChoices.map(String.init)))
  var bits = 4
  @Option(help: "rtn, search or gptq: how codes and scales are chosen. gptq needs --calibrate.")
  var method: QuantizationMethod = .search
  @Option(
    help: "Inputs that share a scale: \(ConversionOptions.groupChoices.alternatives). Default: by part.",
    completion: .list(ConversionOptions.groupChoices.map(String.init)))
  var group: Int?
  @Flag(help: "Codes with a minimum for each group instead of codes about zero.")
  var asymmetric = false
  @Option(help: "even or uneven: whether what codes of 4 bits stand for is closer about zero, for less error of the weights.")
  var levels: Levels = .even
  @Option(
    help:
      "PATTERN=BITS: bits of the tensors whose name a pattern with * and ? fits, or of a part. May be repeated; the first that fits counts."
  )
  var keep: [String] = []
  @OptionGroup var calibration: CalibrationArguments
  @Option(
    help:
      """
      Choose bits and group of each matrix, \(ConversionOptions.quantizedBitChoices.alternatives), so that the error is least and the \
      model \
      takes so many bits a weight at most.
      """
  )
  var targetBits: Double?
  @Option(help: "The same for the file's size before compression: 4.5GB, 900MB, or bytes.")
  var targetSize: String?
  @Option(
    help: "auto: zstd for all but codes, which hardly shrink and are mapped when they are raw; zstd: for all, the smallest file; or none.")
  var compress: Compression = .auto
  @Option(
    help: "Whether answers read the slow tokens too (all) or the prompt only, unless a run says otherwise. Default: as config.json says.")
  var slowAttention: SlowAttention?
  @Option(
    help: ArgumentHelp(
      "The directory of the checkpoint's vision transformer, where it is not inside under the configuration's name.", valueName: "directory"
    ),
    completion: .directory)
  var tower: String?
  @Option(help: "Threads. Default: as many as processors.")
  var threads: Int?
  @Flag(help: "List every tensor and the size that the file will have, and stop.")
  var dryRun = false
  @Flag(help: "Replace the output if it exists.")
  var force = false
  @Flag(help: "Convert weights that are NaN or infinite; quantized they count as 0.")
  var allowNonfinite = false
  @Flag(help: "Leave out tensors that the model has no place for.")
  var ignoreUnknown = false
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  enum Compression: String, ExpressibleByArgument, CaseIterable {
    case auto, zstd, none

    var choice: ChunkCompression {
      switch self {
      case .auto: .standard
      case .zstd: .smallest
      case .none: .none
      }
    }
  }

  enum Levels: String, ExpressibleByArgument, CaseIterable {
    case even, uneven
  }

  func validate() throws {
    if levels == .uneven, asymmetric { throw ValidationError("--levels uneven and --asymmetric exclude each other") }
    if output == nil, !dryRun { throw ValidationError("Missing the file to write.") }
    if targetBits != nil, targetSize != nil { throw ValidationError("--target-bits and --target-size exclude each other") }
    if let targetBits, !SizeTarget.bitRange.contains(targetBits) {
      throw ValidationError("--target-bits is \(targetBits), expected 1 to 32")
    }
    _ = try target()
    try SessionArguments.check(threads: threads)
  }

  private func target() throws -> SizeTarget? {
    if let targetBits { return .bits(targetBits) }
    guard let targetSize else { return nil }
    let units: [(String, Double)] = [("GIB", 0x1p30), ("MIB", 0x1p20), ("GB", 1e9), ("MB", 1e6), ("B", 1), ("", 1)]
    let text = targetSize.uppercased()
    let unit = units.first { text.hasSuffix($0.0) } ?? ("", 1)
    guard let number = Double(text.dropLast(unit.0.count)), number * unit.1 >= 1, number * unit.1 < 1e15 else {
      throw ValidationError("--target-size is \(targetSize.quoted), expected a number of bytes, or one such as 4.5GB or 900MB")
    }
    return .bytes(Int(number * unit.1))
  }

  func run() throws {
    var options = ConversionOptions(
      bits: bits, method: method, group: group, isAsymmetric: asymmetric, isUneven: levels == .uneven,
      keep: try keep.map { try KeepRule(parsing: $0) }, compression: compress.choice, threadCount: threads, replacesOutput: force,
      allowsNonfinite: allowNonfinite, ignoresUnknown: ignoreUnknown)
    options.slowAttention = slowAttention
    options.tower = tower
    let conversion = try CheckpointConversion(checkpoint, options: options, calibration: calibration.options, target: try target())
    let line = ProgressLine(display, isJSON: format.json)
    let calibrating: (CalibrationProgress) -> Void = { line.line($0.stage, $0.done, $0.total, "\($0.done) of \($0.total)") }
    if dryRun {
      let report = try conversion.report(calibrating: calibrating, isCancelled: { Interrupt.isRequested })
      if format.json { try Display.printJSON(report) } else { try Display.print(report.text) }
      if report.problem != nil { throw ExitCode(1) }
      return
    }
    var summary = try conversion.run(
      to: output ?? "",
      progress: { progress in
        line.rate(
          "converting", progress.doneByteCount, progress.totalByteCount, before: progress.resumedByteCount,
          "\(progress.index + 1)/\(progress.count)")
      }, calibrating: calibrating, isCancelled: { Interrupt.isRequested })
    if format.json {
      summary.path = summary.path.fileNameText
      return try Display.printJSON(summary)
    }
    for name in summary.nonfiniteTensors { Display.printError("warning: \(name.escaped()) has NaN or infinite values") }
    try Display.print(
      "\(summary.path.escaped()): \(formatBytes(summary.fileBytes)), \(Printing.fixed(summary.bitsPerWeight, 2)) bits a weight in memory, "
        + "\(Printing.fixed(summary.storedBitsPerWeight, 2)) counting the whole file; \(Printing.seconds(summary.seconds)), "
        + "\(Printing.fixed(summary.megabytesPerSecond, 0)) MB/s"
        + (summary.resumedTensors > 0 ? ", \(counted(summary.resumedTensors, "tensor")) taken over from an interrupted run" : ""))
  }
}

extension QuantizationMethod: ExpressibleByArgument {}
