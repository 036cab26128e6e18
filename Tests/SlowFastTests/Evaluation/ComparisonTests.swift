import Conversion
import Foundation
import Lab
import ModelFile
import Runtime
import Support
import Synchronization
import TestSupport
import Testing

extension String {
  /// As text of a page.
  fileprivate var html: String { replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;") }
}

/// Whole comparisons of a small checkpoint.
@Suite struct ComparisonTests {
  private let directory: TemporaryDirectory
  private let data: EvaluationSet

  init() throws {
    directory = try TemporaryDirectory()
    for index in 0..<3 { try picture(index).writePNG(to: directory.file("\(index).png")) }
    data = try Self.set(in: directory)
  }

  private static func set(in directory: TemporaryDirectory, more: [String] = []) throws -> EvaluationSet {
    var lines: [String] = []
    for index in 0..<3 {
      lines.append(#"{"video": "\#(index).png", "question": "What is it?", "answer": "a red square", "kind": "shape"}"#)
      lines.append(#"{"video": "\#(index).png", "question": "How many?", "answer": "4", "kind": "count"}"#)
    }
    let path = directory.file("eval.jsonl")
    try Data((lines + more).joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
    return try EvaluationSet(jsonLines: path)
  }

  private func comparison(
    _ variants: String, files: [String] = [], parts: Int? = nil, data: EvaluationSet? = nil, threads: Int? = nil
  ) throws -> Comparison {
    var options = ComparisonOptions()
    options.threads = threads
    options.variants = variants.isEmpty ? [] : try ComparisonVariant.list(parsing: variants)
    options.files = files
    options.partBits = parts
    options.featureClips = 2
    return try Comparison(checkpoint: Golden.path("clip"), data: data ?? self.data, dataName: "eval.jsonl", options: options)
  }

  @Test func variantsBesideTheBaseline() throws {
    let report = try comparison("16,8,4,8:input=float").run(to: directory.file("report"))
    #expect(report.clips == 3 && report.questions == 6 && report.failures.isEmpty)
    #expect(report.baseline.divergence == nil && report.baseline.bitsPerWeight == 16)
    let (same, eight, four, weights) = (report.variants[0], report.variants[1], report.variants[2], report.variants[3])
    let mean = try report.variants.map { try #require($0.divergence?.mean) }
    #expect(mean[0] < 1e-6 && mean[0] < mean[1] && mean[1] < mean[2] / 10)
    #expect(same.topAgreement?.share == 1 && same.perplexity.map { abs($0 / report.baseline.perplexity! - 1) < 1e-4 } == true)
    #expect(mean[3] < mean[1] * 1.5 && mean[3] != mean[1])
    // Of the same file.
    #expect(weights.fileBytes == eight.fileBytes && weights.bitsPerWeight == eight.bitsPerWeight)
    #expect(try #require(four.fileBytes) < #require(eight.fileBytes))
    for result in report.variants {
      #expect(result.clips == 3 && result.exactMatch.total == 6)
      #expect(result.kinds.map(\.kind) == ["count", "shape"] && result.kinds.map(\.exactMatch.total) == [3, 3])
      let divergence = try #require(result.divergence)
      #expect(try #require(divergence.median) <= #require(divergence.percentile99))
      #expect(try #require(divergence.percentile99) <= #require(divergence.maximum))
      #expect(result.features.map(\.stage) == ["tower", "projector", "embedding"] + (1...6).map { "layer \($0)" })
      #expect(try #require(result.peakEncodingBytes) > 1 << 20 && #require(result.peakAnsweringBytes) > 1 << 20)
      #expect(result.stages.first { $0.stage == "tower" }.map { $0.seconds > 0 } == true)
    }
    #expect(same.features.allSatisfy { $0.relative < 1e-5 && $0.cosine > 0.9999 })
    for (few, many) in zip(four.features, eight.features) where few.stage.hasPrefix("layer") { #expect(many.relative < few.relative) }
  }

  @Test func partsAlone() throws {
    let report = try comparison("4:tower=4:projector=4:cross=4:embedding=4:head=4", parts: 4).run(to: directory.file("report"))
    let names = ["tower", "projector", "embedding", "attention", "cross", "mlp", "head"]
    #expect(Array(report.parts.map(\.name).prefix(7)) == names && report.parts.count == 11)
    let means = Dictionary(uniqueKeysWithValues: try report.parts.map { ($0.name, try #require($0.divergence?.mean)) })
    let all = try #require(report.variants[0].divergence?.mean)
    for name in names { #expect(try #require(means[name]) > 1e-6 && #require(means[name]) < 2 * all, "\(name)") }
    #expect(abs(report.parts.compactMap(\.shareOfWeights).reduce(0, +) - 1) < 0.02)
    // Nothing after the tower is touched when only the head is quantized.
    #expect(report.parts[6].features.allSatisfy { $0.relative == 0 })
    #expect(report.parts[5].features.prefix(3).allSatisfy { $0.relative == 0 } && report.parts[5].features[8].relative > 0.001)
    // Keys and values in 16 and in 8 bits; weights and inputs.
    let schemes = report.parts.suffix(4).compactMap(\.divergence?.mean)
    #expect(schemes[0] < 1e-5 && schemes[1] > schemes[0])
    #expect(schemes[2] > schemes[3] && schemes[3] > 1e-7)
  }

  @Test func modelFilesOfTheSameModel() throws {
    let file = try convert("clip", bits: 8, to: directory)
    let report = try comparison("8", files: [file]).run(to: directory.file("report"))
    #expect(report.variants.map(\.name) == ["8", file])
    #expect(report.variants[0].divergence == report.variants[1].divergence && report.notes == [])
    #expect(report.variants.allSatisfy { $0.isAnotherModel == nil } && report.variants[1].description?.contains("8 bits, search") == true)
    let other = try convert("strides", bits: 8, to: directory)
    guard let error = failure({ _ = try comparison("8", files: [other]).run(to: directory.file("report")) }),
      error.isA(.invalidModel, other)
    else {
      Issue.record("another model was measured")
      return
    }
    #expect("\(error)".contains("another model"))
  }

  /// Memory and speed are told of the first clip that there is something to tell of.
  @Test(arguments: [1, 2]) func theFirstClipIsBroken(threads: Int) throws {
    try Data("no picture".utf8).write(to: URL(fileURLWithPath: directory.file("broken.png")))
    let path = directory.file("broken.jsonl")
    let lines = ["broken", "0", "1", "2"].map { #"{"video": "\#($0).png", "question": "How many?", "answer": "4"}"# }
    try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
    let report = try comparison("8", data: try EvaluationSet(jsonLines: path), threads: threads).run(to: directory.file("report"))
    #expect(report.failures.map(\.video) == ["broken.png"] && report.clips == 3)
    for result in [report.baseline] + report.variants {
      #expect(try #require(result.tokensPerSecond) > 0 && #require(result.peakEncodingBytes) > 1 << 20)
      #expect(try #require(result.peakAnsweringBytes) > 1 << 20 && result.clips == 3)
    }
  }

  /// The page says it all by itself, and what is drawn is what was measured.
  @Test func thePageNeedsNothingElse() throws {
    let report = try comparison("8,4", parts: 8).run(to: directory.file("report"))
    let page = try String(contentsOfFile: directory.file("report/report.html"), encoding: .utf8)
    #expect(!page.contains("http") && !page.contains("<script") && !page.contains("url(") && !page.contains("nan"))
    #expect(page.components(separatedBy: "<svg").count == 5)
    for kind in ["count", "shape"] { #expect(page.contains("<b>\(kind)</b>")) }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let json = try decoder.decode(ComparisonReport.self, from: Data(contentsOf: URL(fileURLWithPath: directory.file("report/report.json"))))
    #expect(json.variants.map(\.divergence) == report.variants.map(\.divergence) && json.partBits == 8)
    #expect(report.text.contains("baseline") && report.text.contains("cross"))
    // For a phone, for the dark, for paper.
    for words in ["name=\"viewport\"", "prefers-color-scheme: dark", "@media print", "<div class=\"scroll\"><table>"] {
      #expect(page.contains(words))
    }
    // What it was measured on, when, and what to take from it.
    for words in [
      report.machine, report.date, report.kernels, "\(report.threads) threads", report.checkpoint, report.choice?.reason ?? "none",
    ] {
      #expect(page.contains(words.html) && (words != report.choice?.reason || report.text.contains(words)), "\(words)")
    }
    #expect(report.date.wholeMatch(of: /20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ/) != nil && report.machine.contains("processor"))
    #expect(page.contains("8 bits; scales of the least squared error") && page.contains("4 bits, tower and projector 8"))
    for result in [report.baseline] + report.variants {
      #expect(try #require(result.tokensPerSecond) > 0 && #require(result.residentBytes) > 0 && #require(result.fileBytes) > 0)
      #expect(result.closed == result.exactMatch && result.descriptions == nil)
    }
  }

  /// Clips that were measured, over a run.
  private func measured(_ comparison: Comparison, cancelAfter limit: Int = .max) throws -> (report: ComparisonReport?, clips: Int) {
    let count = Atomic(0)
    do {
      let report = try comparison.run(
        to: directory.file("report"),
        progress: { if case .measuring = $0.work { count.add(1, ordering: .relaxed) } },
        isCancelled: { count.load(ordering: .relaxed) > limit })
      return (report, count.load(ordering: .relaxed))
    } catch {
      guard error.isA(.cancelled) else { throw error }
      return (nil, count.load(ordering: .relaxed))
    }
  }

  /// Several threads measure clips side by side.
  @Test(arguments: [1, 2, 3]) func aRunThatWasCutOffGoesOn(threads: Int) throws {
    let comparison = try comparison("8,4", threads: threads)
    let cut = try measured(comparison, cancelAfter: 4)
    #expect(cut.report == nil && (5..<5 + threads).contains(cut.clips))
    // Nothing but measurements remains.
    let folder = try FileManager.default.contentsOfDirectory(atPath: directory.file("report"))
    #expect(folder == ["measurements"])
    let rest = try measured(comparison)
    // Those that were begun when it was cut off were not all measured.
    #expect((9 - cut.clips + 1...9 - cut.clips + threads).contains(rest.clips))
    let report = try #require(rest.report)
    let whole = try self.comparison("8,4", threads: 1).run(to: directory.file("other"))
    #expect(report.variants.map(\.divergence) == whole.variants.map(\.divergence))
    #expect(report.variants.map(\.features) == whole.variants.map(\.features))
    // Again: nothing is left to do. With one more variant: only that.
    #expect(try measured(comparison).clips == 0)
    #expect(try measured(self.comparison("8,4,4a", threads: threads)).clips == 3)
    // No model file stays behind.
    let left = try FileManager.default.contentsOfDirectory(atPath: directory.file("report/measurements"))
    #expect(!left.contains { $0.hasSuffix(".sfq") || $0.hasSuffix(".partial") })
  }

  /// A record that was cut off or damaged is measured again.
  @Test func aDamagedRecord() throws {
    let comparison = try comparison("8")
    let whole = try #require(try measured(comparison).report)
    let folder = directory.file("report/measurements")
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasSuffix(".jsonl") {
      let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)"))
      try data.dropLast(40).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
    }
    let again = try measured(comparison)
    #expect(again.clips == 2 && again.report?.variants[0].divergence == whole.variants[0].divergence)
  }

  /// One that is no strict JSON, though its checksum is right, is measured again too.
  @Test func aRecordWithEqualKeys() throws {
    let comparison = try comparison("8")
    let whole = try #require(try measured(comparison).report)
    let folder = directory.file("report/measurements")
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasSuffix(".jsonl") {
      let path = "\(folder)/\(name)"
      var lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
      var fields = lines[1].split(separator: "\t").map(String.init)
      fields[2] = fields[2].replacing(#/^{/#, with: #"{"clip":1,"#)
      fields[1] = checksum(Array(fields[2].utf8)).hexadecimal()
      lines[1] = fields.joined(separator: "\t")
      try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    }
    let again = try measured(comparison)
    #expect(again.clips == 2 && again.report?.variants[0].divergence == whole.variants[0].divergence)
  }

  /// Other clips, other frames: nothing of before counts.
  @Test func otherDataIsMeasuredAnew() throws {
    #expect(try measured(comparison("8")).clips == 6)
    #expect(try measured(comparison("8", data: data.prefix(2))).clips == 0)
    try picture(9).writePNG(to: directory.file("0.png"))
    #expect(try measured(comparison("8", data: try Self.set(in: directory))).clips == 6)
  }

  @Test func aClipThatCannotBeReadIsLeftOut() throws {
    try Data("no video".utf8).write(to: URL(fileURLWithPath: directory.file("bad.mp4")))
    let bad = #"{"video": "bad.mp4", "question": "What?", "answer": "none"}"#
    let report = try comparison("8", data: try Self.set(in: directory, more: [bad])).run(to: directory.file("report"))
    #expect(report.clips == 3 && report.variants[0].clips == 3 && report.failures.count == 1)
    #expect(
      report.failures[0].video == "bad.mp4" && report.failures[0].model == "baseline" && report.failures[0].reason.contains("bad.mp4"))
    let page = try String(contentsOfFile: directory.file("report/report.html"), encoding: .utf8)
    #expect(page.contains("Left out") && page.contains("bad.mp4"))

    // No clip at all: an error that names the first reason.
    let path = directory.file("worse.jsonl")
    try Data(bad.utf8).write(to: URL(fileURLWithPath: path))
    let worse = try comparison("8", data: EvaluationSet(jsonLines: path))
    guard let error = failure({ _ = try worse.run(to: directory.file("worse")) }), error.isA(.invalidFile) else {
      Issue.record("expected a failure")
      return
    }
    #expect("\(error)".contains("bad.mp4"))
  }

  @Test func foldersThatCannotBe() throws {
    try Data().write(to: URL(fileURLWithPath: directory.file("file")))
    for path in [directory.file("file"), directory.file("file/report"), "/proc/report"] {
      guard failure({ _ = try comparison("8").run(to: path) })?.isA(.invalidFile, path) == true else {
        Issue.record("\(path) was taken")
        continue
      }
    }
  }

  @Test func variantsThatFitNoTensor() throws {
    let error = failure({
      _ = try comparison("4:model.layer.*=8").run(to: directory.file("report"))
    })
    guard error?.isA(.invalidModel, "model.layer.*") == true else {
      Issue.record("the rule was taken")
      return
    }
    #expect(!FileManager.default.fileExists(atPath: directory.file("report")))
  }
}
