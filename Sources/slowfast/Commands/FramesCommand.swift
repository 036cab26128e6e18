import ArgumentParser
import SlowFast

struct FramesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "frames",
    abstract: "The frames that a model would see, as PNG files and as one contact sheet.",
    usage: "slowfast frames CLIP -n FRAMES [OPTIONS]",
    discussion: """
        slowfast frames clip.mp4 -n 16 --sheet sheet.png

      Frames are taken at int(linspace(0, count - 1, N)) of those that decode; with --sampling rate every round(rate / fps)-th, at most N.
      """)

  @Argument(help: "A video, an image or a directory of images.", completion: .file())
  var video: String
  @Option(name: [.customShort("n"), .customLong("frames")], help: "Frames to take.")
  var frames: Int
  @OptionGroup var range: RangeArguments
  @Option(
    name: [.short, .customLong("output")], help: "Write the frames to this directory, made if it is not there.", completion: .directory)
  var output: String?
  @Option(help: "Write one picture with all frames, their indices and times: NAME.png or NAME.jpg.", completion: .file())
  var sheet: String?
  @Flag(help: "Replace files that exist; never the clip.")
  var force = false
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func validate() throws {
    if frames < 1 { throw ValidationError("--frames is \(frames), expected at least 1") }
  }

  func run() throws {
    let progress = ProgressLine(display, isJSON: format.json)
    let report = try FrameExport(directory: output, sheet: sheet, replacing: force).run(
      try MediaInput(opening: video), range.request(frames: frames),
      progress: { progress.line("decoding", $0, $1, "frame \($0) of \($1)") }, isCancelled: { Interrupt.isRequested })
    if format.json { return try Display.printJSON(report) }
    for frame in report.frames {
      try Display.print("\(frame.index)\t\(Printing.fixed(frame.seconds, 3)) s\t\(frame.width)×\(frame.height)")
    }
    for warning in report.warnings { Display.printError("warning: \(warning)") }
  }
}
