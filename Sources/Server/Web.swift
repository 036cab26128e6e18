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

    /// How a file's fetching ended.
    enum Ending: Sendable {
      case whole
      /// A place that the rule does not allow.
      case refused
      /// More bytes than may come.
      case tooLarge
      /// What libcurl says, or the status.
      case failed(String)
    }

    /// Gets what is at an address, piece by piece. Each connection, also of a redirection, is looked at when it is made, so that no name
    /// can stand for two places; redirections from `https:` lead to `https:`.
    static func fetch(
      _ address: String, _ rule: FetchRule, limit: Int, seconds: Int, take: (UnsafeRawBufferPointer) -> Bool
    ) -> Ending {
      guard isReady, let handle = curl_easy_init() else { return .failed("libcurl cannot begin") }
      defer { curl_easy_cleanup(handle) }
      return withoutActuallyEscaping(take) { take in
        let transfer = Transfer(rule, limit, take)
        let owner = Unmanaged.passUnretained(transfer).toOpaque()
        let isEncrypted = address.lowercased().hasPrefix("https:")
        for (option, text) in [
          (CURLOPT_URL, address), (CURLOPT_PROTOCOLS_STR, "http,https"),
          (CURLOPT_REDIR_PROTOCOLS_STR, isEncrypted ? "https" : "http,https"),
          // The environment's proxies would connect to places of their own.
          (CURLOPT_PROXY, ""), (CURLOPT_USERAGENT, "slowfast"),
        ] { curl_set_text(handle, option, text) }
        for (option, number) in [
          (CURLOPT_NOSIGNAL, 1), (CURLOPT_FOLLOWLOCATION, 1), (CURLOPT_MAXREDIRS, 5), (CURLOPT_DISALLOW_USERNAME_IN_URL, 1),
          (CURLOPT_CONNECTTIMEOUT, 10), (CURLOPT_TIMEOUT, seconds), (CURLOPT_LOW_SPEED_LIMIT, 1), (CURLOPT_LOW_SPEED_TIME, 20),
          (CURLOPT_FAILONERROR, 1),
        ] { curl_set_number(handle, option, number) }
        curl_set_taker(handle, Transfer.take, owner)
        curl_set_opener(handle, Transfer.open, owner)
        let code = withExtendedLifetime(transfer) { curl_easy_perform(handle) }
        if transfer.isTooLarge { return .tooLarge }
        if code == CURLE_OK { return .whole }
        if transfer.hasRefused, code == CURLE_COULDNT_CONNECT { return .refused }
        return .failed(code == CURLE_HTTP_RETURNED_ERROR ? "status \(curl_status(handle))" : String(cString: curl_easy_strerror(code)))
      }
    }

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

  /// A file on its way.
  private final class Transfer {
    private let rule: FetchRule
    private let limit: Int
    private let take: (UnsafeRawBufferPointer) -> Bool
    private var count = 0
    private(set) var hasRefused = false
    private(set) var isTooLarge = false

    init(_ rule: FetchRule, _ limit: Int, _ take: @escaping (UnsafeRawBufferPointer) -> Bool) {
      (self.rule, self.limit, self.take) = (rule, limit, take)
    }

    static let take: curl_taker = { bytes, size, count, owner in
      guard let bytes, let owner else { return 0 }
      let transfer = Unmanaged<Transfer>.fromOpaque(owner).takeUnretainedValue()
      transfer.count += size * count
      transfer.isTooLarge = transfer.count > transfer.limit
      guard !transfer.isTooLarge, transfer.take(UnsafeRawBufferPointer(start: bytes, count: size * count)) else { return 0 }
      return size * count
    }

    static let open: curl_opener = { owner, _, address in
      guard let owner, let address else { return curl_no_socket }
      let transfer = Unmanaged<Transfer>.fromOpaque(owner).takeUnretainedValue()
      var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
      guard
        getnameinfo(curl_address_of(address), address.pointee.addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0,
        transfer.rule.allows(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
      else {
        transfer.hasRefused = true
        return curl_no_socket
      }
      return socket(address.pointee.family, address.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue), address.pointee.`protocol`)
    }
  }
#endif
