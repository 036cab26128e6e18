#if Server
  import Foundation
  import Logging
  import Server
  import SlowFast
  import Synchronization
  import TestSupport
  import Testing

  /// A log that is kept.
  private struct Told: LogHandler {
    final class Words: Sendable {
      private let words = Mutex<[String]>([])
      var all: [String] { words.withLock { $0 } }
      func add(_ word: String) { words.withLock { $0.append(word) } }
    }

    let words: Words
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    init(_ words: Words) { self.words = words }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { words.add("\(event.message)") }
  }

  /// What an operator has the server watch, and what is asked about it.
  @Suite struct StreamTests {
    private static let clip = Repository.root + "/Tests/Clips/levels.ts"

    private func server(_ change: (inout ServerOptions) -> Void = { _ in }) async throws -> TestServer {
      let sources = [
        try NamedSource(name: "door", address: Self.clip), try NamedSource(name: "gone", address: "rtsp://u:secret@127.0.0.1:1/x"),
      ]
      return try await TestServer { options in
        options.streams = sources
        (options.live.every, options.live.window) = (0.5, 8)
        change(&options)
      }
    }

    private func ask(_ server: TestServer, _ part: [String: Any], model: String = "checkpoint") async throws -> Reply {
      try await server.post([
        "messages": [["role": "user", "content": [part, ["type": "text", "text": "What happens?"]]]], "temperature": 0,
      ])
    }

    private func stream(_ url: String, _ more: [String: Any] = [:]) -> [String: Any] {
      ["type": "video_url", "video_url": more.merging(["url": url]) { $1 }]
    }

    /// Once all frames of the clip came.
    private func waitForFrames(_ server: TestServer) async throws {
      for _ in 0..<500 {
        let door = try await server.send("GET", "/v1/streams/door").json()
        let window = door["window"] as? [String: Any]
        if window?["newest"] as? Int == 24, window?["frames"] as? Int == 8 { return }
        try await Task.sleep(for: .milliseconds(20))
      }
      Issue.record("the frames do not come")
    }

    @Test func answersFromTheNewestFrames() async throws {
      let server = try await server()
      try await waitForFrames(server)
      let reply = try await ask(server, stream("stream:door"))
      #expect(reply.status == 200)
      let extra = try #require(try reply.json()["slowfast"] as? [String: Any])
      let told = try #require((extra["streams"] as? [[String: Any]])?.first)
      #expect(told["name"] as? String == "door" && told["frames"] as? Int == 8 && told["newest"] as? Int == 24)
      #expect((told["age"] as? Double ?? -1) >= 0 && (told["interval"] as? Double ?? -1) >= 0)
      #expect(extra["encoded_frames"] as? Int == 0 && extra["frames"] as? Int == 8)
      let two = try #require(try await ask(server, stream("stream:door", ["num_frames": 2])).json()["slowfast"] as? [String: Any])
      #expect(two["frames"] as? Int == 2)
      for (key, value) in [("num_frames", 9), ("start", 1), ("end", 2), ("fps", 1)] {
        let refused = try await ask(server, stream("stream:door", [key: value]))
        #expect(refused.status == 400 && refused.text.contains(key), "\(refused.text)")
      }
      #expect(try await ask(server, stream("stream:door", ["max_frames": 9])).status == 200)
      // A picture of it is its newest frame.
      let picture = try await ask(server, ["type": "image_url", "image_url": ["url": "stream:door"]])
      #expect((try picture.json()["slowfast"] as? [String: Any])?["frames"] as? Int == 1)
    }

    /// Nobody is answered without a picture, and addresses are nobody's business.
    @Test func whatCannotBeSeen() async throws {
      let server = try await server()
      let gone = try await ask(server, stream("stream:gone"))
      #expect(gone.status == 503 && gone.text.contains("has shown nothing yet") && gone.text.contains("no_frame"))
      let other = try await ask(server, stream("stream:other"))
      #expect(other.status == 404 && other.text.contains(#"expected one of \"door\", \"gone\""#), "\(other.text)")
      let two = try await ask(server, ["type": "video_url", "video_url": ["stream:door", "stream:door"]])
      #expect(two.status == 400 && two.text.contains("expected one address"), "\(two.text)")
      for address in ["rtsp://127.0.0.1:1/x", "udp://127.0.0.1:1", "stream:"] {
        #expect(try await ask(server, stream(address)).status == 400)
      }
      #expect(try await server.send("GET", "/v1/streams/other").status == 404)
      #expect(try await server.send("GET", "/v1/streams/gone/frames").status == 503)
      for path in ["/v1/streams", "/v1/streams/gone", "/metrics"] {
        let text = try await server.send("GET", path).text
        #expect(!text.contains("secret") && !text.contains("rtsp") && !text.contains("levels.ts"), "\(text)")
      }
    }

    @Test func howTheyAreDoing() async throws {
      let server = try await server()
      try await waitForFrames(server)
      let list = try #require(try await server.send("GET", "/v1/streams").json()["data"] as? [[String: Any]])
      #expect(list.map { $0["name"] as? String } == ["door", "gone"])
      #expect(list[0]["state"] as? String == "live" && list[0]["frames"] as? Int == 24 && list[0]["connections"] as? Int == 1)
      #expect(list[0]["window_size"] as? Int == 8)
      let frames = try await server.send("GET", "/v1/streams/door/frames").json()
      #expect((frames["sheet"] as? String)?.hasPrefix("data:image/jpeg;base64,/9j/") == true)
      #expect((frames["window"] as? [String: Any])?["frames"] as? Int == 8)
      let metrics = try await server.send("GET", "/metrics").text
      #expect(
        metrics.contains("slowfast_stream_frames_total{stream=\"door\"} 24\n")
          && metrics.contains("slowfast_stream_live{stream=\"gone\"} 0\n"))
    }

    // MARK: Rules

    private func events(_ answers: String, _ change: (inout Rule) -> Void) -> String {
      var rule = Rule(name: "r", question: "?", choices: ["a", "b", "c"])
      change(&rule)
      var state = RuleState(rule)
      return String(answers.enumerated().map { state.isEvent(String($1), at: Double($0)) ? "!" : "." })
    }

    @Test func whichAnswersAreEvents() {
      #expect(events("aabbbcaa") { _ in } == "..!..!!.", "changes; the first answer is none")
      #expect(events("aabbbcaa") { $0.when = ["b", "c"] } == "..!..!..", "when they begin")
      #expect(events("bbba") { $0.when = ["b"] } == "!...", "the first one too")
      #expect(events("aabaabbacc") { $0.holds = 2 } == "......!..!", "two in a row")
      #expect(events("abababab") { $0.pause = 3 } == ".!..!..!", "what comes in a pause is told after it if it is still so")
      #expect(events("ababaaaa") { ($0.when, $0.pause) = (["b"], 5) } == ".!......", "and not if it is over")
    }

    @Test func aFileOfRules() throws {
      let rules = try Rule.read(
        yaml: """
          - question: Is there a person at the door?
            choices: [yes, no]
            when: yes
            stream: door
            webhook: https://127.0.0.1/hook
          - {name: count, question: How many?, choices: [1, 2], holds: 3, pause: 2.5, file: /tmp/events.jsonl, when: changes}
          """, streams: ["door", "garden"])
      var first = Rule(name: "1", question: "Is there a person at the door?", choices: ["yes", "no"])
      (first.when, first.streams, first.webhook) = (["yes"], ["door"], "https://127.0.0.1/hook")
      var second = Rule(name: "count", question: "How many?", choices: ["1", "2"])
      (second.holds, second.pause, second.file) = (3, 2.5, "/tmp/events.jsonl")
      #expect(rules == [first, second])
    }

    @Test(arguments: [
      ("", "there is no rule"), ("- 3", "line 1: a rule is names and values"), ("- question: What?", "rule 1 has no choices"),
      ("- {question: A, choices: [a]}", "one choice"),
      ("- {question: A, choices: [a, b, a]}", "rule 1 has the choice a twice"), ("- {choices: [a, b]}", "rule 1 has no question"),
      ("- {question: A, choices: [a, b]}", "tells nobody"),
      ("- {question: A, choices: [a, b], file: f, when: c}", "one of its choices: a, b"),
      ("- {question: A, choices: [a, b], file: f, stream: x}", "stream is x, expected door"),
      ("- {question: A, choices: [a, b], webhook: 'ftp://x'}", "http://"), ("- {question: A, choices: [a, b], webhook: 'http://'}", "host"),
      ("- {question: A, choices: [a, b], file: f, holds: 0}", "holds is 0"),
      ("- {question: A, choices: [a, b], file: f, sound: on}", "sound is nothing"),
      ("- {question: A, choices: [[a], b], file: f}", "expected a text or a list"), ("- {question: [", "line"),
      ("- {question: ' ', choices: [a, b], file: f}", "question is \" \""),
      ("- {question: A, choices: [a, b], when: [], file: f}", "when is an empty list"),
      ("- {question: A, choices: ['yes', 'yes '], file: f}", "the choice yes twice"),
      ("- {question: A, choices: [a, b], file: /tmp}", "a directory, expected a file"),
      ("- {question: A, choices: [a, b], file: '~/events.jsonl'}", "there is no directory"),
    ]) func rulesThatAreNone(_ yaml: String, _ words: String) {
      #expect { try Rule.read(yaml: yaml, streams: ["door"]) } throws: { "\($0)".contains(words) && !"\($0)".contains("\n") }
    }

    /// What could never be answered is told at once.
    @Test(arguments: [["a", "a"], ["a", ""]]) func choicesThatAreNone(_ choices: [String]) throws {
      var options = ServerOptions()
      options.streams = [try NamedSource(name: "door", address: Self.clip)]
      options.rules = [Rule(name: "r", question: "?", choices: choices)]
      #expect(throws: SlowFastError.self) { try HTTPServer(try VideoLanguageModel(path: Repository.checkpoint), options) }
      #expect(NamedSource.isName("door-1") && !NamedSource.isName("..") && !NamedSource.isName("") && !NamedSource.isName("a/b"))
    }

    /// Who reads from the log where the server listens finds it first, whatever streams and rules have to tell by then.
    @Test func whereItListensComesFirst() async throws {
      var options = ServerOptions()
      options.port = 0
      options.streams = [try NamedSource(name: "door", address: Self.clip)]
      // More frames than the clip has: the rule tells that it waits.
      (options.live.every, options.live.window) = (0.5, 64)
      options.rules = [Rule(name: "shapes", question: "How many?", choices: ["1", "2"])]
      let told = Told.Words()
      let server = try HTTPServer(
        try VideoLanguageModel(path: Repository.checkpoint), options, logger: Logger(label: "test") { _ in Told(told) })
      // Its frames are there by then.
      try await Task.sleep(for: .seconds(2))
      let work = Task { try await server.run(endingAt: [], interruptedBy: []) { _ in told.add("listening") } }
      defer { work.cancel() }
      for _ in 0..<1500 where !told.all.contains(where: { $0.hasPrefix("rule") }) { try await Task.sleep(for: .milliseconds(20)) }
      #expect(told.all.first == "listening" && told.all.contains { $0.hasPrefix("rule shapes: door: asked") }, "\(told.all)")
    }

    /// Events come to a file, a whole line each.
    @Test func eventsAreWritten() async throws {
      let directory = try TemporaryDirectory()
      var rule = Rule(name: "shapes", question: "How many shapes are there?", choices: ["1", "2", "3", "4"])
      (rule.when, rule.file) = (rule.choices, directory.file("events.jsonl"))
      let (rules, choices) = ([rule], rule.choices)
      let server = try await server { $0.rules = rules }
      var lines: [Substring] = []
      for _ in 0..<15_000 where lines.isEmpty {
        try await Task.sleep(for: .milliseconds(20))
        lines = ((try? String(contentsOfFile: directory.file("events.jsonl"), encoding: .utf8)) ?? "").split(separator: "\n")
      }
      let line = try #require(lines.first)
      let event = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      #expect(
        event["stream"] as? String == "door" && event["rule"] as? String == "shapes"
          && rule.choices.contains(event["answer"] as? String ?? ""))
      let sum = (event["probabilities"] as? [String: Double])?.values.reduce(0, +) ?? 0
      #expect(abs(sum - 1) < 1e-4 && (event["time"] as? String)?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
      // And it is told to who asks for it.
      let stream = try await server.send("GET", "/v1/streams/door").json()
      let newest = try #require((stream["rules"] as? [[String: Any]])?.first)
      #expect(newest["rule"] as? String == "shapes" && choices.contains(newest["answer"] as? String ?? ""), "\(stream)")
      withExtendedLifetime(server) {}
    }
  }
#endif
