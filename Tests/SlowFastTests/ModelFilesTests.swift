import Foundation
import ModelFile
import Runtime
import SlowFast
import TestSupport
import Testing

/// What can be done with model files without running them.
@Suite struct ModelFilesTests {
  @Test func packedAndUnpackedComputeTheSame() throws {
    let directory = try TemporaryDirectory()
    let made = try convert("vanilla", bits: 4, to: directory)
    let (raw, packed, again) = (directory.file("raw.sfq"), directory.file("packed.sfq"), directory.file("again.sfq"))
    try ModelFiles.rewrite(made, to: raw, compressed: false)
    try ModelFiles.rewrite(made, to: packed, compressed: true)
    try ModelFiles.rewrite(raw, to: again, compressed: true)
    let logits = try [made, raw, packed].map { path in
      try trace(try VideoLanguageModel(path: path), name: "vanilla").floats["logits"]?.values
    }
    #expect(logits[0] != nil && logits[0] == logits[1] && logits[0] == logits[2])
    // Packed again it is the file that it was.
    #expect(try Data(contentsOf: URL(fileURLWithPath: packed)) == Data(contentsOf: URL(fileURLWithPath: again)))
    let sizes = try [packed, made, raw].map { try ModelFileReader(path: $0).byteCount }
    #expect(sizes[0] < sizes[1] && sizes[1] < sizes[2])
    // Single rows are read of the embedding table: it stays as it is.
    let tensors = try ModelFileReader(path: packed).tensors
    #expect(tensors.filter(\.isRaw).map(\.name).contains("model.embed_tokens.weight") && !tensors.allSatisfy(\.isRaw))
  }

  @Test func rewritingKeepsWhatIsThere() throws {
    let directory = try TemporaryDirectory()
    let packed = try convert("vanilla", bits: 8, to: directory)
    let output = directory.file("there.sfq")
    try Data("mine".utf8).write(to: URL(fileURLWithPath: output))
    guard let error = failure({ try ModelFiles.rewrite(packed, to: output, compressed: false) }), error.isA(.outputExists) else {
      Issue.record("expected exists")
      return
    }
    #expect("\(error)".contains(output))
    #expect(try Data(contentsOf: URL(fileURLWithPath: output)) == Data("mine".utf8))
    try ModelFiles.rewrite(packed, to: output, compressed: false, force: true)
    #expect(try ModelFiles.verify(output).isEmpty)
  }

  /// One bit in a tensor: the finding names the tensor and a range of bytes around it, and loading the model refuses.
  @Test(arguments: ["model.layers.1.mlp.down_proj.weight", "model.mm_projector.0.weight"])
  func verifyNamesTheDamagedTensor(name: String) throws {
    let directory = try TemporaryDirectory()
    let path = try convert("vanilla", bits: 8, to: directory)
    #expect(try ModelFiles.verify(path).isEmpty)
    let tensor = try #require(try ModelFileReader(path: path).tensors.first { $0.name == name })
    let chunk = try #require(tensor.planes.first?.chunks.first)
    let place = (chunk.range.lowerBound + chunk.range.upperBound) / 2
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[place] ^= 0x10
    try bytes.write(to: URL(fileURLWithPath: path))

    let findings = try ModelFiles.verify(path)
    #expect(findings.count == 1)
    let finding = try #require(findings.first)
    #expect(finding.part.contains(name))
    #expect(finding.start..<finding.end == chunk.range)
    #expect(finding.description.contains("\(chunk.range.lowerBound)") && finding.description.contains(name))

    let error = failure { _ = try trace(try VideoLanguageModel(path: path), name: "vanilla") }
    guard let error, error.isA(.invalidModel) else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect("\(error)".contains(name))
  }

  @Test(arguments: [4, 16])
  func summaryAddsUp(bits: Int) throws {
    let directory = try TemporaryDirectory()
    let summary = try ModelSummary(path: convert("clip", bits: bits, to: directory))
    #expect(summary.tensors.count == summary.total.tensors)
    #expect(summary.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) } == summary.parameters)
    #expect(summary.tensors.reduce(0) { $0 + $1.bytes } == summary.total.bytes)
    #expect(summary.tensors.reduce(0) { $0 + $1.storedBytes } == summary.total.storedBytes)
    #expect(summary.parts.reduce(0) { $0 + $1.parameters } == summary.total.parameters)
    #expect(summary.parts.reduce(0) { $0 + $1.bytes } == summary.total.bytes)
    for part in summary.parts {
      #expect(part.bytes == summary.tensors.filter { $0.part == part.name }.reduce(0) { $0 + $1.bytes }, "\(part.name)")
    }
    #expect(summary.parts.allSatisfy { $0.name != "other" })
    #expect(summary.total.storedBytes < summary.fileBytes)
    #expect(summary.total.bitsPerWeight < Double(bits == 4 ? 10 : 17) && summary.total.bitsPerWeight > Double(bits))
    #expect(summary.decoderLayers == 6 && summary.hybridLayers == [0, 2, 4] && summary.hiddenSize == 128)
    #expect(summary.vocabularySize == 512 && summary.imageSize == 192)
    #expect(summary.sections["tokenizer"] != nil && summary.provenance != nil)
  }
}
