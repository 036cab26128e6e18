import Foundation
import Runtime

/// What was measured of one clip with one model. Kept on the disk, so that a run that was cut off goes on after it.
struct ClipRecord: Codable {
  /// Its place in the evaluation set.
  var clip: Int
  /// Why it could not be measured; then there is nothing else.
  var failure: String?
  var questions: [QuestionRecord] = []
  /// Of the baseline, for the first clips.
  var features: FeatureSample?
  /// Of other models, where the baseline's features are there.
  var featureErrors: [FeatureError]?
  var times = StageTimes()
  /// The most memory in use while the clip was encoded, and while its questions were answered.
  var peakEncodingBytes: Int?
  var peakAnsweringBytes: Int?
  /// Of the first clips.
  var tokensPerSecond: Double?
}

struct QuestionRecord: Codable {
  var isRight: Bool
  /// ln p of each of the answer's tokens, the end of the turn included.
  var logProbabilities: PackedFloats
  /// Of the baseline.
  var distributions: [SparseDistribution]?
  /// Of other models: the divergence from the baseline at each token, in nats.
  var divergences: PackedFloats?
  /// Tokens at which the likeliest one is the baseline's.
  var agreements: Int?
}

extension ClipRecord {
  /// Whether sums over records like this one can be taken: the file may have been edited.
  var isPlausible: Bool {
    questions.allSatisfy { question in
      (0...question.logProbabilities.values.count).contains(question.agreements ?? 0)
        && (question.distributions ?? []).allSatisfy { $0.tokens.allSatisfy { $0 >= 0 } }
    }
  }
}

/// The most memory of a stretch of work.
enum PeakMemory {
  /// Forgets the peak so far, where the system can do that; else later peaks are at least the former ones.
  static func reset() {
    guard let file = FileHandle(forWritingAtPath: "/proc/self/clear_refs") else { return }
    try? file.write(contentsOf: Data("5".utf8))
    try? file.close()
  }
}
