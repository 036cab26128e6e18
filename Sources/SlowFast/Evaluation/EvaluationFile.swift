import Foundation
import ModelFile
import Safetensors
import Support

/// Reading an `eval.jsonl`.
enum EvaluationFile {
  /// A line of the file.
  struct Entry: Decodable {
    /// nil where the line says null: one that forgets the video is no question without one.
    var video: String?
    var question: String
    var answer: String
    var kind: String?

    private enum Key: CodingKey { case video, question, answer, kind }

    init(from decoder: any Decoder) throws {
      let fields = try decoder.container(keyedBy: Key.self)
      video = try fields.decodeNil(forKey: .video) ? nil : try fields.decode(String.self, forKey: .video)
      question = try fields.decode(String.self, forKey: .question)
      answer = try fields.decode(String.self, forKey: .answer)
      kind = try fields.decodeIfPresent(String.self, forKey: .kind)
    }
  }

  /// More than any evaluation set has; such a file is something else.
  private static let largestFile = 256 << 20

  static func bytes(of path: String) throws(SlowFastError) -> [UInt8] {
    do throws(CheckpointError) {
      let file = try SourceFile(path: path)
      guard file.byteCount <= largestFile else { throw CheckpointError.fileTooLarge(file: path, bytes: file.byteCount, limit: largestFile) }
      return try file.bytes(0..<file.byteCount)
    } catch { throw .checkpoint(error) }
  }

  /// Lines that are not blank, with their numbers from 1.
  static func lines(_ bytes: [UInt8]) -> [(number: Int, line: ArraySlice<UInt8>)] {
    let blanks: Set<UInt8> = [0x20, 0x09, 0x0D]
    return bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
      .filter { !$0.element.allSatisfy(blanks.contains) }.map { ($0.offset + 1, $0.element) }
  }

  static func entry(_ line: ArraySlice<UInt8>, path: String, number: Int) throws(SlowFastError) -> Entry {
    let entry: Entry
    do { entry = try JSONDecoder().decode(Entry.self, from: Data(line)) } catch {
      throw .badEvaluation(path: path, line: number, problem: problem(error))
    }
    for (name, text) in [
      ("video", entry.video ?? "-"), ("question", entry.question), ("answer", entry.answer), ("kind", entry.kind ?? "-"),
    ] {
      guard !text.isEmpty else { throw .badEvaluation(path: path, line: number, problem: "\(name.quoted) is empty") }
    }
    return entry
  }

  private static func problem(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, _):
      "no \(key.stringValue.quoted), expected video (null where there is none), question and answer"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      context.codingPath.last.map { "\($0.stringValue.quoted) is no text" }
        ?? "no JSON object, expected one with video, question and answer"
    default: "no JSON, expected an object with video, question and answer"
    }
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
