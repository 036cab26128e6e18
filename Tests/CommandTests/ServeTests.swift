#if Server
  import Foundation
  import Synchronization
  import TestSupport
  import Testing

  /// The server as a process.
  @Suite struct ServeTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Says where it listens when it does, and ends with 0 when it is asked to.
    @Test func theWholeLife() throws {
      let run = try Run(["serve", Demonstration.checkpoint, "--port", "0", "--name", "a model"])
      #expect(run.wait { run.errors.contains("/v1\n") })
      Glibc.kill(run.identifier, SIGTERM)
      let outcome = try run.finish()
      #expect(outcome.status == 0 && outcome.output == "", "\(outcome.errors)")
      #expect(outcome.errors.wholeMatch(of: /a model is asked at http:\/\/127\.0\.0\.1:\d+\/v1\n/) != nil, "\(outcome.errors)")
    }

    /// A model file that is written over or cut: who asks is told, and so is who started it, and the process ends by itself.
    @Test(arguments: ["cut", "overwritten"]) func aModelFileThatChanges(_ how: String) throws {
      let model = directory.file("model.sfq")
      #expect(try slowfast("convert", Repository.golden("clip"), model, "--bits", "16").status == 0)
      let run = try Run(["serve", model, "--port", "0", "--media", Repository.root + "/benchmarks/demo/examples/clips"])
      #expect(run.wait { run.errors.contains("/v1\n") })
      let port = try #require(run.errors.firstMatch(of: /:(\d+)\/v1/)).1
      #expect(try ask(port, "/ready").contains("200 OK"))
      // Of random weights: what it says greedily has no end.
      let asking = DispatchGroup()
      let reply = Mutex("")
      DispatchQueue.global().async(group: asking) {
        let clip = "{\"type\":\"video_url\",\"video_url\":\"file://\(Demonstration.clip)\",\"num_frames\":8}"
        let content = "[\(clip),{\"type\":\"text\",\"text\":\"hi\"}]"
        let messages = "[{\"role\":\"user\",\"content\":\(content)}]"
        let body = "{\"messages\":\(messages),\"max_tokens\":100000,\"temperature\":0}"
        let text = try? ask(port, "/v1/chat/completions", body)
        reply.withLock { $0 = text ?? "none" }
      }
      usleep(useconds_t(1_500_000 * slowness))
      try change(model, how)
      let outcome = try run.finish()
      asking.wait()
      #expect(
        reply.withLock { $0.contains("503 ") && $0.contains("model_changed") && !$0.contains(directory.path) }, "\(reply.withLock { $0 })")
      #expect(outcome.status == 1, "\(outcome.status) \(outcome.errors)")
      #expect(outcome.errors.hasSuffix("error: \(model): was changed while it was used\n"), "\(outcome.errors)")
    }

    /// What comes back for a request, head and all.
    private func ask(_ port: Substring, _ path: String, _ body: String? = nil) throws -> String {
      let request = directory.file("request-\(UUID().uuidString)")
      let head = "\(body == nil ? "GET" : "POST") \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
      let text = head + "Content-Type: application/json\r\nContent-Length: \(body?.utf8.count ?? 0)\r\n\r\n" + (body ?? "")
      try Data(text.utf8).write(to: URL(fileURLWithPath: request))
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/bash")
      process.arguments = ["-c", "exec 3<> /dev/tcp/127.0.0.1/\(port); cat '\(request)' >&3; cat <&3"]
      let pipe = Pipe()
      process.standardOutput = pipe
      try process.run()
      let reply = try pipe.fileHandleForReading.readToEnd() ?? Data()
      process.waitUntilExit()
      return String(decoding: reply, as: UTF8.self)
    }

    @Test func ctrlC() throws {
      let run = try Run(["serve", Demonstration.checkpoint, "--port", "0"])
      #expect(run.wait { run.errors.contains("/v1\n") })
      let outcome = try run.interrupt()
      #expect(outcome.status == 0 && outcome.seconds < 5 * slowness, "\(outcome.errors)")
    }

    @Test func wrongUsage() throws {
      for (options, words) in [
        (["--port", "65536"], "--port is 65536, expected 0 to 65535"), (["--parallel", "0"], "--parallel is 0, expected 1 to 64"),
        (["--queue", "-1"], "--queue"), (["--frames", "0"], "--frames is 0, expected at least 1"),
        (["--api-key", ""], "--api-key is empty"),
        (["--threads", "0"], "--threads is 0"),
      ] {
        let outcome = try Run(["serve", Demonstration.checkpoint] + options).finish()
        #expect(outcome.status == 2 && outcome.errors.contains(words), "\(outcome.errors)")
      }
      try slowfast("serve", directory.file("none.sfq"), "--port", "0").expectBadInput("none.sfq", "no such file")
      try slowfast("serve", Demonstration.checkpoint, "--media", directory.file("none")).expectBadInput("none: No such file")
      try slowfast("serve", Demonstration.checkpoint, "--media", Demonstration.clip).expectBadInput("not a directory")
      try slowfast("serve", Demonstration.checkpoint, "--host", "256.0.0.1").expectBadInput("cannot listen at 256.0.0.1")
    }

    @Test func configuration() throws {
      let path = try directory.write(
        "server.yaml",
        "name: of the file\nmodel: \(Demonstration.checkpoint)\nport: 0\nmedia: [\(directory.path)]\nmax-upload: 5M\nhost: 127.0.0.2\n")
      let run = try Run(["serve", "--config", path, "--host", "127.0.0.1"])
      #expect(run.wait { run.errors.contains("/v1\n") })
      Glibc.kill(run.identifier, SIGTERM)
      let outcome = try run.finish()
      #expect(outcome.status == 0 && outcome.errors.hasPrefix("of the file is asked at http://127.0.0.1:"), "\(outcome.errors)")
      for (text, words) in [
        ("prot: 5\n", "server.yaml: line 1: prot is no option of a server"), ("a: b\n- c\n", "server.yaml: "),
        ("name: a\nport: x\n", "line 2: port is x, expected 0 to 65535"), ("max-upload: [5]\n", "expected bytes"),
        ("- port\n", "expected names"),
        ("media: {a: b}\n", "expected a text"),
      ] {
        let path = try directory.write("server.yaml", text)
        try slowfast("serve", Demonstration.checkpoint, "--config", path).expectBadInput(words)
      }
      try slowfast("serve", Demonstration.checkpoint, "--config", directory.file("none")).expectBadInput("none: cannot be read")
      try slowfast("serve", "--config", directory.write("server.yaml", "port: 0\n")).expectBadInput("server.yaml: names no model")
      let unsaid = try Run(["serve"]).finish()
      #expect(unsaid.status == 2 && unsaid.errors.contains("missing expected argument '<model>'"), "\(unsaid.errors)")
    }
  }
#endif
