#if Server
  import Foundation
  import Server
  import SlowFast
  import TestSupport
  import Testing

  enum Repository {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .path
    /// A trained model, and clips of its world.
    static let checkpoint = root + "/benchmarks/demo/checkpoint"
    static let clips = root + "/benchmarks/demo/examples/clips"
    static let clip = clips + "/003.mp4"

    static func bytes(of path: String = clip) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }
  }

  /// A server inside this process, at a port of its own.
  final class TestServer: Sendable {
    let port: Int
    private let work: Task<Void, any Error>

    init(_ change: (inout ServerOptions) -> Void = { _ in }) async throws {
      var options = ServerOptions()
      options.port = 0
      change(&options)
      let server = try HTTPServer(try VideoLanguageModel(path: Repository.checkpoint), options)
      let (ports, tell) = AsyncStream<Int>.makeStream()
      work = Task {
        defer { tell.finish() }
        try await server.run(endingAt: [], interruptedBy: []) { tell.yield($0) }
      }
      var iterator = ports.makeAsyncIterator()
      port = try #require(await iterator.next(), "the server does not listen")
    }

    deinit { work.cancel() }

    /// Files of the demonstration may be named.
    static let shared = Task { try await TestServer { $0.media = [Repository.clips] } }

    /// A request on a connection of its own, and the answer to it.
    func send(
      _ method: String, _ path: String, _ body: Data = Data(), headers: [String: String] = [:], keepsOpen: Bool = true
    ) async throws -> Reply {
      var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: \(body.count)\r\n"
      for (name, value) in headers { head += "\(name): \(value)\r\n" }
      return try await Reply(try Connection(port: port).exchange(Data((head + "\r\n").utf8) + body))
    }

    func post(_ object: [String: Any], to path: String = "/v1/chat/completions") async throws -> Reply {
      // The order of a schema's keys is the order of an answer's.
      let body = try JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
      return try await send("POST", path, body, headers: ["Content-Type": "application/json"])
    }

    /// A form with a file.
    func upload(_ content: Data, filename: String = "clip.mp4") async throws -> Reply {
      var body = Data("--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nvision\r\n".utf8)
      body += Data("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\(filename)\"\r\n\r\n".utf8) + content
      body += Data("\r\n--b--\r\n".utf8)
      return try await send("POST", "/v1/files", body, headers: ["Content-Type": "multipart/form-data; boundary=b"])
    }

    /// A value of `/metrics`.
    func metric(_ name: String) async throws -> Int {
      let text = try await send("GET", "/metrics").text
      let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("slowfast_\(name) ") })
      return try #require(Int(line.split(separator: " ")[1]))
    }

    /// Whether a value of `/metrics` comes to be so within some seconds.
    func comes(_ name: String, to value: Int, within seconds: Double) async throws -> Bool {
      let end = Date() + seconds
      while Date() < end {
        if try await metric(name) == value { return true }
        try await Task.sleep(for: .milliseconds(20))
      }
      return false
    }
  }

  /// A question about a clip of the demonstration.
  func question(_ text: String, _ clip: Any? = "file://" + Repository.clip, _ more: [String: Any] = [:]) -> [String: Any] {
    var parts: [[String: Any]] = [["type": "text", "text": text]]
    if let clip { parts.insert(["type": "video_url", "video_url": clip], at: 0) }
    return ["messages": [["role": "user", "content": parts]]].merging(more) { _, new in new }
  }

  /// A connection, on threads of its own: tests and server share those that tasks run on.
  final class Connection: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = in_port_t(port).bigEndian
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      let status = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
      try #require(status == 0, "\(String(cString: strerror(errno)))")
      var limit = timeval(tv_sec: 120, tv_usec: 0)
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Sends all, and reads until the other side closes.
    func exchange(_ data: Data) async throws -> Data {
      await withCheckedContinuation { continuation in
        Thread.detachNewThread { [self] in
          write(data)
          var received = Data()
          while let piece = read(), !piece.isEmpty { received += piece }
          continuation.resume(returning: received)
        }
      }
    }

    func write(_ data: Data) {
      data.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) -> Void in
        var rest = bytes
        while !rest.isEmpty {
          let count = send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
          if count <= 0 { return }
          rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
      }
    }

    private func read() -> Data? {
      var buffer = [UInt8](repeating: 0, count: 65_536)
      let count = recv(descriptor, &buffer, buffer.count, 0)
      return count < 0 ? nil : Data(buffer[..<count])
    }
  }

  /// What came back.
  struct Reply: Sendable {
    var status: Int
    var headers: [String: String]
    var body: Data

    var text: String { String(decoding: body, as: UTF8.self) }

    init(_ data: Data) throws {
      let end = try #require(data.range(of: Data("\r\n\r\n".utf8)), "\(String(decoding: data, as: UTF8.self))")
      let lines = String(decoding: data[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
      status = try #require(Int(lines[0].split(separator: " ")[1]))
      headers = [:]
      for line in lines.dropFirst() {
        let parts = line.split(separator: ":", maxSplits: 1)
        headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
      }
      body = Data(data[end.upperBound...])
      if headers["transfer-encoding"] == "chunked" { body = try Self.joined(body) }
    }

    private static func joined(_ chunks: Data) throws -> Data {
      var (rest, whole) = (chunks, Data())
      while let line = rest.range(of: Data("\r\n".utf8)) {
        let count = try #require(Int(String(decoding: rest[..<line.lowerBound], as: UTF8.self), radix: 16))
        whole += rest[line.upperBound..<line.upperBound + count]
        rest = Data(rest[(line.upperBound + count + 2)...])
      }
      return whole
    }

    func json() throws -> [String: Any] { try #require(try JSONSerialization.jsonObject(with: body) as? [String: Any], "\(text)") }

    /// The text of a whole answer.
    func answer() throws -> String {
      let choices = try #require(try json()["choices"] as? [[String: Any]], "\(text)")
      return try #require((choices[0]["message"] as? [String: Any])?["content"] as? String)
    }

    /// The objects of a stream, without its end.
    func events() throws -> [[String: Any]] {
      #expect(text.hasSuffix("data: [DONE]\n\n"), "\(text.suffix(200))")
      var events: [[String: Any]] = []
      for line in text.components(separatedBy: "\n\n") where line.hasPrefix("data: ") && line != "data: [DONE]" {
        events.append(try #require(try JSONSerialization.jsonObject(with: Data(line.utf8.dropFirst(6))) as? [String: Any]))
      }
      return events
    }

    /// OpenAI's object with that status, about that part, with these words in its sentence.
    func expectError(_ status: Int, _ part: String?, _ words: String..., location: SourceLocation = #_sourceLocation) throws {
      #expect(self.status == status, "\(text)", sourceLocation: location)
      let error = try #require(try json()["error"] as? [String: Any], "\(text)", sourceLocation: location)
      #expect(error["param"] as? String == part, "\(text)", sourceLocation: location)
      #expect(error["type"] is String && error.keys.contains("code"), sourceLocation: location)
      let message = error["message"] as? String ?? ""
      #expect(message.hasSuffix(".") && message.first?.isUppercase == true, "\(message)", sourceLocation: location)
      for word in words { #expect(message.contains(word), "\(message)", sourceLocation: location) }
    }
  }
#endif
