import Conversion
import Foundation
import ModelFile
import Models
import Safetensors
import Support
import TestSupport
import Testing

@Suite struct PlanTests {
  private func plan(_ name: String = "clip", _ options: ConversionOptions = ConversionOptions()) throws -> ConversionPlan {
    try Converter(checkpoint: Checkpoint(directory: goldenDirectory + "/" + name), options: options).plan()
  }

  private func encodings(_ plan: ConversionPlan) -> [String: TensorEncoding] {
    Dictionary(uniqueKeysWithValues: plan.stored.map { ($0.descriptor.name, $0.descriptor.encoding) })
  }

  @Test func whatAllOfAClipGoesThroughKeeps8Bits() throws {
    for stored in try plan().stored {
      switch stored.requirement.role {
      case .towerLinear, .towerDownsample, .projector: #expect("\(stored.descriptor.encoding)".hasPrefix("int8/"))
      case let role: #expect(!role.isMatrix || "\(stored.descriptor.encoding)".hasPrefix("int4/"))
      }
    }
  }

  /// 3 bits everywhere but in what keeps 8, or in one part alone.
  @Test func threeBits() throws {
    let part = ConversionOptions(keep: [KeepRule(pattern: "mlp", bits: 3)])
    for (options, others) in [(ConversionOptions(bits: 3), "int3/"), (part, "int4/")] {
      for stored in try plan("clip", options).stored {
        let encoding = "\(stored.descriptor.encoding)"
        switch stored.requirement.role {
        case .towerLinear, .towerDownsample, .projector: #expect(encoding.hasPrefix("int8/"))
        case .mlp: #expect(encoding.hasPrefix("int3/"))
        case let role: #expect(!role.isMatrix || encoding.hasPrefix(others))
        }
      }
    }
  }

  /// Uneven levels where there are 4 bits, and nowhere else.
  @Test func unevenLevels() throws {
    for stored in try plan("clip", ConversionOptions(isUneven: true)).stored {
      let encoding = "\(stored.descriptor.encoding)"
      switch stored.requirement.role {
      case .towerLinear, .towerDownsample, .projector: #expect(encoding.hasPrefix("int8/") && !encoding.hasSuffix("uneven"))
      case let role: #expect(!role.isMatrix || encoding.hasPrefix("int4/") && encoding.hasSuffix(" uneven"))
      }
    }
  }

  /// Refused where they would be nothing; a target may give any matrix 4 bits.
  @Test func unevenLevelsNeedAUse() throws {
    let golden = goldenDirectory + "/clip"
    let all8 = [KeepRule(pattern: "*", bits: 8)]
    for options in [ConversionOptions(bits: 8, isUneven: true), ConversionOptions(isUneven: true, keep: all8)] {
      for isReport in [true, false] {
        let error = #expect(throws: SlowFastError.self) {
          let conversion = try CheckpointConversion(golden, options: options)
          if isReport { _ = try conversion.report() } else { _ = try conversion.check() }
        }
        #expect(error?.description.contains("uneven levels are for 4 bits, which no matrix has") == true)
      }
    }
    let some = ConversionOptions(bits: 8, isUneven: true, keep: [KeepRule(pattern: "mlp", bits: 4)])
    #expect(try CheckpointConversion(golden, options: some).check() == nil)
    #expect(try CheckpointConversion(golden, options: ConversionOptions(bits: 8, isUneven: true), target: .bits(6)).check() == nil)
    let error = #expect(throws: SlowFastError.self) { try plan("clip", ConversionOptions(isAsymmetric: true, isUneven: true)) }
    #expect(error?.description.contains("uneven levels have no minimum") == true)
  }

  @Test func fourBitsHaveShorterGroupsWhereItMatters() throws {
    let rules = [KeepRule(pattern: "tower", bits: 4), KeepRule(pattern: "projector", bits: 4)]
    for stored in try plan("clip", ConversionOptions(keep: rules)).stored {
      switch (stored.requirement.role, stored.descriptor.encoding) {
      case (.embedding, let encoding), (.head, let encoding), (.projector, let encoding):
        #expect(encoding == .quantized(bits: 4, group: 32, symmetric: true))
      case (let role, .quantized(let scheme)) where role.isMatrix && scheme.bits == 4 && scheme.isSymmetric:
        #expect(scheme.group <= (role == .mlp || role == .crossAttention ? 128 : 64))
      case (let role, let encoding): #expect(!role.isMatrix && encoding == .float32)
      }
    }
  }

  @Test func otherBits() throws {
    for stored in try plan("clip", ConversionOptions(bits: 8)).stored where stored.requirement.role.isMatrix {
      #expect("\(stored.descriptor.encoding)".hasPrefix("int8/"))
    }
    for (name, encoding) in [("clip", TensorEncoding.bfloat16), ("strides", .float16)] {
      for stored in try plan(name, ConversionOptions(bits: 16)).stored {
        #expect(stored.descriptor.encoding == (stored.requirement.role.isMatrix ? encoding : .float32))
      }
    }
    #expect(try plan("clip", ConversionOptions(bits: 32)).stored.allSatisfy { $0.descriptor.encoding == .float32 })
  }

  /// The longest group that pads little, or least.
  @Test func groupsFitTheColumns() throws {
    for (columns, longest, group) in [(4304, 128, 128), (4304, 64, 64), (272, 128, 32), (960, 128, 64), (1000, 128, 128), (8, 128, 32)] {
      #expect(StorageDefaults.group(columns: columns, longest: longest) == group, "\(columns)")
    }
    let expected = [
      "model.layers.0.mlp.down_proj.weight": 64,  // 320 columns
      "model.layers.0.mlp.up_proj.weight": 128,  // 128
      "model.vision_tower.vision_tower.stages.0.blocks.0.mlp.fc1.weight": 32,  // 32
      "model.vision_tower.vision_tower.stages.2.blocks.0.mlp.fc1.weight": 32,  // 96
      "model.vision_tower.vision_tower.stages.1.blocks.0.mlp.fc1.weight": 64,  // 64
      "model.vision_tower.vision_tower.stages.3.downsample.1.weight": 128,  // 2 × 2 × 96
    ]
    let plan = try plan()
    for (name, group) in expected {
      guard case .quantized(let scheme)? = encodings(plan)[name], scheme.isSymmetric else { return #expect(Bool(false), "\(name)") }
      #expect(scheme.group == group, "\(name)")
    }
    for stored in try self.plan("clip", ConversionOptions(group: 64)).stored {
      if case .quantized(let scheme) = stored.descriptor.encoding { #expect(scheme.group == 64) }
    }
  }

  @Test func keepRules() throws {
    let rules = try ["*.layers.0.*.down_proj.weight=16", "tower=4", "model.layers.?.mlp.*=8", "head=32"].map { try KeepRule($0) }
    let plan = try plan("clip", ConversionOptions(keep: rules))
    let encodings = encodings(plan)
    // The first rule that fits counts.
    #expect(encodings["model.layers.0.mlp.down_proj.weight"] == .bfloat16)
    #expect(encodings["model.layers.1.mlp.down_proj.weight"] == .quantized(bits: 8, group: 64, symmetric: true))
    #expect(encodings["model.layers.1.self_attn.q_proj.weight"] == .quantized(bits: 4, group: 64, symmetric: true))
    #expect(encodings["lm_head.weight"] == .float32)
    for stored in plan.stored where stored.requirement.role == .towerLinear {
      #expect("\(stored.descriptor.encoding)".hasPrefix("int4/"))
    }
    // Rules never reach what is no matrix.
    #expect(try self.encodings(self.plan("clip", ConversionOptions(keep: [KeepRule("*=4")])))["model.norm.weight"] == .float32)
  }

  @Test func optionsThatMakeNoSense() throws {
    for text in ["", "x", "x=", "=8", "x=5", "x=8bits", "x=-4", "8"] {
      #expect(throws: ConversionError.self, "\(text)") { try KeepRule(text) }
    }
    #expect(try KeepRule("a.b=c=8") == KeepRule(pattern: "a.b=c", bits: 8))
    let checkpoint = try Checkpoint(directory: goldenDirectory + "/clip")
    let bad = [
      ConversionOptions(bits: 5), ConversionOptions(group: 48), ConversionOptions(group: 0),
      ConversionOptions(keep: [KeepRule(pattern: "tower", bits: 2)]),
    ]
    for options in bad { #expect(throws: SlowFastError.self) { try Converter(checkpoint: checkpoint, options: options) } }
    let error = #expect(throws: SlowFastError.self) { try plan("clip", ConversionOptions(keep: [KeepRule("*.up_prj.*=8")])) }
    #expect(error?.description.contains("\"*.up_prj.*\" is the name of no matrix and of no part; parts are ") == true)
    #expect(error?.description.contains("tower") == true)
  }

  @Test func partsSumUp() throws {
    let plan = try plan()
    let parts = plan.parts
    let total = try #require(parts.last)
    #expect(total.name == "all")
    #expect(parts.dropLast().reduce(0) { $0 + $1.byteCount } == total.byteCount)
    #expect(parts.dropLast().reduce(0) { $0 + $1.weightCount } == total.weightCount)
    #expect(Set(parts.map(\.name)) == ["tower", "vectors", "projector", "embedding", "attention", "cross", "mlp", "head", "all"])
    // 4 bits and a scale of 16 bits for each 32.
    let embedding = try #require(parts.first { $0.name == "embedding" })
    #expect(embedding.bitsPerWeight == 4.5)
    #expect(plan.fileByteCount > total.byteCount)
  }

  @Test func reportAsTextAndJSON() throws {
    var checkpoint = try EditableCheckpoint("clip")
    checkpoint["model.norm.weight"].name = "model.nrm.weight\n"
    checkpoint["model.layers.1.mlp.up_proj.weight"].shape = [128, 320]
    checkpoint.tensors.append(checkpoint["lm_head.weight"])
    checkpoint.tensors[checkpoint.tensors.count - 1].name = "module.model.layers.2.mlp.up_proj.weight"
    checkpoint.remove("model.layers.2.mlp.up_proj.weight")
    let directory = try TemporaryDirectory()
    let converter = try Converter(checkpoint: checkpoint.write(in: directory))
    let report = try converter.plan().report(converter.options)
    #expect(report.problem != nil)
    #expect(report.missing == ["model.norm.weight"])
    #expect(report.misshapen.map(\.name).sorted() == ["model.layers.1.mlp.up_proj.weight", "module.model.layers.2.mlp.up_proj.weight"])
    for line in [
      "missing  model.norm.weight", "unknown  model.nrm.weight\\n; nearest known name: model.norm.weight",
      "shape    model.layers.1.mlp.up_proj.weight: [128, 320], expected [320, 128]",
      "unused   model.vision_tower.vision_tower.head.fc.bias: the tower's classifier", "bits per weight", "before compression",
    ] { #expect(report.text.contains(line), "\(line)") }
    let json = try JSONEncoder().encode(report)
    #expect(try JSONDecoder().decode(ConversionReport.self, from: json).stored.count == report.stored.count)
  }

  /// What a model file says of its origin is read strictly, or not at all.
  @Test func originOfAModelFile() {
    func origin(_ text: String) -> ModelOrigin? { ModelOrigin(provenance: Array(text.utf8)) }
    let shards = #""shards": [{"fingerprint": "b", "bytes": 1}, {"fingerprint": "a"}]"#
    let good = #"{"source": "model", "# + shards + #", "recipe": {"method": "rtn", "bits": 4}, "more": {}}"#
    #expect(origin(good)?.source == "model" && origin(good)?.fingerprints == ["a", "b"] && origin(good)?.recipe == "4 bits, rtn")
    let nested = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
    for (old, new) in [
      ("\"bits\": 4", "\"bits\": 4, \"bits\": 8"), ("\"source\": \"model\"", "\"source\": \"model\", \"source\": \"model\""),
      ("\"bits\": 4", "\"bits\": NaN"), ("\"more\": {}", "\"more\": \(nested)"), ("\"bits\": 4", "\"bits\": \"4\""),
      ("\"source\": \"model\"", "\"source\": null"), ("{}}", "{}}}"),
    ] { #expect(good.contains(old) && origin(good.replacing(old, with: new)) == nil, "\(new.prefix(40))") }
  }

  @Test func framesOfAClip() throws {
    let config = try ModelConfig(json: Checkpoint(directory: goldenDirectory + "/clip").config)
    func frames(_ name: String) -> Int { PreprocessingRecord(config: config, checkpointName: name).frames }
    #expect(frames("slowfast-video-mllm-qwen2-7b-convnext-576-frame64-s1t4") == 64)
    #expect(frames("x-frame96") == 96)
    #expect(frames("frame0") == 4)
    #expect(frames("model") == 4)  // 1 fast frame of 4 frames
    let written = PreprocessingRecord(config: config, checkpointName: "model")
    #expect(try PreprocessingRecord(json: written.json()) == written)
    for bad in ["", "{}", "[1]", "{\"frames\":0}"] {
      #expect(throws: ArchitectureError.self) { try PreprocessingRecord(json: Array(bad.utf8)) }
    }
    var wrong = written
    wrong.pixels.std = [0, 1, 1]
    #expect(throws: ArchitectureError.self) { try PreprocessingRecord(json: wrong.json()) }
    wrong = written
    wrong.frames = -1
    #expect(throws: ArchitectureError.self) { try PreprocessingRecord(json: wrong.json()) }
  }
}
