#if Server
  import Foundation
  import Synchronization
  import TestSupport
  import Testing

  /// Senders and readers that mean no good.
  @Suite struct AttackTests {
    /// A path of links to a pipe outside is refused without opening it: whoever waits to write into it waits on.
    @Test func pipesAreNotOpened() async throws {
      let (inside, outside) = (try TemporaryDirectory(), try TemporaryDirectory())
      try #require(mkfifo(outside.file("pipe"), 0o600) == 0)
      let files = FileManager.default
      try files.createSymbolicLink(atPath: inside.file("link.mp4"), withDestinationPath: outside.file("pipe"))
      let server = try await TestServer { $0.media = [inside.path] }
      let path = outside.file("pipe")
      let isOpened = Mutex(false)
      Thread.detachNewThread {
        let descriptor = open(path, O_WRONLY)
        isOpened.withLock { $0 = true }
        close(descriptor)
      }
      for _ in 0..<20 {
        let reply = try await server.post(question("How many?", "file://\(inside.path)/link.mp4"))
        try reply.expectError(404, "messages[0].content[0].video_url", "no such file")
      }
      #expect(!isOpened.withLock { $0 })
      close(open(path, O_RDONLY | O_NONBLOCK))
    }

    /// Chunks that have no size are the sender's fault.
    @Test func chunksThatAreNone() async throws {
      let server = try await TestServer.shared.value
      for size in ["-1", "0x10", "ffffffffffffffffffff", "G"] {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        let reply = try await Reply(try Connection(port: server.port).exchange(Data("\(head)\(size)\r\nabc\r\n0\r\n\r\n".utf8)))
        try reply.expectError(400, nil, "HTTP")
      }
    }

    /// Who is answered before the end of the request is told that the connection ends, and it does.
    @Test func bodiesThatGoOn() async throws {
      let server = try await TestServer.shared.value
      for head in [
        "GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5", "POST /v1/files HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
      ] {
        // Reads until the server ends the connection.
        let reply = try await Reply(try Connection(port: server.port).exchange(Data("\(head)\r\nabc".utf8)))
        #expect(reply.headers["connection"] == "close")
      }
    }

    /// Bodies that are held back have a limit all together, beyond which questions without clips are still taken.
    @Test func bodiesThatFillTheMemory() async throws {
      let server = try await TestServer { $0.maximumUpload = 1 << 20 }
      let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: \(1 << 20)\r\n\r\n"
      let body = Data(head.utf8) + Data(repeating: 0x20, count: (1 << 20) - 1)
      let large = question("x", "data:video/mp4;base64," + String(repeating: "A", count: 900_000))
      var status = 0
      // On a loaded machine the server may have given up the senders before it reads the question, or not read them yet.
      for attempt in 1...100 where status != 503 {
        // Two fill it, and neither is too much: of more, all could be refused at once.
        let senders = try (0..<2).map { _ in try Connection(port: server.port) }
        for sender in senders { Thread.detachNewThread { sender.write(body) } }
        try await Task.sleep(for: .milliseconds(50 * attempt))
        status = try await server.post(large).status
        if status == 503 { #expect(try await server.post(question("How many?", nil)).status == 200) }
        withExtendedLifetime(senders) {}
      }
      #expect(status == 503)
      for _ in 0..<500 where status == 503 {
        status = try await server.post(large).status
        try await Task.sleep(for: .milliseconds(20))
      }
      #expect(status != 503)
    }

    @Test func moreValuesThanAQuestionHas() async throws {
      let server = try await TestServer.shared.value
      let body = Data("[0".utf8) + Data(String(repeating: ",0", count: 1_000_001).utf8) + Data("]".utf8)
      let reply = try await server.send("POST", "/v1/chat/completions", body, headers: ["Content-Type": "application/json"])
      try reply.expectError(400, nil, "commas")
    }
  }
#endif
