#if Server
  import Foundation
  import SlowFast

  extension Answering {
    /// Brings what a request names by addresses of the web, each once; where the server fetches nothing, so does this.
    func fetch(_ request: ChatRequest) async throws -> [String: HeldFile] {
      guard let rule = options.fetch else { return [:] }
      var files: [String: HeldFile] = [:]
      let end = ContinuousClock.now + .seconds(Self.fetchingSeconds)
      for media in request.messages.flatMap(\.media) {
        for case .web(let address) in media.addresses where files[address] == nil {
          let place = try await fetches.enter()
          let left = Int((end - .now) / .seconds(1))
          guard left > 0 else {
            throw APIError(
              422, "What the request names takes more than \(Self.fetchingSeconds) seconds to fetch.", media.path, code: "fetch_failed")
          }
          files[address] = try await HTTPServer.apart { [options] () throws(APIError) in
            defer { withExtendedLifetime(place) {} }
            return try Self.fetch(address, rule, limit: options.maximumUpload, seconds: left, media.path)
          }
        }
      }
      return files
    }

    /// For all that a request names.
    private static let fetchingSeconds = 120

    private static func fetch(
      _ address: String, _ rule: FetchRule, limit: Int, seconds: Int, _ path: String
    ) throws(APIError) -> HeldFile {
      let file = try HeldFile.make()
      var problem: APIError?
      let ending = Web.fetch(address, rule, limit: limit, seconds: seconds) { bytes in
        do throws(APIError) {
          try file.write(bytes)
          return true
        } catch {
          problem = error
          return false
        }
      }
      if var problem {
        problem.parameter = path
        throw problem
      }
      switch ending {
      case .whole: break
      case .refused: throw APIError(400, "The address is of a place that nothing is fetched from.", path, code: "url_not_allowed")
      case .tooLarge: throw APIError(413, "What is at the address has more than \(limit) bytes.", path, code: "too_large")
      case .failed(let reason): throw APIError(422, "The address could not be fetched: \(reason).", path, code: "fetch_failed")
      }
      if file.byteCount == 0 { throw APIError(422, "There is nothing at the address.", path, code: "fetch_failed") }
      return file
    }
  }
#endif
