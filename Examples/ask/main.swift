import SlowFast

// A checkpoint becomes one file, once.
let conversion = try CheckpointConversion("checkpoint", options: ConversionOptions(bits: 4))
print(try conversion.report().text)
_ = try conversion.run(to: "model.sfq")

let model = try VideoLanguageModel(path: "model.sfq")
let session = try Session(model)
try session.watch([ClipSource(path: "clip.mp4")], sampling: SamplingRequest(frames: model.defaultFrameCount)) { progress in
  if case .encoding(let frame, let total) = progress { print("frame \(frame) of \(total)") }
}
var options = model.generationDefaults
options.maximumTokens = 128
let answer = try session.ask(
  "What happens in this video?", options: options,
  onText: { piece in
    print(piece, terminator: "")
    return true  // go on
  })
session.startOver()  // without it, the next question goes on with the conversation
let more = try session.ask("How many shapes are there?", options: options)
print("\n\(answer.tokens.count) tokens, then: \(more.text)")
