import Conversion
import Foundation
import Models
import Runtime
import Support

/// How far a comparison is.
public struct ComparisonProgress: Sendable {
  /// `baseline`, a variant's name, a part's name.
  public var model: String
  /// Its place among all models, from 0.
  public var index: Int
  /// Models in all.
  public var count: Int
  /// What is at work.
  public enum Work: Sendable {
    /// Weights are being converted: bytes done and in all.
    case converting(Int, of: Int)
    /// Clips done and in all.
    case measuring(Int, of: Int)
    /// Something to be told that stops nothing.
    case warning(String)
  }
  /// What is at work.
  public var work: Work
}

/// Measures variants of a model against the unquantized one, on the same clips and texts: what each bit costs.
///
/// One model is in memory at a time. What was measured is kept in the report's folder, clip by clip: a run that was cut off, or one
/// with more variants or clips, goes on from there.
public struct Comparison: Sendable {
  /// The baseline.
  public let checkpoint: String
  /// Clips and questions.
  public let data: EvaluationSet
  /// As reports name the data.
  public let dataName: String
  /// As they were given.
  public let options: ComparisonOptions

  /// - Parameters:
  ///   - checkpoint: the baseline: a checkpoint directory; a model file where nothing has to be converted.
  ///   - data: clips with at least one question each.
  ///   - dataName: as reports name the data.
  ///   - options: what to compare, and how.
  public init(checkpoint: String, data: EvaluationSet, dataName: String, options: ComparisonOptions) throws(SlowFastError) {
    try options.validate()
    self.checkpoint = checkpoint
    self.data = data
    self.dataName = dataName
    self.options = options
  }

  /// Measures what is not yet measured and writes `report.json` and `report.html` to `folder`, made if it is not there. `onNote` gets the
  /// report's notes before anything is measured.
  public func run(
    to folder: String, onNote: (String) -> Void = { _ in }, progress: @escaping @Sendable (ComparisonProgress) -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) -> ComparisonReport {
    let baseline = try VideoLanguageModel(path: checkpoint)
    let models = ComparedModel.all(options, baseline: baseline)
    try check(models, baseline)
    let origins = try ComparedOrigins(models, checkpoint: checkpoint)
    for note in origins.notes { onNote(note) }
    let run = ComparisonRun(
      comparison: self, baseline: baseline, origins: origins, folder: try ReportFolder(folder), identity: try ModelIdentity.of(checkpoint),
      count: models.count + 1, progress: progress, isCancelled: isCancelled)
    let report = try run.report(models)
    try run.folder.write(try report.json(), as: "report.json")
    try run.folder.write(Array(HTMLReport(report).text.utf8), as: "report.html")
    return report
  }

  /// Everything that can be told before hours of work.
  private func check(_ models: [ComparedModel], _ baseline: VideoLanguageModel) throws(SlowFastError) {
    for compared in models {
      if let problem = try compared.conversion(of: checkpoint)?.check() { throw .badModel(path: checkpoint, reason: problem) }
      if case .file(let path) = compared.recipe {
        let model = try VideoLanguageModel(path: path)
        func same<T: Equatable>(_ name: String, _ value: KeyPath<ModelConfig, T>) throws(SlowFastError) {
          let (found, expected) = (model.config[keyPath: value], baseline.config[keyPath: value])
          if found != expected { throw .badModel(path: path, reason: "\(name) \(found), the checkpoint's is \(expected): another model") }
        }
        try same("vocabulary", \.vocabularySize)
        try same("hidden size", \.hiddenSize)
        try same("number of layers", \.layerCount)
        for question in data.clips.flatMap(\.questions) {
          for text in [question.question, question.answer] where model.tokenizer.encode(text) != baseline.tokenizer.encode(text) {
            throw .badModel(path: path, reason: "\(text.quoted) has other tokens than the checkpoint's tokenizer gives it: another model")
          }
        }
      }
    }
  }
}
