import ArgumentParser
import Lab
import SlowFast

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Write the tensors of every stage of a run, to compare with another implementation.",
    usage: """
      slowfast trace MODEL -q QUESTION -o OUTPUT [OPTIONS]
        (--frames FILE | --video CLIP | --image FILE)
      """,
    discussion: """
      The output is a safetensors file with pixel_values, vision_features, projected, slow_tokens, fast_tokens (or visual_tokens), \
      prompt_ids (-200 marks the clip), hidden_states (embeddings, after each layer, the last after the final norm), logits and, with --generate, generated.
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Option(
    help: "A safetensors file with `frames` [T,H,W,3] u8, all of which are taken; with --video the number of frames to take.",
    completion: .file())
  var frames: String?
  @Option(help: "A video, an image or a directory of images.", completion: .file())
  var video: String?
  @Option(help: "A safetensors file with a picture `image` [H,W,3] u8, or several, `image0`, `image1`, ….", completion: .file())
  var image: String?
  @OptionGroup var range: RangeArguments
  @Option(name: [.short, .long], help: "What to ask.")
  var question: String?
  @Option(help: "A whole prompt as it stands, with <image> or <video> where each clip stands.")
  var prompt: String?
  @Option(help: "Tokens to generate, always the likeliest, stop tokens included.")
  var generate = 0
  @OptionGroup var session: SessionArguments
  @OptionGroup var voice: ModelArguments
  @Option(name: [.short, .long], help: "Where to write.", completion: .file())
  var output: String
  @Flag(help: "Replace the output if it exists.")
  var force = false
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func validate() throws {
    if frames == nil, video == nil, image == nil { throw ValidationError("Missing --frames FRAMES.safetensors or --video VIDEO.") }
    if image != nil, frames != nil || video != nil { throw ValidationError("--image excludes --frames and --video.") }
    if (question == nil) == (prompt == nil) { throw ValidationError("Expected one of -q QUESTION and --prompt PROMPT.") }
    if video != nil, let frames {
      guard let count = Int(frames) else { throw ValidationError("--frames is \(frames.escaped()), expected a number beside --video") }
      try SamplingArguments.check(count)
    }
    if !(0...65536).contains(generate) { throw ValidationError("--generate is \(generate), expected 0 to 65536") }
  }

  func run() throws {
    let written = WrittenFile(output, of: model)
    let question = try QuestionText.read([question ?? prompt ?? ""])[0]
    let inputs = [self.model] + [video, frames, image].compactMap { $0 }
    try Trace.check(output, replacing: force, inputs: inputs)
    let model = try voice.open(model)
    let sources =
      if let video { [try ClipSource(path: video)] } else if let image { try ClipSource.pictures(file: image) } else {
        [try ClipSource(framesFile: frames ?? "")]
      }
    var options = session.options
    options.takesWholePrompts = prompt != nil
    voice.apply(to: &options)
    let session = try Session(model, options: options)
    let trace = try session.trace(
      sources, sampling: range.request(frames: frames.flatMap { Int($0) } ?? model.defaultFrameCount), question: question,
      generate: generate, progress: ProgressLine(display, isJSON: format.json).show, isCancelled: { Interrupt.isRequested })
    try trace.write(to: output, replacing: force, inputs: inputs)
    if format.json { try Display.printJSON(written.finished()) }
  }
}
