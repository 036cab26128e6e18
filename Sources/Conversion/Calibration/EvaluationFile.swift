import ModelFile
import Safetensors
import Support

/// Reading an `eval.jsonl`.
enum EvaluationFile {
  /// A line of the file.
  struct Entry {
    /// nil where the line says null: one that forgets the video is no question without one.
    var video: String?
    var question: String
    var answer: String
    var kind: String?
  }

  /// More than any evaluation set has; such a file is something else.
  private static let largestFile = 256 << 20

  static func bytes(of path: String) throws(SlowFastError) -> [UInt8] {
    do throws(CheckpointError) {
      let file = try SourceFile(path: path)
      guard file.byteCount <= largestFile else { throw CheckpointError.fileTooLarge(file: path, bytes: file.byteCount, limit: largestFile) }
      return try file.bytes(0..<file.byteCount)
    } catch { throw SlowFastError(error) }
  }

  /// Lines that are not blank, with their numbers from 1.
  static func lines(_ bytes: [UInt8]) -> [(number: Int, line: ArraySlice<UInt8>)] {
    let blanks: Set<UInt8> = [0x20, 0x09, 0x0D]
    return bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
      .filter { !$0.element.allSatisfy(blanks.contains) }.map { ($0.offset + 1, $0.element) }
  }

  static func entry(_ line: ArraySlice<UInt8>, path: String, number: Int) throws(SlowFastError) -> Entry {
    func bad(_ problem: String) -> SlowFastError { .badEvaluation(path: path, line: number, problem: problem) }
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(Array(line)) } catch {
      if case .duplicateKey(let key) = error { throw bad("\(key.quoted) appears twice") }
      throw bad("no JSON, expected an object with video, question and answer")
    }
    guard let fields = value.object else { throw bad("no JSON object, expected one with video, question and answer") }
    func text(_ name: String) throws(SlowFastError) -> String {
      guard let field = fields[name] else {
        throw bad("no \(name.quoted), expected video (null where there is none), question and answer")
      }
      guard let text = field.string else { throw bad("\(name.quoted) is no text") }
      guard !text.isEmpty else { throw bad("\(name.quoted) is empty") }
      return text
    }
    return Entry(
      video: fields["video"] == .null ? nil : try text("video"), question: try text("question"), answer: try text("answer"),
      kind: (fields["kind"] ?? .null) == .null ? nil : try text("kind"))
  }

  static func resolve(_ video: String, beside path: String) -> String {
    guard !video.hasPrefix("/"), let slash = path.lastIndex(of: "/") else { return video }
    return path[...slash] + video
  }

  static func checkExists(_ video: String, path: String, line: Int) throws(SlowFastError) {
    guard FileStatus(path: video) != nil else {
      throw .badEvaluation(path: path, line: line, problem: "the video \(video.quoted) does not exist")
    }
  }

  /// Of the texts, and of each clip's name, length and time of change.
  static func fingerprint(_ texts: [[UInt8]], _ clips: [EvaluationSet.Clip]) -> String {
    var parts = texts.map { String(checksum($0), radix: 16) }
    for clip in clips {
      guard let video = clip.video, let path = clip.path else { continue }
      let status = FileStatus(path: path)
      parts.append("\(video) \(status?.byteCount ?? 0) \(status?.modified ?? 0)")
    }
    return String(checksum(Array(parts.joined(separator: "\n").utf8)), radix: 16)
  }
}
