#if Server
  import Foundation
  import Server
  import Synchronization
  import TestSupport
  import Testing

  /// Addresses of the web in requests.
  @Suite struct FetchTests {
    @Test func publicAddresses() {
      for address in [
        "8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "198.20.0.1", "223.255.255.255", "2606:4700:4700::1111",
        "2a00:1450:4001::1", "2001:4860:4860::8888",
      ] { #expect(FetchRule.isPublic(address), "\(address)") }
      for address in [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.5", "224.0.0.1", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1",
        "::ffff:8.8.8.8", "64:ff9b::7f00:1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::1",
        "fe80::1%eth0", "fec0::1", "localhost", "", "8.8.8",
      ] { #expect(!FetchRule.isPublic(address), "\(address)") }
    }

    /// A server of files on this machine, and one that may fetch from it by two names.
    private func servers(limit: Int = 2 << 30, allows: Bool = true) async throws -> (TestServer, FileServer) {
      let files = try FileServer([
        "/clip.mp4": .content(try Repository.bytes()), "/moved": .redirection("http://localhost:PORT/clip.mp4"),
        "/away": .redirection("http://127.0.0.2:PORT/clip.mp4"), "/round": .redirection("/round"), "/empty": .content(Data()),
        "/file": .redirection("file:///etc/passwd"),
      ])
      let server = try await TestServer {
        $0.maximumUpload = limit
        $0.fetch = FetchRule { allows && $0 == "127.0.0.1" }
      }
      return (server, files)
    }

    @Test func fetched() async throws {
      let (server, files) = try await servers()
      for path in ["clip.mp4", "moved"] {
        let reply = try await server.post(question("How many shapes are there?", "http://127.0.0.1:\(files.port)/\(path)"))
        #expect(try reply.answer() == "2", "\(reply.text)")
      }
      let refused = [
        ("http://127.0.0.1:PORT/away", 400, "place"), ("http://127.0.0.2:PORT/clip.mp4", 400, "place"),
        ("http://a@127.0.0.1:PORT/clip.mp4", 422, "could not be fetched"),
        ("http://a:b@127.0.0.1:PORT/clip.mp4", 422, "could not be fetched"),
        ("http://127.0.0.1:PORT/round", 422, "redirects"), ("http://127.0.0.1:PORT/none", 422, "404"),
        ("http://127.0.0.1:PORT/empty", 422, "nothing"), ("http://127.0.0.1:PORT/file", 422, "could not be fetched"),
        ("http://127.0.0.1:1/clip.mp4", 422, "could not be fetched"), ("http://", 422, "could not be fetched"),
      ]
      for (address, status, word) in refused {
        let reply = try await server.post(question("What?", address.replacing("PORT", with: "\(files.port)")))
        try reply.expectError(status, "messages[0].content[0].video_url", word)
      }
      let (small, others) = try await servers(limit: 1000)
      try await small.post(question("What?", "http://127.0.0.1:\(others.port)/clip.mp4"))
        .expectError(413, "messages[0].content[0].video_url", "1000")
    }

    /// What the rule does not allow is not asked.
    @Test func notAsked() async throws {
      let (server, files) = try await servers(allows: false)
      try await server.post(question("What?", "http://127.0.0.1:\(files.port)/clip.mp4"))
        .expectError(400, "messages[0].content[0].video_url", "place")
      #expect(files.requests == 0)
      let plain = try await TestServer { $0.fetch = .publicAddresses }
      for host in ["127.0.0.1", "localhost", "[::1]", "2130706433", "0"] {
        try await plain.post(question("What?", "http://\(host):\(files.port)/clip.mp4"))
          .expectError(400, "messages[0].content[0].video_url", "place")
      }
      #expect(files.requests == 0)
    }
  }

  /// Answers `GET` on this machine, until nobody holds it.
  private final class FileServer: Sendable {
    enum Answer: Sendable {
      case content(Data)
      case redirection(String)
    }
    let port: Int
    private let descriptor: Int32
    private let count = Mutex(0)
    var requests: Int { count.withLock { $0 } }

    init(_ answers: [String: Answer]) throws {
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      let status = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, length) | listen(descriptor, 16) | getsockname(descriptor, $0, &length)
        }
      }
      try #require(status == 0, "\(String(cString: strerror(errno)))")
      (self.descriptor, port) = (descriptor, Int(in_port_t(bigEndian: address.sin_port)))
      let port = port
      Thread.detachNewThread { [weak self] in
        while true {
          let connection = accept(descriptor, nil, nil)
          if connection < 0 { return }
          self?.count.withLock { $0 += 1 }
          Self.answer(connection, answers, port)
          close(connection)
        }
      }
    }

    deinit {
      shutdown(descriptor, Int32(SHUT_RDWR))
      close(descriptor)
    }

    private static func answer(_ connection: Int32, _ answers: [String: Answer], _ port: Int) {
      var head = Data()
      var buffer = [UInt8](repeating: 0, count: 4096)
      while !head.contains(Data("\r\n\r\n".utf8)) {
        let count = recv(connection, &buffer, buffer.count, 0)
        if count <= 0 { return }
        head += buffer[..<count]
      }
      let path = String(decoding: head, as: UTF8.self).split(separator: " ").dropFirst().first.map(String.init) ?? ""
      var reply: Data
      switch answers[path] {
      case .content(let content): reply = Data("HTTP/1.1 200 OK\r\nContent-Length: \(content.count)\r\n\r\n".utf8) + content
      case .redirection(let place):
        let place = place.replacing("PORT", with: "\(port)")
        reply = Data("HTTP/1.1 302 Found\r\nLocation: \(place)\r\nContent-Length: 0\r\n\r\n".utf8)
      case nil: reply = Data("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".utf8)
      }
      while !reply.isEmpty {
        let count = reply.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count <= 0 { return }
        reply = Data(reply.dropFirst(count))
      }
    }
  }
#endif
