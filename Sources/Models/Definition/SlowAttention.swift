/// Which tokens read the slow tokens while an answer is made.
public enum SlowAttention: String, Sendable, CaseIterable, Codable {
  /// The prompt's only: what the published inference code does.
  case prompt
  /// The answer's too: as in training.
  case all
}
