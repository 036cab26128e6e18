import Conversion
import Foundation
import Models
import Runtime
import TestSupport
import Testing

/// How a model answers unless it is told: the published demo's settings over the checkpoint's own.
@Suite struct GenerationRecordTests {
  private func record(_ json: String) throws -> GenerationRecord {
    GenerationRecord(try GenerationConfig(json: Array(json.utf8)), slowAttention: .prompt)
  }

  @Test func thePublishedDemo() throws {
    let qwen = try record(
      #"{"do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05, "eos_token_id": [151645, 151643]}"#)
    #expect(qwen.temperature == 0.2 && qwen.topP == 1 && qwen.topK == 20 && qwen.repetitionPenalty == 1.05 && qwen.maximumTokens == 1024)
    // transformers' own top-k where the file has none.
    let none = GenerationRecord(nil, slowAttention: .all)
    #expect(none.temperature == 0.2 && none.topK == 50 && none.repetitionPenalty == 1 && none.slowAttention == .all)
  }

  @Test func aPenaltyCountsWithoutSampling() throws {
    for samples in [#""do_sample": false, "#, ""] {
      #expect(try record("{\(samples)\"repetition_penalty\": 1.1}").repetitionPenalty == 1.1)
    }
    #expect(try record(#"{"do_sample": false}"#).temperature == 0)
  }

  @Test func oddGenerationConfigs() {
    for json in [
      "{", "[]", #"{"do_sample": "yes"}"#, #"{"top_k": -1}"#, #"{"top_k": 1.5}"#, #"{"repetition_penalty": 0}"#,
      #"{"repetition_penalty": -1.1}"#,
      #"{"eos_token_id": "end"}"#, #"{"eos_token_id": [1, null]}"#, #"{"eos_token_id": 3000000000}"#,
    ] {
      let error = #expect(throws: ArchitectureError.self) { try record(json) }
      #expect(error?.description.hasPrefix("generation_config.json: ") == true, "\(json)")
    }
  }

  @Test func theSectionReadsBack() throws {
    let record = try record(#"{"top_k": 20, "repetition_penalty": 1.05}"#)
    #expect(
      String(decoding: try record.json(), as: UTF8.self)
        == #"{"max_new_tokens":1024,"repetition_penalty":1.05,"slow_attention":"prompt","temperature":0.2,"top_k":20,"top_p":1}"#)
    #expect(try GenerationRecord(json: record.json()) == record)
    for (field, value) in [
      ("temperature", "-1"), ("top_p", "0"), ("top_p", "2"), ("top_k", "-1"), ("repetition_penalty", "0"), ("max_new_tokens", "0"),
      ("max_new_tokens", "1e9"), ("slow_attention", "\"some\""), ("slow_attention", "null"),
    ] {
      var fields = try #require(try JSONSerialization.jsonObject(with: Data(record.json())) as? [String: Any])
      fields[field] = try JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed)
      let json = Array(try JSONSerialization.data(withJSONObject: fields))
      #expect(throws: ArchitectureError.self, "\(field) \(value)") { try GenerationRecord(json: json) }
    }
  }

  /// A checkpoint's directory and its model file say the same; `convert` may be told otherwise.
  @Test func aModelCarriesItsWay() throws {
    let directory = try TemporaryDirectory()
    let checkpoint = try VideoLanguageModel(path: Golden.path("image"))
    let file = try VideoLanguageModel(path: convert("image", bits: 8, to: directory))
    #expect(checkpoint.generation.slowAttention == .prompt && file.generation == checkpoint.generation)
    #expect(file.generationDefaults == checkpoint.generationDefaults)
    #expect(try Session(file).slowAttention == .prompt)

    var options = ConversionOptions(bits: 8)
    options.slowAttention = .all
    let path = directory.file("all.sfq")
    _ = try CheckpointConversion(Golden.path("image"), options: options).run(to: path)
    let all = try VideoLanguageModel(path: path)
    #expect(all.generation.slowAttention == .all)
    #expect(try Session(all).slowAttention == .all)
    var told = SessionOptions()
    told.slowAttention = .prompt
    #expect(try Session(all, options: told).slowAttention == .prompt)
  }

  /// Answers end as ChatML does, whatever else the configuration names: here only 7.
  @Test func endsThatNoConfigurationNames() throws {
    let directory = try TemporaryDirectory()
    for name in try FileManager.default.contentsOfDirectory(atPath: Golden.path("clip")) where name != "golden.safetensors" {
      try FileManager.default.copyItem(atPath: Golden.path("clip") + "/" + name, toPath: directory.file(name))
    }
    _ = try directory.write("generation_config.json", Data(#"{"eos_token_id": 7}"#.utf8))
    #expect(try VideoLanguageModel(path: directory.path).generationDefaults.stopTokens == [7, 454, 452])
    // Without the file the configuration's own end counts, as transformers has it.
    try FileManager.default.removeItem(atPath: directory.file("generation_config.json"))
    #expect(try VideoLanguageModel(path: directory.path).generationDefaults.stopTokens.isSuperset(of: [454, 452]))
  }
}
