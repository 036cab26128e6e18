import SlowFast
import Synchronization

/// What the server has done since it began, as Prometheus reads it.
final class Metrics: Sendable {
  private struct State {
    var requests: [String: Int] = [:]
    var answers = 0
    var frames = (encoded: 0, cached: 0)
    var tokens = (prompt: 0, cached: 0, generated: 0)
    var seconds: [String: Double] = [:]
  }
  private let state = Mutex(State())

  /// A request was answered.
  func count(method: String, route: String, status: Int) {
    state.withLock { $0.requests["method=\"\(method)\",route=\"\(route)\",status=\"\(status)\"", default: 0] += 1 }
  }

  /// An answer was made.
  func count(_ statistics: RunStatistics) {
    state.withLock { state in
      state.answers += 1
      state.frames.encoded += statistics.encodedFrames
      state.frames.cached += statistics.cachedFrames
      state.tokens.prompt += statistics.promptTokens
      state.tokens.cached += statistics.cachedPromptTokens
      state.tokens.generated += statistics.generatedTokens
      for (stage, seconds) in StageTimes.stages { state.seconds[stage, default: 0] += statistics.times[keyPath: seconds] }
    }
  }

  /// The exposition format, version 0.0.4.
  func text(running: Int, waiting: Int, uploads: Int, streams: [Streams.Stream]) -> String {
    let state = state.withLock { $0 }
    var lines: [String] = []
    func add(_ name: String, _ type: String, _ help: String, _ values: [(labels: String, value: String)]) {
      lines += ["# HELP slowfast_\(name) \(help)", "# TYPE slowfast_\(name) \(type)"]
      lines += values.map { "slowfast_\(name)\($0.labels.isEmpty ? "" : "{\($0.labels)}") \($0.value)" }
    }
    func add(_ name: String, _ type: String, _ help: String, _ value: Int) { add(name, type, help, [("", "\(value)")]) }
    add(
      "requests_total", "counter", "Requests by method, route and status.",
      state.requests.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") })
    add("answers_total", "counter", "Answers that were made to their end.", state.answers)
    add("answers_running", "gauge", "Answers that are being made.", running)
    add("queue_length", "gauge", "Requests that wait for their turn.", waiting)
    add("uploads", "gauge", "Files that were uploaded and are kept.", uploads)
    if !streams.isEmpty {
      func values(_ value: (LiveStatus) -> String?) -> [(labels: String, value: String)] {
        streams.compactMap { stream in value(stream.watch.status).map { ("stream=\"\(stream.name)\"", $0) } }
      }
      add("stream_age_seconds", "gauge", "Age of a stream's newest frame.", values { $0.age.map { "\($0)" } })
      add("stream_live", "gauge", "Whether frames of a stream come.", values { $0.state == .live ? "1" : "0" })
      add("stream_connections_total", "counter", "Times that a stream began.", values { "\($0.connections)" })
      add("stream_frames_total", "counter", "Frames that were taken of a stream.", values { "\($0.frames)" })
      add("stream_dropped_total", "counter", "Of these, frames that no tower saw since it was busy.", values { "\($0.dropped)" })
    }
    add(
      "frames_total", "counter", "Frames of clips that were asked about, by where their features came from.",
      [("source=\"tower\"", "\(state.frames.encoded)"), ("source=\"cache\"", "\(state.frames.cached)")])
    add(
      "tokens_total", "counter", "Tokens of prompts that were read, of prompts that came from the cache, and of answers.",
      [
        ("kind=\"prompt\"", "\(state.tokens.prompt)"), ("kind=\"cached\"", "\(state.tokens.cached)"),
        ("kind=\"generated\"", "\(state.tokens.generated)"),
      ])
    add(
      "stage_seconds_total", "counter", "Seconds by stage.",
      state.seconds.sorted { $0.key < $1.key }.map { ("stage=\"\($0.key)\"", "\($0.value)") })
    if let bytes = ProcessMemory.residentBytes { add("resident_memory_bytes", "gauge", "Memory of the process.", bytes) }
    if let bytes = RunStatistics.peakResidentBytes { add("peak_memory_bytes", "gauge", "The most memory of the process so far.", bytes) }
    return lines.joined(separator: "\n") + "\n"
  }
}
