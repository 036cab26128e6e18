import Foundation
import Support

/// How a model answers unless the user says otherwise: a model file's `generation` section.
public struct GenerationRecord: Sendable, Codable, Equatable {
  /// 0 is greedy.
  public var temperature: Float
  /// The share of the likeliest tokens that are drawn from; 1 is all of them.
  public var topP: Float
  /// 0 is all.
  public var topK: Int
  /// What logits of tokens that are there already are divided by; 1 changes nothing.
  public var repetitionPenalty: Float
  /// The most tokens of an answer.
  public var maximumTokens: Int
  /// Which tokens read the slow tokens, unless a session says otherwise.
  public var slowAttention: SlowAttention

  package enum CodingKeys: String, CodingKey {
    case temperature
    case topP = "top_p"
    case topK = "top_k"
    case repetitionPenalty = "repetition_penalty"
    case maximumTokens = "max_new_tokens"
    case slowAttention = "slow_attention"
  }

  /// As the published demo answers: temperature 0.2, top-p 1 and 1024 tokens, the rest from the generation config, whose own default is a
  /// top-k of 50. A checkpoint whose generation config says that it does not sample is greedy, and so are families whose published examples
  /// are; a penalty counts there too.
  package init(_ generation: GenerationConfig?, slowAttention: SlowAttention, isGreedy: Bool = false) {
    temperature = generation?.samples == false || isGreedy ? 0 : 0.2
    topP = 1
    topK = generation?.topK ?? 50
    repetitionPenalty = generation?.repetitionPenalty ?? 1
    maximumTokens = 1024
    self.slowAttention = slowAttention
  }

  package init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json, file: "generation")
    let largest = Double(Float.greatestFiniteMagnitude)
    func positive(_ field: String, upTo limit: Double, _ expected: String) throws(ArchitectureError) -> Float {
      let value = Float(try fields.number(field, in: -largest...largest))
      guard value > 0, Double(value) <= limit else {
        throw .configValue(file: "generation", field: field, found: "\(value)", expected: expected)
      }
      return value
    }
    temperature = Float(try fields.number("temperature", in: 0...largest))
    topP = try positive("top_p", upTo: 1, "more than 0 and at most 1")
    topK = try fields.integer("top_k", in: 0...Limits.tokens)
    repetitionPenalty = try positive("repetition_penalty", upTo: largest, "more than 0")
    maximumTokens = try fields.integer("max_new_tokens", in: 1...Limits.tokens)
    let attention = try fields.string("slow_attention")
    guard let slowAttention = SlowAttention(rawValue: attention) else {
      throw .configValue(file: "generation", field: "slow_attention", found: attention, expected: "prompt or all")
    }
    self.slowAttention = slowAttention
  }

  package func json() throws(ArchitectureError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return Array(try encoder.encode(self)) } catch { throw .configUnreadable(file: "generation", reason: "\(error)") }
  }
}

/// What counts of a checkpoint's `generation_config.json`. The published demo sets temperature and top-p itself, so those that the file
/// names do not.
package struct GenerationConfig: Sendable, Equatable {
  /// nil: it does not say.
  package var samples: Bool?
  package var topK: Int?
  package var repetitionPenalty: Float?
  /// Ids of tokens that end an answer.
  package var endTokens: [Int32]

  package init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json, file: "generation_config.json")
    samples = try fields.optionalBool("do_sample")
    topK = try fields.optionalInteger("top_k", in: 0...(Limits.tokens))
    repetitionPenalty = try fields.optionalNumber("repetition_penalty", in: 1e-3...1e3).map(Float.init)
    endTokens = try fields.ids("eos_token_id")
  }
}

/// What a model file says of how frames become pixels: its `preprocessing` section.
package struct PreprocessingRecord: Sendable, Equatable {
  package var pixels: PixelConfig
  /// Frames of a clip unless the user says otherwise.
  package var frames: Int
  /// Frames a second, where a clip gets no more than that.
  package var frameRate: Double?

  /// Frames: the config's own number, else one in the checkpoint's name (`…-frame64-…`), else as many as fill the fast tokens.
  package init(config: ModelConfig, checkpointName: String) {
    (pixels, frameRate) = (config.pixels, config.frameRate)
    frames = config.frameCount ?? Self.frames(inName: checkpointName) ?? config.defaultFrameCount
  }

  /// `slowfast-…-576-frame64-s1t4` → 64.
  private static func frames(inName name: String) -> Int? {
    guard let match = name.firstMatch(of: #/frames?([0-9]{1,5})/#), let count = Int(match.1), (1...Limits.frames).contains(count) else {
      return nil
    }
    return count
  }

  package init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json, file: "preprocessing")
    pixels = try PixelConfig(record: fields)
    frames = try fields.integer("frames", in: 1...Limits.frames)
    frameRate = try fields.optionalNumber("frames_per_second", in: 1e-3...1e3)
  }

  package func json() throws(ArchitectureError) -> [UInt8] {
    struct Section: Encodable {
      var size: Int
      var mean: [Float]
      var std: [Float]
      var fit: PixelConfig.Fit?
      var resampling: PixelConfig.Resampling
      var longestSide: Int?
      var pictureSide: Int?
      var frames: Int
      var frameRate: Double?

      enum CodingKeys: String, CodingKey {
        case size, mean, std, fit, resampling, frames
        case longestSide = "longest_side"
        case pictureSide = "picture_side"
        case frameRate = "frames_per_second"
      }
    }
    let section = Section(
      size: pixels.size, mean: pixels.mean, std: pixels.std, fit: pixels.fit == .crop ? nil : pixels.fit, resampling: pixels.resampling,
      longestSide: pixels.longestSide, pictureSide: pixels.pictureSide, frames: frames, frameRate: frameRate)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return Array(try encoder.encode(section)) } catch { throw .configUnreadable(file: "preprocessing", reason: "\(error)") }
  }
}
