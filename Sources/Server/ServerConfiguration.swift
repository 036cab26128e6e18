#if Server
  import SlowFast
  import Yams

  extension ServerOptions {
    /// What is wrong with a configuration: one line.
    public struct ConfigurationError: Error, CustomStringConvertible, Sendable {
      public let description: String
    }

    /// Takes over what a text in YAML says: a mapping of the options' names, as the command has them, to values.
    ///
    /// - Parameter byteCount: Reads what is written as `500M`.
    public mutating func read(yaml: String, byteCount: (String) -> Int?) throws(ConfigurationError) {
      let node: Node?
      do { node = try Yams.compose(yaml: yaml) } catch {
        // One line of several: what comes after the first shows the place.
        throw ConfigurationError(description: "\(error)".split(whereSeparator: \.isNewline).joined(separator: " "))
      }
      guard let node, let mapping = node.mapping else {
        // An empty file says nothing.
        if node == nil || node?.null != nil { return }
        throw ConfigurationError(description: "expected names and values, as port: 8080")
      }
      for (key, value) in mapping {
        let name = key.string ?? ""
        func wrong(_ expected: String) -> ConfigurationError {
          let line = value.mark.map { "line \($0.line): " } ?? ""
          return ConfigurationError(description: "\(line)\(name) is \(value.string ?? "a list or a mapping"), expected \(expected)")
        }
        func number(_ range: ClosedRange<Int>) throws(ConfigurationError) -> Int {
          guard let number = value.int, range.contains(number) else { throw wrong("\(range.lowerBound) to \(range.upperBound)") }
          return number
        }
        func text() throws(ConfigurationError) -> String {
          guard let text = value.string, !text.isEmpty else { throw wrong("a text") }
          return text
        }
        func bytes() throws(ConfigurationError) -> Int {
          guard let text = value.string, let bytes = byteCount(text) else { throw wrong("bytes, such as 500M or 8G") }
          return bytes
        }
        switch name {
        case "model": model = try text()
        case "host": host = try text()
        case "port": port = try number(0...65_535)
        case "name": self.name = try text()
        case "api-key": apiKey = try text()
        case "media":
          if let list = value.sequence {
            media = []
            for directory in list {
              guard let directory = directory.string else { throw wrong("directories") }
              media.append(directory)
            }
          } else {
            media = [try text()]
          }
        case "fetch":
          guard let isAllowed = value.bool else { throw wrong("true or false") }
          fetch = isAllowed ? .publicAddresses : nil
        case "cache": cache = try text()
        case "cache-size": cacheSize = try bytes()
        case "parallel": parallel = try number(1...64)
        case "queue": queue = try number(0...100_000)
        case "frames": frames = try number(1...65_536)
        case "fast-frames": fastFrames = try number(1...65_536)
        case "reuse":
          guard let difference = value.float, (0...1).contains(difference) else { throw wrong("0 to 1") }
          reuse = difference
        case "threads": threads = try number(1...1024)
        case "every":
          guard let seconds = value.float, LiveOptions.intervals.contains(seconds) else {
            throw wrong("\(LiveOptions.intervals.lowerBound) to 3600 seconds")
          }
          live.every = seconds
        case "window": live.window = try number(1...65_536)
        case "watch":
          guard let sources = value.mapping else { throw wrong("names and addresses, as door: rtsp://…") }
          streams = []
          for (key, value) in sources {
            let line = value.mark.map { "line \($0.line): " } ?? ""
            guard let name = key.string, NamedSource.isName(name), let address = value.string else {
              throw ConfigurationError(
                description: "\(line)watch has \(key.string ?? "no name"), expected a name of letters and digits, and an address")
            }
            do throws(SlowFastError) { streams.append(try NamedSource(name: name, address: address)) } catch {
              throw ConfigurationError(description: "\(line)watch: \(name): \(error)")
            }
          }
        case "stream-cache": streamCache = try text()
        case "rule": ruleFile = try text()
        case "max-upload": maximumUpload = try bytes()
        default:
          let line = key.mark.map { "line \($0.line): " } ?? ""
          throw ConfigurationError(description: "\(line)\(name) is no option of a server")
        }
      }
    }
  }
#endif
