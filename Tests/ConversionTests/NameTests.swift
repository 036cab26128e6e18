import Conversion
import Foundation
import ModelFile
import Support
import TestSupport
import Testing

/// Names that other tools write, tensors that are not used, and tensors that are not known.
@Suite struct NameTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  private func plan(_ checkpoint: EditableCheckpoint, _ options: ConversionOptions = ConversionOptions()) throws -> ConversionPlan {
    try Converter(checkpoint: checkpoint.write(in: directory), options: options).plan()
  }

  /// Everything but where it came from.
  private func expectSameTensors(_ first: String, _ second: String) throws {
    let (first, second) = (try ModelFileReader(path: first), try ModelFileReader(path: second))
    #expect(first.tensors == second.tensors)
  }

  @Test(arguments: ["module.", "base_model.model.", "module.base_model.model.", "_orig_mod.", "_orig_mod.module."])
  func prefixesOfFineTunes(prefix: String) throws {
    var checkpoint = try EditableCheckpoint("image")
    let plain = directory.path + "/plain.sfq"
    try Converter(checkpoint: checkpoint.write(in: directory)).run(to: plain)
    for index in checkpoint.tensors.indices { checkpoint.tensors[index].name = prefix + checkpoint.tensors[index].name }
    let result = try Converter(checkpoint: checkpoint.write(in: directory)).run(to: directory.output)
    #expect(result.plan.stored.filter(\.isRenamed).count == result.plan.stored.count)
    try expectSameTensors(plain, directory.output)
  }

  @Test func wrapperInsideAName() throws {
    var checkpoint = try EditableCheckpoint("image")
    for index in checkpoint.tensors.indices {
      checkpoint.tensors[index].name = checkpoint.tensors[index].name.replacing(".self_attn.", with: "._orig_mod.self_attn.")
    }
    let plan = try plan(checkpoint)
    #expect(plan.unknown.isEmpty && plan.missing.isEmpty)
    let query = plan.stored.first { $0.descriptor.name == "model.layers.0.self_attn.q_proj.weight" }
    #expect(query?.source.name == "model.layers.0._orig_mod.self_attn.q_proj.weight")
  }

  @Test func layerScalesCalledGamma() throws {
    var checkpoint = try EditableCheckpoint("clip")
    let plain = directory.path + "/plain.sfq"
    try Converter(checkpoint: checkpoint.write(in: directory)).run(to: plain)
    var renamed = 0
    for index in checkpoint.tensors.indices {
      let name = checkpoint.tensors[index].name
      guard let match = name.wholeMatch(of: /(.*\.blocks\.[0-9]+)\.weight/) else { continue }
      checkpoint.tensors[index].name = match.output.1 + ".gamma"
      renamed += 1
    }
    #expect(renamed == 5)
    let result = try Converter(checkpoint: checkpoint.write(in: directory)).run(to: directory.output)
    #expect(result.plan.stored.filter(\.isRenamed).count == 5)
    try expectSameTensors(plain, directory.output)
  }

  @Test func unusedTensorsAreNamedWithTheReason() throws {
    var checkpoint = try EditableCheckpoint("clip")
    let extra = ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.vision_tower.vision_tower.embeddings.position_ids"]
    for name in extra { checkpoint.tensors.append(RawTensor(name: name, type: .int64, shape: [1], bytes: [0, 0, 0, 0, 0, 0, 0, 0])) }
    let plan = try plan(checkpoint)
    let head = "model.vision_tower.vision_tower.head."
    #expect(Set(plan.unused.map(\.name)) == Set(extra + ["fc.bias", "fc.weight", "norm.bias", "norm.weight"].map { head + $0 }))
    #expect(plan.unused.allSatisfy { !$0.reason.isEmpty })
    #expect(throws: Never.self) { try plan.check(ignoringUnknown: false) }
  }

  @Test func misspeltNames() throws {
    var checkpoint = try EditableCheckpoint("clip")
    let name = "model.layers.3.mlp.gate_proj.weight"
    checkpoint[name].name = "model.layers.3.mlp.gate_projj.weight"
    let plan = try plan(checkpoint)
    #expect(plan.missing == [name])
    #expect(plan.unknown.map(\.name) == ["model.layers.3.mlp.gate_projj.weight"])
    #expect(plan.unknown.first?.nearest == name)
    // Leaving out what is not known does not make up for what is missing.
    for ignoring in [true, false] {
      let error = #expect(throws: ConversionError.self) { try plan.check(ignoringUnknown: ignoring) }
      #expect(error?.description.contains("nearest known name: \"\(name)\"") == true)
    }
  }

  @Test func unknownTensorsAreRefusedUnlessTheyAreToBeLeftOut() throws {
    var checkpoint = try EditableCheckpoint("clip")
    let name = "zzz\u{1B}[2J"
    checkpoint.tensors.append(RawTensor(name: name, type: .float32, shape: [1], bytes: [0, 0, 0, 0]))
    let opened = try checkpoint.write(in: directory)
    let error = #expect(throws: SlowFastError.self) { try Converter(checkpoint: opened).run(to: directory.output) }
    #expect(error?.description == "the model has no place for the tensor \"zzz\\u{1b}[2J\"")
    #expect(directory.contents == ["model"])
    let result = try Converter(checkpoint: opened, options: ConversionOptions(ignoresUnknown: true)).run(to: directory.output)
    #expect(result.plan.unknown.map(\.name) == [name])
  }

  @Test func missingTensors() throws {
    var checkpoint = try EditableCheckpoint("clip")
    checkpoint.remove("model.norm.weight")
    checkpoint.remove("model.layers.5.self_attn.k_proj.bias")
    let plan = try plan(checkpoint)
    #expect(plan.missing == ["model.layers.5.self_attn.k_proj.bias", "model.norm.weight"])
    let error = #expect(throws: ConversionError.self) { try plan.check(ignoringUnknown: false) }
    #expect(
      error?.description
        == "the checkpoint lacks 2 tensors: \"model.layers.5.self_attn.k_proj.bias\", \"model.norm.weight\"")
  }

  @Test func adapters() throws {
    var checkpoint = try EditableCheckpoint("clip")
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    checkpoint.tensors.append(RawTensor(name: name, type: .float32, shape: [1], bytes: [0, 0, 0, 0]))
    let error = #expect(throws: SlowFastError.self) { try plan(checkpoint) }
    #expect(error?.description.contains("adapter that is not merged") == true)
  }

  @Test func sameTensorUnderTwoNames() throws {
    var checkpoint = try EditableCheckpoint("clip")
    var copy = checkpoint["model.norm.weight"]
    copy.name = "module.model.norm.weight"
    checkpoint.tensors.append(copy)
    let error = #expect(throws: SlowFastError.self) { try plan(checkpoint) }
    #expect(error?.description == "tensors \"model.norm.weight\" and \"module.model.norm.weight\" are both \"model.norm.weight\"")
  }

  @Test func tiedEmbeddings() throws {
    var checkpoint = try EditableCheckpoint("image")
    // Without a head of its own.
    #expect(try !plan(checkpoint).stored.contains { $0.descriptor.name == "lm_head.weight" })
    // With the embedding again.
    var head = checkpoint["model.embed_tokens.weight"]
    head.name = "lm_head.weight"
    checkpoint.tensors.append(head)
    let plan = try plan(checkpoint)
    #expect(!plan.stored.contains { $0.descriptor.name == "lm_head.weight" })
    #expect(plan.unused.contains { $0.name == "lm_head.weight" })
    #expect(plan.unknown.isEmpty && plan.missing.isEmpty)
    // With another one, of which nobody can say which is meant.
    checkpoint["lm_head.weight"].bytes[7] ^= 1
    let error = #expect(throws: SlowFastError.self) { try self.plan(checkpoint) }
    #expect(error?.description.contains("differs from \"model.embed_tokens.weight\"") == true)
    // Untied, the head is a tensor like others, and may not be missing.
    checkpoint.config = checkpoint.config.replacing("\"tie_word_embeddings\": true", with: "\"tie_word_embeddings\": false")
    #expect(try self.plan(checkpoint).stored.contains { $0.descriptor.name == "lm_head.weight" })
    checkpoint.remove("lm_head.weight")
    #expect(try self.plan(checkpoint).missing == ["lm_head.weight"])
  }
}
