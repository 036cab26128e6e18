import Conversion
import Foundation
import ModelFile
import Safetensors
import Support

/// Where the models come from that a comparison did not convert itself: from the baseline's checkpoint, or from another.
struct SubjectOrigins {
  private var origins: [String: ModelOrigin] = [:]
  private var others: Set<String> = []
  /// A sentence for each that is of other weights, or does not say.
  private(set) var notes: [String] = []

  init(_ subjects: [Subject], checkpoint: String) throws(SlowFastError) {
    let paths = subjects.compactMap { if case .file(let path) = $0.making { path } else { nil } }
    guard !paths.isEmpty else { return }
    let baseline = try Self.origin(checkpoint)
    for path in paths {
      let name = path.quoted
      guard let baseline, let origin = try Self.origin(path) else {
        notes.append("\(name) does not say what it was converted from: what sets it apart may be more than bits")
        continue
      }
      origins[path] = origin
      if origin.fingerprints == baseline.fingerprints { continue }
      others.insert(path)
      let what =
        origin.recipe == nil ? "is another checkpoint than" : "was converted from \(origin.source.quoted), whose weights are not those of"
      notes.append(
        "\(name) \(what) the baseline \(baseline.source.quoted): what sets it apart is not bits alone, and it is not among the choices")
    }
  }

  func isAnother(_ subject: Subject) -> Bool {
    if case .file(let path) = subject.making { return others.contains(path) }
    return false
  }

  func description(of subject: Subject) -> String? {
    switch subject.making {
    case .file(let path):
      guard let origin = origins[path] else { return "a model file" }
      let other = others.contains(path) ? ", another model" : ""
      return origin.recipe.map { "a model file from \(origin.source.escaped())\(other): \($0)" } ?? "a checkpoint directory\(other)"
    default: return subject.words
    }
  }

  private static func origin(_ path: String) throws(SlowFastError) -> ModelOrigin? {
    do {
      if FileStatus(path: path)?.kind == .directory { return try ModelOrigin(Checkpoint(directory: path)) }
      let file = try ModelFileReader(path: path)
      return file.hasSection("provenance") ? ModelOrigin(provenance: try file.section("provenance")) : nil
    } catch { throw SlowFastError(error, path: path) }
  }
}
