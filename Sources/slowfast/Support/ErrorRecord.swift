/// An error, where output is JSON: `{"error": {"message": …, "status": 1}}`, with the question that it belongs to, if any.
struct ErrorRecord: Encodable {
  struct Content: Encodable {
    var message: String
    var status: Int32
  }
  var error: Content
  var question: String?

  init(_ message: String, status: Int32, question: String? = nil) {
    error = Content(message: message, status: status)
    self.question = question
  }
}

extension CommandLineCheck {
  private var asksForJSON: Bool { arguments.prefix { $0 != "--" }.contains { $0 == "--json" || $0 == "--jsonl" } }

  /// Tells a program that asked for JSON why it gets nothing else; returns the status.
  func failed(_ message: String, status: Int32) -> Int32 {
    // Where the output cannot be written, the error stream has the message.
    if asksForJSON { try? Display.printJSON(ErrorRecord(message, status: status), onOneLine: true) }
    return status
  }
}
