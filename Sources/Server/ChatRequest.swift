import Foundation
import SlowFast

/// What `POST /v1/chat/completions` is asked, checked as far as that goes without looking at a clip.
struct ChatRequest: Sendable {
  var messages: [Message] = []
  var streams = false
  /// A last chunk of a stream tells the tokens.
  var includesUsage = false
  /// Several pictures are pictures of their own, and no clip's frames.
  var hasSeveralImages = false
  /// Answers that are to be made.
  var count = 1
  /// Which tokens read a clip's slow tokens, where the request says so.
  var slowAttention: SlowAttention?
  var generation = Generation()

  struct Message: Sendable {
    var role: ChatMessage.Role
    var parts: [Part]
  }

  enum Part: Sendable {
    case text(String)
    case media(Media)
  }

  /// A picture, a video, or a file that is one of them.
  struct Media: Sendable {
    enum Kind: String, Sendable { case image, video, file }
    var kind: Kind
    /// As it was written; of a video in frames several.
    var addresses: [Address]
    var sampling: Sampling
    /// The part of the request, for messages.
    var path: String
  }

  enum Address: Sendable, Equatable {
    /// A media type, if one is said, and base64.
    case data(type: String?, base64: Substring)
    /// Of a file on this machine, without the scheme.
    case path(String)
    /// Of an upload.
    case upload(String)
    /// Of the web, as it was written.
    case web(String)
    /// A source that is watched, by its name.
    case stream(String)
  }

  /// Which frames, where the request says so.
  struct Sampling: Sendable, Equatable {
    var frames: Int?
    var rate: Double?
    var maximumFrames: Int?
    var start: Double?
    var end: Double?

    /// What is not said here is as it is said there.
    func or(_ other: Sampling) -> Sampling {
      Sampling(
        frames: frames ?? other.frames, rate: rate ?? other.rate, maximumFrames: maximumFrames ?? other.maximumFrames,
        start: start ?? other.start, end: end ?? other.end)
    }
  }

  /// How the answer's tokens are chosen, where the request says so.
  struct Generation: Sendable {
    var maximumTokens: Int?
    var temperature: Double?
    var topP: Double?
    var topK: Int?
    var seed: Int?
    var repetitionPenalty: Double?
    var minP: Double?
    var presencePenalty: Double?
    var frequencyPenalty: Double?
    /// Added to the logits of tokens.
    var logitBias: [Int32: Float] = [:]
    /// Texts before the first of which the answer ends.
    var stopTexts: [String] = []
    /// How likely each token was, and so many of the likeliest, are told.
    var topLogProbabilities: Int?
    var form = AnswerForm.text
  }
}

// MARK: Reading

extension ChatRequest {
  init(_ json: JSON, model: String) throws(APIError) {
    guard json.members != nil else { throw APIError(400, "The body is \(json.kind), expected an object.") }
    let top = Fields(json, "")
    if let asked = try top.string("model"), asked != model {
      throw APIError(
        404, "There is no model \(JSON.string(asked).text) here, expected \(JSON.string(model).text).", "model", code: "model_not_found")
    }
    streams = try top.bool("stream") ?? false
    if let options = try top.object("stream_options") { includesUsage = try options.bool("include_usage") ?? false }
    hasSeveralImages =
      switch json["modalities"] {
      case .string("multi-images"): true
      case .array(let values): values.contains("multi-images")
      default: false
      }
    try Self.refuseTools(top)
    count = try top.integer("n", 1...128) ?? 1
    if let name = try top.string("slow_attention") {
      guard let attention = SlowAttention(rawValue: name) else {
        throw APIError(400, "It is \(JSON.string(name).text), expected \"prompt\" or \"all\".", "slow_attention")
      }
      slowAttention = attention
    }
    generation = Generation(
      maximumTokens: try top.integer(top.json["max_completion_tokens"] == nil ? "max_tokens" : "max_completion_tokens", 1...Int(Int32.max)),
      temperature: try top.number("temperature", 0...1e6), topP: try top.number("top_p", 0...1),
      topK: try top.integer("top_k", -1...Int.max),
      seed: try top.integer("seed", Int.min...Int.max), repetitionPenalty: try top.number("repetition_penalty", 0...1e6),
      minP: try top.number("min_p", 0...1), presencePenalty: try top.number("presence_penalty", -2...2),
      frequencyPenalty: try top.number("frequency_penalty", -2...2), logitBias: try Self.logitBias(top), stopTexts: try Self.stopTexts(top),
      topLogProbabilities: try Self.topLogProbabilities(top), form: try Self.form(top))
    var sampling = Sampling()
    if let media = try top.object("media_io_kwargs"), let video = try media.object("video") { sampling = try Sampling(video) }
    guard let list = json["messages"] else { throw APIError(400, "There are no messages.", "messages") }
    guard let values = list.array else { throw APIError(400, "The messages are \(list.kind), expected an array.", "messages") }
    for (index, value) in values.enumerated() { messages.append(try Message(Fields(value, "messages[\(index)]"), sampling)) }
    guard let last = messages.last else { throw APIError(400, "There are no messages, expected one of the user.", "messages") }
    guard last.role == .user else {
      throw APIError(400, "The last message is the \(last.role.rawValue)'s, expected the user's.", "messages[\(messages.count - 1)].role")
    }
  }

  private static func refuseTools(_ top: Fields) throws(APIError) {
    for key in ["tools", "functions"] {
      if let tools = top.json[key], tools.array?.isEmpty != true { throw APIError(400, "This model calls no tools: send none.", key) }
    }
  }

  private static func stopTexts(_ top: Fields) throws(APIError) -> [String] {
    guard let stop = top.json["stop"] else { return [] }
    let values = stop.array ?? [stop]
    var texts: [String] = []
    for value in values {
      guard let text = value.string else { throw APIError(400, "It is \(value.kind), expected a text or an array of texts.", "stop") }
      texts.append(text)
    }
    return texts
  }

  private static func topLogProbabilities(_ top: Fields) throws(APIError) -> Int? {
    let count = try top.integer("top_logprobs", 0...20)
    guard try top.bool("logprobs") == true else {
      if let count, count > 0 { throw APIError(400, "It is \(count), which needs \"logprobs\": true.", "top_logprobs") }
      return nil
    }
    return count ?? 0
  }

  /// What the answer may be.
  private static func form(_ top: Fields) throws(APIError) -> AnswerForm {
    var form = AnswerForm.text
    if let format = try top.object("response_format") {
      switch try format.string("type") {
      case "text": break
      case "json_object": form = .json(.anyObject)
      case "json_schema":
        let path = "response_format.json_schema.schema"
        guard let outer = try format.object("json_schema"), let schema = outer.json["schema"] else {
          throw APIError(400, "There is no schema.", path)
        }
        do throws(SlowFastError) { form = .json(try AnswerSchema(schema.text)) } catch {
          throw APIError(400, "The schema is not taken: \(error.description).", path)
        }
      case let other:
        let found = other.map { JSON.string($0).text } ?? "missing"
        throw APIError(400, "It is \(found), expected \"text\", \"json_object\" or \"json_schema\".", "response_format.type")
      }
    }
    guard let choices = top.json["choices"] else { return form }
    guard form == .text else { throw APIError(400, "An answer is of a format or one of choices, not both.", "choices") }
    var texts: [String] = []
    for choice in choices.array ?? [] {
      guard let text = choice.string else { throw APIError(400, "It holds \(choice.kind), expected texts.", "choices") }
      texts.append(text)
    }
    if texts.isEmpty { throw APIError(400, "There is no choice, expected an array of texts.", "choices") }
    return .choices(texts)
  }

  /// Of tokens by their numbers in the vocabulary.
  private static func logitBias(_ top: Fields) throws(APIError) -> [Int32: Float] {
    guard let object = try top.object("logit_bias") else { return [:] }
    var biases: [Int32: Float] = [:]
    for member in object.json.members ?? [] {
      guard let token = Int32(member.key), token >= 0 else {
        throw APIError(400, "It is about \(JSON.string(member.key).text), expected the number of a token.", "logit_bias")
      }
      guard let bias = member.value.number else {
        throw APIError(400, "The bias is \(member.value.kind), expected a number.", object.path(member.key))
      }
      biases[token] = Float(max(-1e6, min(1e6, bias)))
    }
    return biases
  }
}

extension ChatRequest.Sampling {
  init(_ fields: Fields) throws(APIError) {
    frames = try fields.integer("num_frames", 1...65_536)
    maximumFrames = try fields.integer("max_frames", 1...65_536)
    rate = try fields.number("fps", 0...1e6)
    if let rate, rate <= 0 { throw APIError(400, "It is \(rate), expected more than 0.", fields.path("fps")) }
    start = try fields.number("start", 0...1e9)
    end = try fields.number("end", 0...1e9)
    if let end, end <= start ?? 0 { throw APIError(400, "It is \(end), expected more than the start.", fields.path("end")) }
  }
}

extension ChatRequest.Message {
  init(_ fields: Fields, _ sampling: ChatRequest.Sampling) throws(APIError) {
    guard fields.json.members != nil else { throw APIError(400, "It is \(fields.json.kind), expected an object.", fields.here) }
    switch try fields.string("role") {
    case "system", "developer": role = .system
    case "user": role = .user
    case "assistant": role = .assistant
    case let other:
      let found = other.map { JSON.string($0).text } ?? "missing"
      throw APIError(400, "It is \(found), expected \"system\", \"user\" or \"assistant\".", fields.path("role"))
    }
    if let calls = fields.json["tool_calls"], calls.array?.isEmpty != true {
      throw APIError(400, "This model calls no tools: send none.", fields.path("tool_calls"))
    }
    guard let content = fields.json["content"] else { throw APIError(400, "The message says nothing.", fields.path("content")) }
    switch content {
    case .string(let text): parts = [.text(text)]
    case .array(let values):
      parts = []
      for (index, value) in values.enumerated() {
        parts.append(try ChatRequest.Part(Fields(value, fields.path("content[\(index)]")), sampling))
      }
    default: throw APIError(400, "It is \(content.kind), expected a string or an array of parts.", fields.path("content"))
    }
    if role == .user { return }
    for case .media(let media) in parts { throw APIError(400, "Only the user shows something, not the \(role.rawValue).", media.path) }
  }

  var media: [ChatRequest.Media] { parts.compactMap { if case .media(let media) = $0 { media } else { nil } } }
}

extension ChatRequest.Part {
  init(_ fields: Fields, _ outer: ChatRequest.Sampling) throws(APIError) {
    guard fields.json.members != nil else { throw APIError(400, "It is \(fields.json.kind), expected an object.", fields.here) }
    guard let type = try fields.string("type") else { throw APIError(400, "The part has no type.", fields.path("type")) }
    let keys = ["input_text": "text", "input_image": "image_url", "input_video": "video_url", "video": "video_url"]
    switch type {
    case "text", "input_text":
      guard let text = try fields.string(keys[type] ?? type) else { throw APIError(400, "The part has no text.", fields.path("text")) }
      self = .text(text)
    case "image_url", "input_image": self = .media(try Self.media(.image, fields, [type, "image_url", "image"], outer))
    case "video_url", "input_video", "video": self = .media(try Self.media(.video, fields, [type, "video_url", "video"], outer))
    case "file", "input_file": self = .media(try Self.media(.file, fields, [type, "file"], outer))
    default:
      throw APIError(
        400,
        "A part of the type \(JSON.string(type).text) cannot be seen, expected text, image_url, video_url, file, or input_text, "
          + "input_image, input_video, video.", fields.path("type"))
    }
  }

  /// Of a part that has its address under one of the keys, as a string or inside an object, or beside its type.
  private static func media(
    _ kind: ChatRequest.Media.Kind, _ fields: Fields, _ keys: [String], _ outer: ChatRequest.Sampling
  ) throws(APIError) -> ChatRequest.Media {
    let found = keys.first { fields.json[$0] != nil }
    var inner = fields
    var addresses: [ChatRequest.Address] = []
    if let found, let value = fields.json[found] {
      switch value {
      case .string(let text): addresses = [try ChatRequest.Address(text, fields.path(found), kind)]
      case .array(let values) where kind == .video:
        // A video as the pictures that are its frames.
        for (index, value) in values.enumerated() {
          let path = fields.path("\(found)[\(index)]")
          guard let text = value.string ?? value["url"]?.string else {
            throw APIError(400, "It is \(value.kind), expected a picture's address.", path)
          }
          addresses.append(try ChatRequest.Address(text, path, .image))
        }
      case .object: inner = Fields(value, fields.path(found))
      default: throw APIError(400, "It is \(value.kind), expected an address or an object.", fields.path(found))
      }
    }
    if addresses.isEmpty {
      if let url = try inner.string("url") {
        addresses = [try ChatRequest.Address(url, inner.path("url"), kind)]
      } else if let id = try inner.string("file_id") {
        addresses = [.upload(id)]
      } else if let data = try inner.string(inner.json["data"] == nil ? "file_data" : "data") {
        addresses = [
          data.hasPrefix("data:") ? try ChatRequest.Address(data, inner.path("data"), kind) : .data(type: nil, base64: data[...])
        ]
      } else {
        throw APIError(400, "The part does not say where the \(kind.rawValue) is.", fields.path(found ?? keys[0]))
      }
    }
    var sampling = try ChatRequest.Sampling(inner)
    if found != nil { sampling = sampling.or(try ChatRequest.Sampling(fields)) }
    return ChatRequest.Media(kind: kind, addresses: addresses, sampling: sampling.or(outer), path: fields.path(found ?? keys[0]))
  }
}

extension ChatRequest.Address {
  init(_ text: String, _ path: String, _ kind: ChatRequest.Media.Kind) throws(APIError) {
    let scheme = text.prefix { $0 != ":" && $0 != "/" }.lowercased()
    switch scheme {
    case "data" where text.dropFirst(4).first == ":":
      // The head is short; what follows may be long.
      guard let comma = text.utf8.prefix(1024).firstIndex(of: UInt8(ascii: ",")) else {
        throw APIError(400, "The data: address has no comma, expected data:TYPE;base64,DATA.", path)
      }
      let words = text[..<comma].dropFirst(5).split(separator: ";", omittingEmptySubsequences: false)
      guard words.last?.lowercased() == "base64" else {
        throw APIError(400, "The data: address is not in base64, expected data:TYPE;base64,DATA.", path)
      }
      let type = words.first.map { $0.lowercased() } ?? ""
      let seen = ["image/", "video/", "application/octet-stream"]
      guard type.isEmpty || type == "base64" || seen.contains(where: type.hasPrefix) else {
        throw APIError(415, "Data of the type \(JSON.string(type).text) cannot be seen, expected a picture or a video.", path)
      }
      self = .data(type: type.isEmpty || type == "base64" ? nil : type, base64: text[text.utf8.index(after: comma)...])
    case "file" where text.dropFirst(4).hasPrefix("://"):
      let rest = text.dropFirst(7)
      // A host, which may only be this one.
      guard let local = rest.hasPrefix("/") ? rest : rest.hasPrefix("localhost/") ? rest.dropFirst(9) : nil,
        let decoded = String(local).removingPercentEncoding
      else { throw APIError(400, "The address is no file's of this machine, expected file:///PATH.", path) }
      self = .path(decoded)
    case "stream" where text.utf8.count > 7: self = .stream(String(text.dropFirst(7)))
    case "http", "https": self = .web(text)
    case "ftp", "rtsp", "s3", "gs":
      throw APIError(
        400, "This server fetches nothing: upload the \(kind.rawValue) with POST /v1/files, or send it as a data: address.", path,
        code: "url_not_allowed")
    default:
      if text.hasPrefix("file-") {
        self = .upload(text)
        return
      }
      throw APIError(
        400, "The address is none that is known here, expected data:…;base64,…, file:///…, stream:NAME or the id of an upload.", path)
    }
  }
}

/// The fields of an object of a request, with their place in it.
struct Fields {
  let json: JSON
  let here: String

  init(_ json: JSON, _ here: String) { (self.json, self.here) = (json, here) }

  func path(_ key: String) -> String { here.isEmpty ? key : "\(here).\(key)" }

  private func value<T>(_ key: String, _ expected: String, _ read: (JSON) -> T?) throws(APIError) -> T? {
    guard let value = json[key] else { return nil }
    if let read = read(value) { return read }
    throw APIError(400, "It is \(value.kind), expected \(expected).", path(key))
  }

  func string(_ key: String) throws(APIError) -> String? { try value(key, "a string", \.string) }
  func bool(_ key: String) throws(APIError) -> Bool? { try value(key, "true or false", \.bool) }
  func object(_ key: String) throws(APIError) -> Fields? {
    try value(key, "an object") { $0.members == nil ? nil : Fields($0, path(key)) }
  }

  func integer(_ key: String, _ range: ClosedRange<Int>) throws(APIError) -> Int? {
    guard let number = try value(key, "a whole number", \.integer) else { return nil }
    if range.contains(number) { return number }
    let expected = number < range.lowerBound ? "at least \(range.lowerBound)" : "at most \(range.upperBound)"
    throw APIError(400, "It is \(number), expected \(expected).", path(key))
  }

  func number(_ key: String, _ range: ClosedRange<Double>) throws(APIError) -> Double? {
    guard let number = try value(key, "a number", \.number) else { return nil }
    if range.contains(number) { return number }
    throw APIError(400, "It is \(number), expected \(range.lowerBound) to \(range.upperBound).", path(key))
  }
}
