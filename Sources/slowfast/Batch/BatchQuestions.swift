import Conversion
import Foundation
import ModelFile
import SlowFast
import Support

/// A question of a batch: a line of its file, or a clip of its folder.
struct BatchQuestion: Sendable {
  /// Counts from 1, and tells where the answer stands.
  var line: Int
  /// As the line says, else its number.
  var id: BatchID
  var text = ""
  /// nil: it is about none.
  var clip: BatchClip?
  /// What the answer must be; nil: as all are.
  var form: AnswerForm?
  /// Why it cannot be asked.
  var problem: String?
  /// What its answer is kept under: the same for the same question about the same files, wherever it stands.
  fileprivate(set) var key = 0
}

/// What an answer is found by.
enum BatchID: Sendable, Hashable, Encodable {
  case number(Int)
  case text(String)

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .number(let number): try container.encode(number)
    case .text(let text): try container.encode(text)
    }
  }
}

/// A clip, and which of its frames.
struct BatchClip: Sendable, Hashable {
  /// As they are named, and where they are.
  var names: [String]
  var paths: [String]
  /// Pictures that are named one by one.
  var isPictures = false
  /// nil: as for all.
  var frames: Int?
  var start: Double?
  var end: Double?

  /// What the model is shown.
  func sources(_ model: VideoLanguageModel) throws(SlowFastError) -> [ClipSource] {
    guard isPictures else { return [try ClipSource(path: paths[0])] }
    guard model.knowsPictures else { return [try ClipSource(pictures: paths)] }
    var sources: [ClipSource] = []
    for path in paths { sources.append(try ClipSource(path: path)) }
    return sources
  }

  /// Throws where pictures that are shown one by one are to be taken as a clip's frames are.
  func check(_ model: VideoLanguageModel) throws(SlowFastError) {
    guard isPictures, model.knowsPictures else { return }
    let fields = [("frames", frames != nil), ("start", start != nil), ("end", end != nil)].filter(\.1).map(\.0.quoted)
    guard let field = fields.first else { return }
    throw SlowFastError(.invalidOption, "\(field) is for a clip, and this model sees \("images".quoted) as pictures")
  }

  func sampling(_ all: SamplingRequest, _ model: VideoLanguageModel) -> SamplingRequest {
    var request = all
    if let frames { request.frames = frames } else if isPictures, !model.knowsPictures { request.frames = paths.count }
    if let start { request.start = start }
    if let end { request.end = end }
    return request
  }
}

/// All that is asked.
struct BatchQuestions {
  private(set) var questions: [BatchQuestion] = []
  /// Files of a folder that are no clips.
  private(set) var leftOut: [String] = []

  /// A file of JSON lines. A line that is no question is one with a problem; throws where none is a JSON object.
  init(jsonLines path: String) throws(SlowFastError) {
    let bytes = try EvaluationFile.bytes(of: path)
    var lines: [BatchID: Int] = [:]
    var hasObjects = false
    for (number, line) in EvaluationFile.lines(bytes) {
      var question = BatchQuestion(line: number, id: .number(number))
      var isObject = true
      do throws(LineProblem) {
        try question.read(Array(line).withoutMark, beside: path)
        if let first = lines[question.id] {
          let own = question.id == .number(number) ? "the line has no \"id\", and its number" : "\"id\""
          throw LineProblem("\(own) is that of line \(first) too")
        }
        lines[question.id] = number
      } catch { (question.problem, isObject) = (error.text, !error.isOfNoObject) }
      hasObjects = hasObjects || isObject
      questions.append(question)
    }
    if questions.isEmpty {
      throw .badFile(path: path, problem: "no question in it, expected a JSON object with video and question a line")
    }
    // A file of another kind, most likely.
    if !hasObjects, let first = questions.first, let problem = first.problem {
      throw .badFile(path: path, line: first.line, problem: "\(problem); no other line is a question either")
    }
    setKeys()
  }

  /// The same questions about each clip of a folder, those of the folders in it too, in the order of their names; not about `own`, files
  /// that the batch itself has.
  init(folder path: String, asking texts: [String], except own: [String]) throws(SlowFastError) {
    let folder = try BatchFolder(path, except: own)
    for name in folder.clips {
      for text in texts {
        let clip = BatchClip(names: [name], paths: [path + "/" + name])
        questions.append(BatchQuestion(line: questions.count + 1, id: .number(questions.count + 1), text: text, clip: clip))
      }
    }
    leftOut = folder.others
    if questions.isEmpty {
      let found = leftOut.isEmpty ? "nothing in it" : "no clip in it, only " + BatchFolder.list(leftOut)
      throw .badFile(path: path, problem: "\(found), expected videos or pictures")
    }
    setKeys()
  }

  /// The same question about the same clip may stand there more than once.
  private mutating func setKeys() {
    var states: [String: String] = [:]
    var counts: [String: Int] = [:]
    for index in questions.indices where questions[index].problem == nil {
      let content = questions[index].content { path in
        if let known = states[path] { return known }
        let state = BatchFolder.state(of: path)
        states[path] = state
        return state
      }
      let count = counts[content, default: 0]
      counts[content] = count + 1
      questions[index].key = Int(truncatingIfNeeded: checksum(Array("\(count) \(content)".utf8)))
    }
  }
}

/// What is wrong with a line, in words.
private struct LineProblem: Error {
  let text: String
  /// The line is not even a JSON object.
  let isOfNoObject: Bool
  init(_ text: String, isOfNoObject: Bool = false) { (self.text, self.isOfNoObject) = (text, isOfNoObject) }
}

extension BatchQuestion {
  /// All that its answer depends on, but for the model and its options; `state` tells what is at a path.
  fileprivate func content(_ state: (String) -> String) -> String {
    let form =
      switch form {
      case nil: "-"
      case .text: "text"
      case .json(let schema): "schema \(schema.text)"
      case .choices(let texts): "choices \(texts)"
      }
    // As it is named, for the answer says that; a path may be spelt in many ways.
    let shown = clip.map { "\($0.names) \($0.isPictures) \($0.frames ?? 0) \($0.start ?? -1) \($0.end ?? -1)" }
    return "\([text, form, shown ?? "-"] + (clip?.paths.map(state) ?? []))"
  }

  fileprivate mutating func read(_ line: [UInt8], beside path: String) throws(LineProblem) {
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(line) } catch {
      if case .duplicateKey(let key) = error { throw LineProblem("\(key.quoted) appears twice") }
      throw LineProblem("no JSON, expected an object with video and question", isOfNoObject: true)
    }
    guard let fields = value.object else { throw LineProblem("no JSON object, expected one with video and question", isOfNoObject: true) }
    switch fields["id"] ?? .null {
    case .null: break
    case .string(let text): id = .text(text)
    case let number:
      guard let number = number.integer else { throw LineProblem("\"id\" is neither a text nor a whole number") }
      id = .number(number)
    }
    // What is there of clip and question is told with what is wrong.
    text = fields["question"]?.string ?? ""
    clip = try BatchClip(fields, beside: path)
    if text.isBlank { throw LineProblem("no \"question\", expected a text") }
    form = try Self.form(fields)
  }

  private static func form(_ fields: JSONValue.Object) throws(LineProblem) -> AnswerForm? {
    switch (fields["choices"] ?? .null, fields["schema"] ?? .null) {
    case (.null, .null): return nil
    case (.null, let schema):
      guard schema.object != nil else { throw LineProblem("\"schema\" is no JSON object") }
      do throws(SlowFastError) { return .json(try AnswerSchema(schema.compact)) } catch {
        throw LineProblem("\"schema\": \(error.description)")
      }
    case (let choices, .null):
      guard let texts = choices.array?.compactMap(\.string), texts.count == choices.array?.count, !texts.isEmpty else {
        throw LineProblem("\"choices\" is no list of texts")
      }
      return .choices(texts)
    default: throw LineProblem("\"choices\" and \"schema\" exclude each other")
    }
  }
}

extension BatchClip {
  /// nil where the line says that there is none: a name that is spelled otherwise must not go by unseen.
  fileprivate init?(_ fields: JSONValue.Object, beside path: String) throws(LineProblem) {
    switch (fields["video"] ?? .null, fields["images"] ?? .null) {
    case (.null, .null):
      if fields["video"] == nil, fields["images"] == nil {
        throw LineProblem("no \"video\" and no \"images\"; \"video\": null is for a question about none")
      }
      if let field = ["frames", "start", "end"].first(where: { fields[$0] ?? .null != .null }) {
        throw LineProblem("\(field.quoted) is for a clip, and the line has none")
      }
      return nil
    case (let video, .null):
      guard let name = video.string, !name.isEmpty else { throw LineProblem("\"video\" is no file's name") }
      names = [name]
    case (.null, let images):
      guard let list = images.array?.compactMap(\.string), list.count == images.array?.count, !list.isEmpty else {
        throw LineProblem("\"images\" is no list of files' names")
      }
      (names, isPictures) = (list, true)
    default: throw LineProblem("\"video\" and \"images\" exclude each other")
    }
    paths = names.map { EvaluationFile.resolve($0, beside: path) }
    let range = fields["frames"] ?? .null
    if range != .null {
      guard let count = range.integer, (1...Limits.frames).contains(count) else {
        throw LineProblem("\"frames\" is \(range.compact.escaped()), expected 1 to \(Limits.frames)")
      }
      frames = count
    }
    (start, end) = (try Self.seconds("start", fields), try Self.seconds("end", fields))
    if let end, end <= start ?? 0 { throw LineProblem("\"end\" is \(end), expected more than \"start\", \(start ?? 0)") }
  }

  private static func seconds(_ name: String, _ fields: JSONValue.Object) throws(LineProblem) -> Double? {
    guard let value = fields[name], value != .null else { return nil }
    guard let seconds = value.double, seconds >= 0 else { throw LineProblem("\"\(name)\" is \(value.compact.escaped()), expected seconds") }
    return seconds
  }
}
