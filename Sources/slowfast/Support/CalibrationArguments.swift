import ArgumentParser
import SlowFast

struct CalibrationArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Run the model over these clips and questions to see what its layers take: a file of JSON lines with video, question and answer, or a video. "
        + "May be repeated.",
      valueName: "data"),
    completion: .file())
  var calibrate: [String] = []
  @Option(help: "Take only the first so many clips of --calibrate.")
  var calibrationClips: Int?
  @Option(help: "Frames of a clip of --calibrate. Default: the model's own number.")
  var calibrationFrames: Int?
  @Flag(inversion: .prefixedNo, help: "Fold scales of loud inputs into the layer before, where that is exact and helps.")
  var fold = true
  @Option(help: "gptq: what is added to each input's mean square, in parts of their mean.")
  var damping: Float = 0.01
  @Flag(help: "gptq: round the loudest inputs first.")
  var actOrder = false
  @Flag(help: "Layers see what the unquantized layers before them make, instead of the quantized.")
  var calibrateUnquantized = false

  /// nil without `--calibrate`.
  var options: CalibrationOptions? {
    guard !calibrate.isEmpty else { return nil }
    var options = CalibrationOptions(paths: calibrate)
    options.clipLimit = calibrationClips
    options.frames = calibrationFrames
    options.folds = fold
    options.damping = damping
    options.ordersByActivation = actOrder
    options.followsQuantized = !calibrateUnquantized
    return options
  }

  func validate() throws {
    if let calibrationClips, calibrationClips < 1 {
      throw ValidationError("--calibration-clips is \(calibrationClips), expected at least 1")
    }
    if let calibrationFrames { try SamplingArguments.check(calibrationFrames) }
    if !(damping > 0 && damping <= 1) { throw ValidationError("--damping is \(damping), expected more than 0 and at most 1") }
    guard calibrate.isEmpty else { return }
    if calibrationClips != nil || calibrationFrames != nil || damping != 0.01 || actOrder || calibrateUnquantized || !fold {
      throw ValidationError("Options of calibration need --calibrate.")
    }
  }
}
