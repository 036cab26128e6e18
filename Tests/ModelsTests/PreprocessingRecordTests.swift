import Foundation
import Models
import Testing

/// How frames become pixels, as a model file says it.
@Suite struct PreprocessingRecordTests {
  @Test(arguments: [
    ("slowfast-video-mllm-qwen2-7b-convnext-576-frame64-s1t4", 64), ("slowfast-video-mllm-qwen2-7b-convnext-576-frame96-s1t6", 96),
    ("mine-frames12", 12), ("frame0-a", 64), ("frame", 64), ("", 64), ("frame99999999999", 64),
  ])
  func framesFromTheName(name: String, frames: Int) throws {
    #expect(PreprocessingRecord(config: try config(), checkpointName: name).frames == frames)
  }

  @Test func theConfigComesFirst() throws {
    let record = PreprocessingRecord(config: try config(["video_frames": 20]), checkpointName: "a-frame64-b")
    #expect(record.frames == 20 && record.pixels.size == 576 && record.pixels.resampling == .bicubic && record.pixels.fit == .crop)
    #expect(record.pixels.mean == [0.48145466, 0.4578275, 0.40821073] && record.pixels.std == [0.26862954, 0.26130258, 0.27577711])
  }

  @Test func roundTrip() throws {
    let record = PreprocessingRecord(config: try config(), checkpointName: "frame96")
    #expect(try PreprocessingRecord(json: record.json()) == record)
  }

  static let good: [String: String] = [
    "size": "576", "mean": "[0.5,0.5,0.5]", "std": "[0.2,0.2,0.2]", "resampling": "\"bicubic\"", "frames": "64",
  ]

  private func record(_ changes: [String: String?]) throws {
    var fields = Self.good
    for (name, value) in changes { fields[name] = value }
    let text = "{" + fields.map { "\"\($0)\":\($1)" }.joined(separator: ",") + "}"
    _ = try PreprocessingRecord(json: Array(text.utf8))
  }

  @Test(arguments: [
    ("resampling", "\"nearest\""), ("mean", "[0.5,0.5]"), ("mean", "[0.5,0.5,0.5,0.5]"), ("std", "[0.2,0,0.2]"), ("std", "[0.2,-1,0.2]"),
    ("std", "[]"), ("frames", "0"), ("frames", "-3"), ("frames", "65537"), ("frames", "1e40"), ("frames", "1.5"), ("frames", "\"64\""),
    ("mean", "[1e99,0,0]"), ("mean", "[NaN,0,0]"), ("size", "1e30"), ("size", "\"a\""),
    ("size", "0"), ("size", "-1"), ("size", "4097"), ("resampling", "null"),
  ])
  func hostileValues(field: String, value: String) throws {
    try record([:])
    #expect(failure { try record([field: value]) } != nil)
  }

  @Test(arguments: Array(good.keys))
  func missingFields(field: String) { #expect(failure { try record([field: nil]) } != nil) }

  @Test(arguments: ["", "[]", "{", "null", "{}"])
  func notARecord(text: String) { #expect(failure { _ = try PreprocessingRecord(json: Array(text.utf8)) } != nil) }
}
