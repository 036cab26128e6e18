import Foundation
import SlowFast
import Synchronization

/// Conversations that may go on: a client sends again what was said, and finds what the model made of it.
final class HeldConversations: Sendable {
  private let kept = Mutex<[(said: String, conversation: ClipConversation)]>([])
  private let limit: Int

  /// At most so many, each with its keys and values; those that nobody goes on with go first.
  init(limit: Int) { self.limit = limit }

  func keep(_ conversation: ClipConversation, as said: String?) {
    guard let said else { return }
    kept.withLock { kept in
      kept.append((said, conversation))
      if kept.count > limit { kept.removeFirst() }
    }
  }

  /// The one in which that was said; nobody else goes on with it meanwhile.
  func take(_ said: String?) throws(APIError) -> ClipConversation {
    let found = kept.withLock { kept in kept.lastIndex { $0.said == said }.map { kept.remove(at: $0).conversation } }
    if let found { return found }
    throw APIError(
      400, "The conversation is none that is held here: one goes on after the answers that were given, until others have taken its place.",
      "messages", code: "conversation_unknown")
  }
}

/// What was said in a conversation, and about what: equal where all of it is.
struct Transcript: Sendable {
  /// Up to the last answer; nothing where there is none.
  let beforeQuestion: String
  private let question: String

  /// Of files the identity counts, of data the bytes.
  init(_ files: [HeldFile], _ sampling: String, _ messages: [ChatRequest.Message]) {
    var clips = sampling
    if let first = messages.first {
      for (index, address) in first.media.flatMap(\.addresses).enumerated() {
        if case .data(_, let base64) = address {
          // Of keys that nobody outside knows.
          var (one, other) = (Hasher(), Hasher())
          one.combine(base64)
          other.combine(1)
          other.combine(base64)
          clips += " data \(base64.utf8.count) \(one.finalize()) \(other.finalize())"
        } else {
          clips += " \(files.indices.contains(index) ? files[index].identity : "")"
        }
      }
    }
    let said = messages.map { "\($0.role.rawValue) \(JSON.string($0.text).text)" }
    beforeQuestion = ([clips] + said.dropLast()).joined(separator: "\n")
    question = said.last ?? ""
  }

  func with(answer: String) -> String { beforeQuestion + "\n" + question + "\nassistant " + JSON.string(answer).text }
}

extension HeldFile {
  /// Which file it is, and when it was changed.
  fileprivate var identity: String {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return "" }
    return "file \(status.st_dev) \(status.st_ino) \(status.st_size) \(status.st_ctim.tv_sec).\(status.st_ctim.tv_nsec)"
  }
}
