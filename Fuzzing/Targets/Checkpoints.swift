import Foundation
import Models
import Safetensors
import TestSupport
import Tokenizer

extension FuzzTarget {
  /// The header of a safetensors file.
  static let safetensors = FuzzTarget(
    name: "safetensors",
    seeds: {
      [
        #"{"__metadata__":{"a\u00e9\ud83d\ude00":"b\\\n"},"x":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"#
          + #""y":{"dtype":"F32","shape":[],"data_offsets":[12,16],"extra":[true,false,null,-1.5e-3,{"k":[]}]}}"#,
        #"{"a":{"dtype":"F16","shape":[8],"data_offsets":[0,16]}}"#,
        #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"I32","shape":[1],"data_offsets":[4,8]},"#
          + #""c":{"dtype":"F64","shape":[1,1],"data_offsets":[8,16]}}"#,
      ].map { SafetensorsBytes.file(Array($0.utf8)) }
    },
    mutate: { bytes, numbers in
      var header = SafetensorsBytes.header(bytes)
      JSONMutation.apply(&header, words: ["F32", "F16", "BF16", "F64", "U8", "I32", "I64", "F8_E4M3", "__metadata__", "shape"], &numbers)
      bytes = SafetensorsBytes.file(header)
      if Int.random(in: 0..<16, using: &numbers) == 0 { ByteMutation.apply(&bytes, in: 0..<8, &numbers) }
    },
    read: { bytes in
      let file = try SafetensorsFile(path: Scratch.file("model.safetensors", bytes))
      for tensor in file.tensors {
        require(tensor.bytes.upperBound <= bytes.count)
        _ = try? file.floats(of: tensor.name)
        _ = try? file.int32s(of: tensor.name)
        _ = try? file.uint8s(of: tensor.name)
      }
    })

  /// The list of a checkpoint's shards, and the small files beside them.
  static let index = FuzzTarget(
    name: "index",
    seeds: {
      [
        [
          #"{"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#,
          "{}", "{}",
        ]
      ].map { Parts.join($0.map { Array($0.utf8) }) }
    },
    mutate: {
      JSONMutation.applyToPart(
        &$0, words: ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "../x", "config.json", "a", "b"], &$1)
    },
    read: { bytes in
      let folder = try CheckpointFolder.make
      let parts = Parts.split(bytes)
      for (name, part) in zip(["model.safetensors.index.json", "config.json", "generation_config.json"], parts) {
        _ = Scratch.file("\(folder)/\(name)", part)
      }
      let checkpoint = try Checkpoint(directory: "\(Scratch.folder)/\(folder)")
      for tensor in checkpoint.tensors.values { _ = try checkpoint.mapped(tensor) }
    })

  /// What configurations say of a model: its own, its tower's, and how pictures are prepared.
  static let config = FuzzTarget(
    name: "config",
    seeds: {
      try ["vanilla", "smolvlm", "onevision-hf", "llava-next-onevision", "clip", "slowfast-clip", "slowfast-siglip", "strides"].map {
        name in
        let folder = "Tests/Golden/\(name)"
        let preprocessor = (try? Repository.bytes("\(folder)/preprocessor_config.json")) ?? Array("{}".utf8)
        let tower =
          #"{"model_type":"siglip_vision_model","image_size":32,"num_attention_heads":2,"num_hidden_layers":2,"hidden_act":"gelu"}"#
        return Parts.join([try Repository.bytes("\(folder)/config.json"), preprocessor, Array(tower.utf8)])
      }
    },
    mutate: { JSONMutation.applyToPart(&$0, words: ConfigWords.all, &$1) },
    read: { bytes in
      let parts = Parts.split(bytes)
      func part(_ place: Int) -> [UInt8]? { parts.indices.contains(place) ? parts[place] : nil }
      _ = ConfigFiles.towerName(parts[0])
      for files in [
        ConfigFiles(config: parts[0]), ConfigFiles(config: parts[0], tower: part(2), preprocessor: part(1)),
        ConfigFiles(config: parts[0], vision: part(2)),
      ] {
        guard let config = try? ModelConfig(files) else { continue }
        _ = config.defaultFrameCount
        let record = PreprocessingRecord(config: config, checkpointName: "model-frame64")
        require((try? PreprocessingRecord(json: record.json())) == record)
        _ = try? TensorSchema(needed: config, shapes: TensorShapes([:]))
      }
      _ = try ModelConfig(ConfigFiles(config: parts[0], tower: part(2), preprocessor: part(1)))
    })

  /// The files of a checkpoint's tokenizer.
  static let tokenizerFiles = FuzzTarget(
    name: "tokenizer-files",
    seeds: { try TokenizerFolders.all.map(TokenizerFiles.small) + [TokenizerFiles.old] },
    mutate: {
      JSONMutation.applyToPart(
        &$0, words: ["ByteLevel", "Sequence", "NFC", "Split", "BPE", "Qwen2Tokenizer", "GPT2Tokenizer", "<|im_end|>", "content", "id"], &$1)
    },
    read: { bytes in
      let folder = TokenizerFiles.make(bytes)
      let tokenizer = try Tokenizer(checkpoint: folder)
      let again = try Tokenizer(serialized: tokenizer.serialized())
      let text = "A caf\u{E9}'s  \u{1F388} 12345\n\n<|im_end|> I'll"
      require(again.encode(text) == tokenizer.encode(text), "the section makes other tokens than the files")
      _ = tokenizer.decode(tokenizer.encode(text))
    })
}

enum ConfigWords {
  static let all = [
    "llava_qwen_slow_fast", "llava_qwen", "qwen2", "llava_onevision", "smolvlm", "LlavaQwenForCausalLM", "model_type", "hidden_size",
    "num_hidden_layers", "num_attention_heads", "rope_theta", "rope_scaling", "vision_config", "text_config", "mm_vision_tower", "silu",
    "siglip", "clip", "convnext", "gelu", "mlp2x_gelu", "image_size", "patch_size", "head_dim",
  ]
}

enum SafetensorsBytes {
  static func header(_ file: [UInt8]) -> [UInt8] {
    Array(file.dropFirst(8).prefix(Int(clamping: file.integer(UInt64.self, at: 0) ?? 0)))
  }

  /// With 16 bytes of data.
  static func file(_ header: [UInt8]) -> [UInt8] {
    var file = [UInt8](repeating: 0, count: 8)
    file.set(UInt64(header.count), at: 0)
    return file + header + [UInt8](repeating: 0x3F, count: 16)
  }
}

enum CheckpointFolder {
  /// With two shards of a tensor each.
  static var make: String {
    get throws {
      try FileManager.default.createDirectory(atPath: "\(Scratch.folder)/checkpoint", withIntermediateDirectories: true)
      for (number, tensor) in ["a", "b"].enumerated() {
        let header = #"{"\#(tensor)":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#
        _ = Scratch.file("checkpoint/model-0000\(number + 1)-of-00002.safetensors", SafetensorsBytes.file(Array(header.utf8)))
      }
      return "checkpoint"
    }
  }
}

enum TokenizerFiles {
  private static let names = [
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json",
  ]

  /// A folder of the parts that are not empty.
  static func make(_ bytes: [UInt8]) -> String {
    try? FileManager.default.createDirectory(atPath: "\(Scratch.folder)/tokenizer", withIntermediateDirectories: true)
    let parts = Parts.split(bytes)
    for (place, name) in names.enumerated() {
      if parts.indices.contains(place), !parts[place].isEmpty {
        _ = Scratch.file("tokenizer/\(name)", parts[place])
      } else {
        Scratch.remove("tokenizer/\(name)")
      }
    }
    return "\(Scratch.folder)/tokenizer"
  }

  static func small(_ folder: String) throws -> [UInt8] {
    Parts.join(names.map { (try? Repository.bytes("\(folder)/\($0)")) ?? [] })
  }

  /// Without `tokenizer.json`.
  static let old: [UInt8] = {
    // The bytes as GPT-2 writes them.
    var letters: [String] = []
    var next: UInt32 = 256
    for byte in UInt32(0)..<256 {
      let isPlain = (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
      letters.append(Unicode.Scalar(isPlain ? byte : next).map { String($0) } ?? "")
      if !isPlain { next += 1 }
    }
    letters += ["ca", "caf"]
    let vocabulary = letters.enumerated().map { id, text in
      "\"\(text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\""))\":\(id)"
    }
    let texts = [
      "", #"{"tokenizer_class":"Qwen2Tokenizer"}"#, "{" + vocabulary.joined(separator: ",") + "}", "#version: 0.2\nc a\nca f\n",
      #"{"eos_token":"<|im_end|>","additional_special_tokens":["<|im_start|>"]}"#, #"{"<|im_end|>":258,"<|im_start|>":259}"#,
    ]
    return Parts.join(texts.map { Array($0.utf8) })
  }()
}
