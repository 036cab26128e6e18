import ModelFile
import Runtime
import Safetensors
import Support
import Video

/// Clips and, where there are any, questions about them with their right answers: what `compare` measures with and `convert --calibrate`
/// reads.
public struct EvaluationSet: Sendable, Equatable {
  /// A question with its right answer.
  public struct Question: Sendable, Equatable {
    /// As it is asked.
    public var question: String
    /// The right one.
    public var answer: String
    /// What sort of question it is, for tables; `EvaluationSet.plainKind` where the file says nothing.
    public var kind: String
    /// Where it stands in its file, from 1.
    public var line: Int

    /// A question of a file's line.
    public init(question: String, answer: String, kind: String = EvaluationSet.plainKind, line: Int = 0) {
      self.question = question
      self.answer = answer
      self.kind = kind
      self.line = line
    }
  }

  /// A clip and the questions about it.
  public struct Clip: Sendable, Equatable {
    /// As the file names it; nil: a question that is about no clip.
    public var video: String?
    /// Where it lies: `video` beside the file that names it, unless that is an absolute path; nil where there is no video.
    public var path: String?
    /// In the order of the file; none for a bare video.
    public var questions: [Question]

    /// What to call it in messages.
    public var label: String { video ?? "the question of line \(questions.first?.line ?? 0)" }

    /// The clip's file, opened; nil where there is none.
    package func source() throws(SlowFastError) -> ClipSource? {
      guard let path else { return nil }
      return try ClipSource(path: path)
    }
  }

  /// In the order in which they are first named.
  public var clips: [Clip]
  /// XXH3-64 of everything that was read, in hexadecimal: tells two sets apart. Of the clips only names, lengths and times count.
  public private(set) var fingerprint: String

  /// The kind of a question whose line names none.
  public static let plainKind = "question"

  /// Those that are videos.
  public var videoCount: Int { clips.count { $0.path != nil } }
  /// Over all clips.
  public var questionCount: Int { clips.reduce(0) { $0 + $1.questions.count } }
  /// Sorted.
  public var kinds: [String] { Set(clips.flatMap { $0.questions.map(\.kind) }).sorted() }

  /// Kinds whose right answers have more than ten words in the mean: descriptions, which could be right in other words too.
  public var descriptionKinds: Set<String> {
    let answers = Dictionary(grouping: clips.flatMap(\.questions), by: \.kind)
    return Set(answers.filter { $0.value.reduce(0) { $0 + $1.answer.split(separator: " ").count } > 10 * $0.value.count }.keys)
  }

  /// The first `count` clips.
  public func prefix(_ count: Int) -> EvaluationSet {
    var result = self
    result.clips = Array(clips.prefix(count))
    return result
  }
}

extension EvaluationSet {
  /// Reads an `eval.jsonl`: a JSON object a line with the texts `video` (a path relative to the file, or null for a question that is about
  /// no clip), `question`, `answer` and, if wanted, `kind`; other fields are ignored, and so are blank lines. Throws `badFile` for a
  /// line that is anything else, for a video that is not there, and for a file without a question.
  public init(jsonLines path: String) throws(SlowFastError) {
    let bytes = try EvaluationFile.bytes(of: path)
    var clips: [Clip] = []
    var places: [String: Int] = [:]
    for (number, line) in EvaluationFile.lines(bytes) {
      let entry = try EvaluationFile.entry(line, path: path, number: number)
      let question = Question(question: entry.question, answer: entry.answer, kind: entry.kind ?? Self.plainKind, line: number)
      guard let video = entry.video else {
        clips.append(Clip(video: nil, path: nil, questions: [question]))
        continue
      }
      let place: Int
      if let known = places[video] {
        place = known
      } else {
        let resolved = EvaluationFile.resolve(video, beside: path)
        try EvaluationFile.checkExists(resolved, path: path, line: number)
        place = clips.count
        places[video] = place
        clips.append(Clip(video: video, path: resolved, questions: []))
      }
      clips[place].questions.append(question)
    }
    guard !clips.isEmpty else {
      throw .badFile(
        path: path, problem: "no question in it, expected a JSON object with video, question and answer a line")
    }
    self.clips = clips
    fingerprint = EvaluationFile.fingerprint([bytes], clips)
  }

  /// Reads files whose names end in `.jsonl` as above and takes everything else for a video, an image or a directory of images.
  public init(paths: [String]) throws(SlowFastError) {
    var clips: [Clip] = []
    var fingerprints: [[UInt8]] = []
    for path in paths {
      if path.hasSuffix(".jsonl") {
        let set = try EvaluationSet(jsonLines: path)
        clips += set.clips
        fingerprints.append(Array(set.fingerprint.utf8))
      } else {
        // Looks at the first bytes, so that a name mistyped is told at once.
        _ = try MediaInput(opening: path)
        clips.append(Clip(video: path, path: path, questions: []))
      }
    }
    self.clips = clips
    fingerprint = EvaluationFile.fingerprint(fingerprints, clips)
  }
}

/// Reading files of JSON lines about clips.
package enum EvaluationFile {
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

  package static func bytes(of path: String) throws(SlowFastError) -> [UInt8] {
    do throws(CheckpointError) {
      let file = try SourceFile(path: path)
      guard file.byteCount <= largestFile else { throw CheckpointError.fileTooLarge(file: path, bytes: file.byteCount, limit: largestFile) }
      return try file.bytes(0..<file.byteCount)
    } catch { throw SlowFastError(error) }
  }

  /// Lines that are not blank, with their numbers from 1.
  package static func lines(_ bytes: [UInt8]) -> [(number: Int, line: ArraySlice<UInt8>)] {
    let blanks: Set<UInt8> = [0x20, 0x09, 0x0D]
    return bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
      .filter { !$0.element.allSatisfy(blanks.contains) }.map { ($0.offset + 1, $0.element) }
  }

  static func entry(_ line: ArraySlice<UInt8>, path: String, number: Int) throws(SlowFastError) -> Entry {
    func bad(_ problem: String) -> SlowFastError { .badFile(path: path, line: number, problem: problem) }
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

  package static func resolve(_ video: String, beside path: String) -> String {
    guard !video.hasPrefix("/"), let slash = path.lastIndex(of: "/") else { return video }
    return path[...slash] + video
  }

  static func checkExists(_ video: String, path: String, line: Int) throws(SlowFastError) {
    guard FileStatus(path: video) != nil else {
      throw .badFile(path: path, line: line, problem: "the video \(video.quoted) does not exist")
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
