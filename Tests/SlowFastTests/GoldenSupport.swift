import Foundation
import Lab
import Models
import Runtime
import Safetensors
import Video

/// The checkpoints with recorded tensors of the published implementation.
enum Golden {
  static let names = ["clip", "strides", "image", "vanilla"]
  static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Golden"

  static func path(_ name: String) -> String { "\(directory)/\(name)" }
  /// A real clip.
  static let clip = URL(fileURLWithPath: directory).deletingLastPathComponent().path + "/Clips/nasa.mp4"

  /// What the checkpoint was asked: the user's turn of the prompt in the golden file's metadata, without the clip.
  static func question(_ name: String) throws -> String {
    let prompt = try recorded(name).metadata["prompt"] ?? ""
    let turn = prompt.split(separator: "<image>\n", maxSplits: 1).last ?? ""
    return String(turn.prefix { $0 != "<" })
  }

  static func recorded(_ name: String) throws -> SafetensorsFile { try SafetensorsFile(path: path(name) + "/golden.safetensors") }
}

/// One stage's tensor beside the reference's.
struct StageComparison {
  let stage: String
  /// ‖out − reference‖ / ‖reference‖.
  let relativeError: Double
  let greatestDifference: Double
}

/// The stages that a trace and a golden file have in common, in the order of the computation.
func compareStages(_ trace: Trace, with recorded: SafetensorsFile) throws -> [StageComparison] {
  let stages = ["pixel_values", "vision_features", "projected", "slow_tokens", "fast_tokens", "hidden_states", "logits"]
  return try stages.map { stage in
    let reference = try recorded.floats(of: stage)
    guard let found = trace.floats[stage], found.values.count == reference.count, found.shape == recorded[stage]?.shape else {
      return StageComparison(stage: stage, relativeError: .infinity, greatestDifference: .infinity)
    }
    var difference = 0.0
    var norm = 0.0
    var greatest = 0.0
    for (value, expected) in zip(found.values, reference) {
      let error = Double(value) - Double(expected)
      difference += error * error
      norm += Double(expected) * Double(expected)
      greatest = max(greatest, abs(error))
    }
    return StageComparison(stage: stage, relativeError: (difference / norm).squareRoot(), greatestDifference: greatest)
  }
}

func trace(
  _ model: VideoLanguageModel, name: String, slowAttention: SlowAttention = .prompt, generate: Int = 0, kernels: String? = nil,
  threads: Int? = nil
) throws -> Trace {
  var options = SessionOptions()
  options.slowAttention = slowAttention
  options.kernels = kernels
  options.threads = threads
  let source = try ClipSource(framesFile: Golden.path(name) + "/golden.safetensors")
  return try Session(model, options: options).trace(
    [source], sampling: SamplingRequest(frames: 1), question: try Golden.question(name), generate: generate)
}
