import Foundation
import SlowFast
import Synchronization

/// Conversations that may go on: a client sends again what was said, which then need not be read again.
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

  /// The one in which that was said, if it is here; nobody else goes on with it meanwhile.
  func take(_ said: String?) -> ClipConversation? {
    kept.withLock { kept in kept.lastIndex { $0.said == said }.map { kept.remove(at: $0).conversation } }
  }
}

/// What was said in a conversation, and about what: equal where all of it is.
struct Transcript: Sendable {
  /// Up to the last answer; nothing where there is none.
  let beforeQuestion: String
  private let question: String

  /// Of files the identity counts, of data the bytes, of streams the newest frame.
  ///
  /// - Parameter manner: What else decides how it is read.
  init(_ files: [HeldFile], _ windows: [NamedWindow], _ manner: String, _ messages: [ChatRequest.Message]) {
    var (files, windows) = (files.makeIterator(), windows.makeIterator())
    func shown(_ media: ChatRequest.Media) -> String {
      let files = media.addresses.map { address -> String in
        if case .stream(let name) = address { return "stream \(name) \(windows.next()?.window.time ?? 0)" }
        let file = files.next()
        guard case .data(_, let base64) = address else { return file?.identity ?? "" }
        // Of keys that nobody outside knows.
        var (one, other) = (Hasher(), Hasher())
        one.combine(base64)
        other.combine(1)
        other.combine(base64)
        return "data \(base64.utf8.count) \(one.finalize()) \(other.finalize())"
      }
      return "\(media.kind) \(files.joined(separator: ", ")) \(media.sampling)"
    }
    let said = messages.map { message in
      let parts = message.parts.map { part in
        switch part {
        case .text(let text): JSON.string(text).text
        case .media(let media): shown(media)
        }
      }
      return ([message.role.rawValue] + parts).joined(separator: " ")
    }
    beforeQuestion = ([manner] + said.dropLast()).joined(separator: "\n")
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
