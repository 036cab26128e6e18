import Foundation

/// What is at a path.
enum Route: Equatable {
  case page, health, ready, metrics, document, models, chat, files, streams, unknown
  case model(String)
  case file(String)
  case frames(String)
  case stream(String)
  case streamFrames(String)

  init(_ path: String) {
    let parts = path.split(separator: "/").map { String($0).removingPercentEncoding ?? String($0) }
    switch (parts.count, parts.first, parts.dropFirst().first) {
    case (0, _, _): self = .page
    case (1, "openapi.json", _): self = .document
    case (1, "health", _): self = .health
    case (1, "ready", _): self = .ready
    case (2, "v1", "models"): self = .models
    case (3, "v1", "models"): self = .model(parts[2])
    case (3, "v1", "chat") where parts[2] == "completions": self = .chat
    case (1, "metrics", _): self = .metrics
    case (2, "v1", "files"): self = .files
    case (3, "v1", "files"): self = .file(parts[2])
    case (4, "v1", "files") where parts[3] == "frames": self = .frames(parts[2])
    case (2, "v1", "streams"): self = .streams
    case (3, "v1", "streams"): self = .stream(parts[2])
    case (4, "v1", "streams") where parts[3] == "frames": self = .streamFrames(parts[2])
    default: self = .unknown
    }
  }

  /// For logs and metrics: no more names than there are routes.
  var name: String {
    switch self {
    case .page: "/"
    case .document: "/openapi.json"
    case .health: "/health"
    case .ready: "/ready"
    case .models: "/v1/models"
    case .model: "/v1/models/{model}"
    case .chat: "/v1/chat/completions"
    case .metrics: "/metrics"
    case .files: "/v1/files"
    case .file: "/v1/files/{id}"
    case .frames: "/v1/files/{id}/frames"
    case .streams: "/v1/streams"
    case .stream: "/v1/streams/{name}"
    case .streamFrames: "/v1/streams/{name}/frames"
    case .unknown: "other"
    }
  }

  var methods: [String] {
    switch self {
    case .chat: ["POST"]
    case .files: ["GET", "POST"]
    case .file: ["GET", "DELETE"]
    default: ["GET"]
    }
  }

  /// A method's name, or that it is another one.
  func method(_ name: String) -> String { ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(name) ? name : "OTHER" }

  /// What anybody may see, a key or not.
  var isOpen: Bool { [.page, .document, .health, .ready].contains(self) }
}
