#if Server
  import CCurl
  import Foundation

  /// HTTP as a client, by libcurl. Calls wait: not for a task's own thread.
  enum Web {
    /// What kept a request from its answer: one line.
    struct Failure: Error, CustomStringConvertible {
      var description: String
      /// The same request may have an answer later.
      var isTransient: Bool
    }

    private static let isReady: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// Posts JSON. Any status of 200 to 299 is an answer, and what it says is not looked at; redirections are not followed.
    static func post(_ body: String, to address: String, seconds: Int) throws(Failure) {
      guard isReady, let handle = curl_easy_init() else { throw Failure(description: "libcurl cannot begin", isTransient: true) }
      defer { curl_easy_cleanup(handle) }
      var headers = curl_slist_append(nil, "Content-Type: application/json")
      // No question whether the body may come.
      headers = curl_slist_append(headers, "Expect:")
      defer { curl_slist_free_all(headers) }
      curl_set_text(handle, CURLOPT_URL, address)
      curl_set_text(handle, CURLOPT_PROTOCOLS_STR, "http,https")
      curl_set_list(handle, CURLOPT_HTTPHEADER, headers)
      curl_set_number(handle, CURLOPT_NOSIGNAL, 1)
      curl_set_number(handle, CURLOPT_TIMEOUT, seconds)
      _ = Array(body.utf8).withUnsafeBytes { curl_set_bytes(handle, $0.baseAddress, $0.count) }
      curl_set_taker(handle, { _, size, count, _ in size * count }, nil)
      let code = curl_easy_perform(handle)
      guard code == CURLE_OK else {
        let isWrong = [CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL].contains { $0 == code }
        throw Failure(description: String(cString: curl_easy_strerror(code)), isTransient: !isWrong)
      }
      let status = curl_status(handle)
      guard (200..<300).contains(status) else {
        throw Failure(description: "status \(status)", isTransient: status >= 500 || status == 408 || status == 429)
      }
    }
  }
#endif
