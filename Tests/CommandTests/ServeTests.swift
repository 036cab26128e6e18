#if Server
  import Foundation
  import TestSupport
  import Testing

  /// The server as a process.
  @Suite struct ServeTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Says where it listens when it does, and ends with 0 when it is asked to.
    @Test func theWholeLife() throws {
      let run = try Run(["serve", Demonstration.checkpoint, "--port", "0", "--name", "a model"])
      #expect(run.wait { run.errorCount > 0 })
      Glibc.kill(run.identifier, SIGTERM)
      let outcome = try run.finish()
      #expect(outcome.status == 0 && outcome.output == "", "\(outcome.errors)")
      #expect(outcome.errors.wholeMatch(of: /a model is asked at http:\/\/127\.0\.0\.1:\d+\/v1\n/) != nil, "\(outcome.errors)")
    }

    @Test func ctrlC() throws {
      let run = try Run(["serve", Demonstration.checkpoint, "--port", "0"])
      #expect(run.wait { run.errorCount > 0 })
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
      #expect(run.wait { run.errorCount > 0 })
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
