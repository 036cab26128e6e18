#if Server
  import Foundation
  import TestSupport
  import Testing

  /// What is around questions: other paths, keys, limits, files, connections that end.
  @Suite struct SurroundingsTests {
    private func server() async throws -> TestServer { try await TestServer.shared.value }

    @Test func paths() async throws {
      let server = try await server()
      #expect(try await server.send("GET", "/health").json() as? [String: String] == ["status": "ok"])
      #expect(try await server.send("GET", "/ready").status == 200)
      let models = try #require(try await server.send("GET", "/v1/models").json()["data"] as? [[String: Any]])
      #expect(models.count == 1 && models[0]["id"] as? String == "checkpoint")
      let about = try #require(models[0]["slowfast"] as? [String: Any])
      #expect(about["frames"] as? Int == 16 && about["bits"] is NSNull)
      let asked = try await server.post(question("How many shapes are there?")).json()["slowfast"] as? [String: Any]
      for name in ["fast_tokens", "slow_tokens"] { #expect(about[name] as? Int ?? 0 > 0 && about[name] as? Int == asked?[name] as? Int) }
      #expect(try await server.send("GET", "/v1/models/checkpoint").json()["object"] as? String == "model")
      try await server.send("GET", "/v1/models/other").expectError(404, "model", "other")
      try await server.send("GET", "/v1/elsewhere").expectError(404, nil)
      let wrongMethod = try await server.send("DELETE", "/health")
      try wrongMethod.expectError(405, nil, "DELETE")
      #expect(wrongMethod.headers["allow"] == "GET")
      let head = try await server.send("HEAD", "/health")
      #expect(head.status == 200 && head.body.isEmpty)
      try await server.send("POST", "/v1/chat/completions", Data("{}".utf8)).expectError(415, nil, "application/json")
      let metrics = try await server.send("GET", "/metrics")
      #expect(metrics.text.contains("slowfast_requests_total{method=\"GET\",route=\"/health\",status=\"200\"}"))
    }

    /// Pages of other places may not ask; programs, and this place's own page, may.
    @Test func origins() async throws {
      let server = try await server()
      try await server.send("GET", "/v1/models", headers: ["Origin": "https://example.org"]).expectError(403, nil)
      #expect(try await server.send("GET", "/v1/models", headers: ["Origin": "http://127.0.0.1"]).status == 200)
    }

    @Test func keys() async throws {
      let server = try await TestServer { $0.apiKey = "a secret" }
      #expect(try await server.send("GET", "/health").status == 200)
      for header in [
        [:], ["Authorization": "Bearer a secres"], ["Authorization": "Bearer "], ["Authorization": "Bearer a secret2"],
        ["Authorization": "a secret"],
      ] {
        let reply = try await server.send("GET", "/v1/models", headers: header)
        try reply.expectError(401, nil, "key")
        #expect(reply.headers["www-authenticate"] == "Bearer")
      }
      #expect(try await server.send("GET", "/v1/models", headers: ["Authorization": "Bearer a secret"]).status == 200)
    }

    /// An upload is encoded before anyone asks; it is asked about by its id until it is deleted.
    @Test func uploads() async throws {
      let server = try await TestServer()
      let clip = try Repository.bytes()
      let reply = try await server.upload(clip, filename: "../holiday é.mp4")
      let object = try reply.json()
      let id = try #require(object["id"] as? String, "\(reply.text)")
      #expect(object["filename"] as? String == "holiday é.mp4" && object["bytes"] as? Int == clip.count && id.hasPrefix("file-"))
      #expect(object["purpose"] as? String == "vision")
      var state = object
      for _ in 0..<15_000 where state["status"] as? String == "uploaded" {
        try await Task.sleep(for: .milliseconds(20))
        state = try await server.send("GET", "/v1/files/\(id)").json()
      }
      #expect(state["status"] as? String == "processed", "\(state)")
      let part: [String: Any] = ["type": "file", "file": ["file_id": id]]
      let asked = try await server.post(
        ["messages": [["role": "user", "content": [part, ["type": "text", "text": "How many shapes are there?"]]]]])
      #expect(try asked.answer() == "2")
      #expect((try asked.json()["slowfast"] as? [String: Any])?["encoded_frames"] as? Int == 0)
      let frames = try await server.send("GET", "/v1/files/\(id)/frames?num_frames=5").json()
      #expect(
        (frames["frames"] as? [[String: Any]])?.count == 5 && (frames["sheet"] as? String)?.hasPrefix("data:image/jpeg;base64,/9j/") == true
      )
      try await server.send("GET", "/v1/files/\(id)/frames?num_frames=x").expectError(400, "num_frames", "a number")
      #expect((try await server.send("GET", "/v1/files").json()["data"] as? [Any])?.count == 1)
      #expect(try await server.send("DELETE", "/v1/files/\(id)").json()["deleted"] as? Bool == true)
      try await server.send("GET", "/v1/files/\(id)").expectError(404, nil, id)
    }

    /// The first question about an upload waits for its encoding, and finds it done.
    @Test func aQuestionDuringTheEncoding() async throws {
      let server = try await TestServer()
      let id = try #require(
        try await server.upload(try Repository.bytes()).json()["id"] as? String)
      let reply = try await server.post(question("How many shapes are there?", id))
      #expect(try reply.answer() == "2")
      #expect((try reply.json()["slowfast"] as? [String: Any])?["encoded_frames"] as? Int == 0, "\(reply.text)")
    }

    @Test func uploadsThatAreRefused() async throws {
      let server = try await TestServer { $0.maximumUpload = 100_000 }
      let form = ["Content-Type": "multipart/form-data; boundary=b"]
      try await server.send("POST", "/v1/files", Data("x".utf8)).expectError(415, nil, "multipart")
      try await server.send("POST", "/v1/files", Data("--b\r\n\r\n".utf8), headers: form).expectError(400, nil, "multipart")
      try await server.send("POST", "/v1/files", Data("--b--\r\n".utf8), headers: form).expectError(400, "file", "no file")
      try await server.upload(Data()).expectError(400, "file", "empty")
      try await server.upload(Data(count: 100_001)).expectError(413, "file", "100000")
      #expect(try await server.metric("uploads") == 0)
      let body = question("x", "data:video/mp4;base64," + String(repeating: "A", count: 100_001))
      try await server.post(body).expectError(413, nil, "100000")
    }

    /// A clip whose frames do not decode is an upload whose state says so.
    @Test func anUploadThatDoesNotDecode() async throws {
      let server = try await TestServer()
      var clip = try Repository.bytes()
      clip.replaceSubrange(200..<clip.count - 200, with: Data(count: clip.count - 400))
      let id = try #require(try await server.upload(clip).json()["id"] as? String)
      var state: [String: Any] = [:]
      for _ in 0..<500 {
        state = try await server.send("GET", "/v1/files/\(id)").json()
        if state["status"] as? String != "uploaded" { break }
        try await Task.sleep(for: .milliseconds(20))
      }
      #expect(state["status"] as? String == "error" && state["status_details"] is String, "\(state)")
    }

    /// Who goes away stops the work within a second, whether the answer is streamed or not, running or waiting.
    @Test(arguments: [true, false])
    func aConnectionThatEnds(streams: Bool) async throws {
      let server = try await TestServer {
        $0.media = [Repository.clips]
        ($0.parallel, $0.queue) = (1, 1)
      }
      // Hundreds of frames take longer than this test does.
      let long = question("What?", ["url": "file://" + Repository.clip, "num_frames": 3000], ["stream": streams])
      let body = try JSONSerialization.data(withJSONObject: long)
      let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n"
      var connections: [Connection] = []
      for (name, count) in [("answers_running", 1), ("queue_length", 1)] {
        let connection = try Connection(port: server.port)
        connection.write(Data(head.utf8) + body)
        connections.append(connection)
        #expect(try await server.comes(name, to: count, within: 300))
      }
      let refused = try await server.post(long)
      try refused.expectError(429, nil, "may wait")
      #expect(Int(refused.headers["retry-after"] ?? "") ?? 0 > 0)
      connections.removeLast()
      #expect(try await server.comes("queue_length", to: 0, within: 10))
      connections.removeLast()
      #expect(try await server.comes("answers_running", to: 0, within: 10))
      #expect(try await server.post(question("How many shapes are there?")).answer() == "2")
    }
  }
#endif
