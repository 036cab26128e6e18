import Foundation
import SlowFast
import Synchronization

/// The sources that an operator has named to be watched, by their names.
final class Streams: Sendable {
  struct Stream: Sendable {
    var name: String
    var watch: LiveWatch
    let answers = RuleAnswers()
  }

  /// What rules found in a stream's newest windows.
  final class RuleAnswers: Sendable {
    private let newest = Mutex<[(rule: String, answer: JSON)]>([])

    /// In place of what the rule found before.
    func note(_ answer: JSON, of rule: String) {
      newest.withLock { newest in
        if let index = newest.firstIndex(where: { $0.rule == rule }) {
          newest[index].answer = answer
        } else {
          newest.append((rule, answer))
        }
      }
    }

    /// By the rules' names.
    var all: [JSON] { newest.withLock { $0.sorted { $0.rule < $1.rule }.map(\.answer) } }
  }

  /// In the order in which they were named.
  let all: [Stream]

  init(_ runner: ModelRunner, _ options: ServerOptions) throws(SlowFastError) {
    var live = options.live
    live.window = live.window ?? options.frames
    var all: [Stream] = []
    for named in options.streams { all.append(Stream(name: named.name, watch: try runner.watch(named.source, options: live))) }
    self.all = all
  }

  /// Nothing is read from now on.
  func stop() { for stream in all { stream.watch.stop() } }

  func stream(_ name: String, _ parameter: String? = nil) throws(APIError) -> Stream {
    if let stream = all.first(where: { $0.name == name }) { return stream }
    let known = all.isEmpty ? "none is watched" : "expected one of \(all.map { JSON.string($0.name).text }.joined(separator: ", "))"
    throw APIError(404, "There is no stream \(JSON.string(name).text) here, \(known).", parameter, code: "stream_not_found")
  }

  /// The newest frames of a stream. Refused where there is none: nobody is answered without a picture.
  func window(
    _ name: String, _ asked: ChatRequest.Sampling = ChatRequest.Sampling(), _ parameter: String? = nil
  ) throws(APIError) -> LiveWindow {
    let stream = try stream(name, parameter)
    for (key, value) in [("start", asked.start), ("end", asked.end), ("fps", asked.rate)] where value != nil {
      throw APIError(400, "\(key) is for files: a stream is asked about its newest frames.", parameter)
    }
    let most = stream.watch.windowSize
    if let frames = asked.frames, frames > most {
      throw APIError(400, "num_frames is \(frames), the stream \(JSON.string(name).text) has a window of \(most).", parameter)
    }
    let wanted = [asked.frames, asked.maximumFrames].compactMap(\.self).min() ?? most
    if let window = stream.watch.window { return window.suffix(wanted) }
    let why = stream.watch.status.problem.map { ": \($0)" } ?? ""
    throw APIError(503, "The stream \(JSON.string(name).text) has shown nothing yet\(why).", parameter, code: "no_frame", retryAfter: 2)
  }
}

extension Streams.Stream {
  /// How it is doing. Where it comes from is not told.
  var json: JSON {
    let (status, window) = (watch.status, watch.window)
    return [
      "name": .string(name), "object": "stream", "state": .string(status.state.rawValue),
      "problem": status.problem.map(JSON.string) ?? .null, "connections": .integer(status.connections),
      "frames": .integer(status.frames), "dropped": .integer(status.dropped), "age": status.age.map(Self.rounded) ?? .null,
      "window": window.map(Self.json) ?? .null, "window_size": .integer(watch.windowSize), "rules": .array(answers.all),
    ]
  }

  /// What an answer was made from.
  static func json(_ window: LiveWindow) -> JSON {
    [
      "frames": .integer(window.frames.count), "newest": .integer(window.number), "time": .number((window.time * 1000).rounded() / 1000),
      "age": rounded(window.age), "interval": window.interval.map(rounded) ?? .null,
    ]
  }

  private static func rounded(_ seconds: Double) -> JSON { .number((seconds * 1000).rounded() / 1000) }
}

extension Answering {
  /// The frames that a question about a stream would be about now, as one picture.
  func frames(ofStream name: String) throws(APIError) -> JSON {
    let window = try streams.window(name).suffix(144)
    let sheet: [UInt8]
    do throws(SlowFastError) { sheet = try FrameExport.sheet(window) } catch { throw APIError(error) }
    return [
      "object": "frames", "window": Streams.Stream.json(window),
      "sheet": .string("data:image/jpeg;base64," + Data(sheet).base64EncodedString()),
    ]
  }
}
