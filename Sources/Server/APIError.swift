import SlowFast

/// A request that is refused, as OpenAI's clients expect it: a status, and an object that names the part of the request that is wrong.
struct APIError: Error, Sendable, Equatable {
  var status: Int
  /// A sentence.
  var message: String
  /// The part of the request, as `messages[0].content[1].video_url`; nil: all of it.
  var parameter: String?
  /// What a program may want to tell apart; nil: the status says it.
  var code: String?
  /// Seconds after which it is worth to ask again.
  var retryAfter: Int?

  init(_ status: Int, _ message: String, _ parameter: String? = nil, code: String? = nil, retryAfter: Int? = nil) {
    (self.status, self.message, self.parameter, self.code, self.retryAfter) = (status, message, parameter, code, retryAfter)
  }

  /// What the library says of a request, about a part of it.
  init(_ error: SlowFastError, _ parameter: String? = nil) {
    let status =
      switch error.kind {
      case .invalidOption, .promptTooLong, .invalidPrompt: 400
      case .invalidClip: 422
      case .notEnoughMemory, .modelChanged: 503
      case .cancelled: 503
      case .invalidModel, .invalidFile, .outputExists, .unwritableOutput: 500
      }
    let code: String? =
      switch error.kind {
      case .promptTooLong: "context_length_exceeded"
      case .invalidClip: "invalid_media"
      case .notEnoughMemory: "not_enough_memory"
      case .modelChanged: "model_changed"
      default: nil
      }
    if error.kind == .modelChanged {
      // Where it lies is nothing to a client.
      self.init(status, "The model's file was changed while it was used: this server ends.", code: code)
      return
    }
    self.init(status, error.description.prefix(1).uppercased() + error.description.dropFirst() + ".", parameter, code: code)
  }

  /// Any error at all: what is no refusal is a fault of the server's, whose details are not for the client.
  init(any error: any Error, _ parameter: String? = nil) {
    switch error {
    case let error as APIError: self = error
    case let error as SlowFastError: self.init(error, parameter)
    case is CancellationError: self.init(503, "The work was stopped before it was done.", code: "stopped")
    default: self.init(500, "The server failed at this request.", parameter)
    }
  }

  private var type: String {
    switch status {
    case 401: "authentication_error"
    case 404: "not_found_error"
    case 429: "rate_limit_error"
    case 500...: "server_error"
    default: "invalid_request_error"
    }
  }

  var json: JSON {
    [
      "error": [
        "message": .string(message), "type": .string(type), "param": parameter.map(JSON.string) ?? .null,
        "code": code.map(JSON.string) ?? .null,
      ]
    ]
  }
}
