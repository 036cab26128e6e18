import Foundation
import SlowFast
import Synchronization

/// Files that clients have uploaded: they have no names of the clients', live as long as the server, and are encoded before anyone asks.
final class Uploads: Sendable {
  struct Upload: Sendable {
    var id: String
    /// As the client calls it: told back, and used for nothing else.
    var filename: String
    var purpose: String
    var created: Int
    var file: HeldFile
    var state = State.waiting
  }

  /// How far an upload is.
  enum State: Sendable {
    case waiting
    case encoding(frame: Int, of: Int)
    case ready
    /// What is wrong with it.
    case failed(APIError)
  }

  private struct Kept {
    var upload: Upload
    var work: Task<Void, Never>?
  }
  private let kept = Mutex<[String: Kept]>([:])
  private let limit: Int

  /// - Parameter limit: Each takes a descriptor, and its place on the disk.
  init(limit: Int = 1000) { self.limit = limit }

  var count: Int { kept.withLock { $0.count } }

  /// In the order of their coming.
  var all: [Upload] { kept.withLock { $0.values.map(\.upload) }.sorted { ($0.created, $0.id) < ($1.created, $1.id) } }

  private static func missing(_ id: String) -> APIError {
    APIError(404, "There is no upload \(JSON.string(String(id.prefix(64))).text).", code: "file_not_found")
  }

  func upload(_ id: String) throws(APIError) -> Upload {
    guard let upload = kept.withLock({ $0[id]?.upload }) else { throw Self.missing(id) }
    return upload
  }

  func file(_ id: String) throws(APIError) -> HeldFile { try upload(id).file }

  /// Keeps a file, and begins to work on it; `encode` tells its states. Throws where there are too many.
  func add(
    _ file: HeldFile, filename: String, purpose: String,
    encode: @escaping @Sendable (HeldFile, _ tell: @Sendable (State) -> Void) async -> Void
  ) throws(APIError) -> Upload {
    let id = "file-" + Identifier.make()
    let upload = Upload(
      id: id, filename: filename, purpose: purpose, created: Int(Date().timeIntervalSince1970), file: file)
    let isFull = kept.withLock { kept in
      if kept.count >= limit { return true }
      kept[id] = Kept(upload: upload)
      return false
    }
    if isFull {
      throw APIError(503, "There are \(limit) uploads, no more are kept: delete one with DELETE /v1/files/ID.", code: "no_room")
    }
    let work = Task { [self] in
      await encode(file) { state in kept.withLock { $0[id]?.upload.state = state } }
    }
    kept.withLock { $0[id]?.work = work }
    return upload
  }

  /// Forgets it; what is being made of it is stopped.
  func remove(_ id: String) throws(APIError) {
    guard let gone = kept.withLock({ $0.removeValue(forKey: id) }) else { throw Self.missing(id) }
    gone.work?.cancel()
  }

  func removeAll() {
    let all = kept.withLock { kept in
      defer { kept = [:] }
      return Array(kept.values)
    }
    for gone in all { gone.work?.cancel() }
  }

  /// Waits until nothing is made of it any more, so that a question finds it done.
  func settle(_ id: String) async {
    guard let work = kept.withLock({ $0[id]?.work }) else { return }
    let (ends, end) = AsyncStream<Void>.makeStream()
    let waiting = Task {
      await work.value
      end.finish()
    }
    // A task that is cancelled waits no longer.
    for await _ in ends {}
    waiting.cancel()
  }
}

extension Uploads.Upload {
  /// OpenAI's object of a file, with its state.
  var json: JSON {
    let (status, details): (String, JSON) =
      switch state {
      case .waiting, .encoding: ("uploaded", .null)
      case .ready: ("processed", .null)
      case .failed(let error): ("error", .string(error.message))
      }
    var progress: JSON = ["stage": "waiting", "done": 0, "total": 0]
    switch state {
    case .waiting: break
    case .encoding(let frame, let total): progress = ["stage": "encoding", "done": .integer(frame), "total": .integer(total)]
    case .ready: progress = ["stage": "ready", "done": 1, "total": 1]
    case .failed: progress = ["stage": "failed", "done": 0, "total": 0]
    }
    return [
      "id": .string(id), "object": "file", "bytes": .integer(file.byteCount), "created_at": .integer(created), "expires_at": nil,
      "filename": .string(filename), "purpose": .string(purpose), "status": .string(status), "status_details": details,
      "slowfast": ["progress": progress],
    ]
  }
}

/// What a client sends to be kept: a file, and what it is for.
struct UploadForm: Sendable {
  private(set) var file: HeldFile?
  private(set) var filename = "upload"
  private(set) var purpose = "vision"
  private var part: String?
  private var text: [UInt8] = []
  private var byteCount = 0

  /// Takes in a piece of the form.
  mutating func take(_ event: Multipart.Event, limit: Int) throws(APIError) {
    switch event {
    case .part(let name, let filename):
      endText()
      part = name
      guard name == "file" else { return }
      if file != nil { throw APIError(400, "There are two files, expected one.", "file") }
      file = try HeldFile.make()
      // Without folders, and of a length that a name has.
      let last = (filename ?? "upload").split(whereSeparator: { $0 == "/" || $0 == "\\" }).last.map(String.init) ?? "upload"
      self.filename = String(last.prefix(255))
    case .bytes(let bytes):
      if part == "file", let file {
        byteCount += bytes.count
        if byteCount > limit { throw APIError(413, "The file has more than \(limit) bytes.", "file", code: "too_large") }
        try file.write(bytes)
      } else {
        text += bytes
        if text.count > 4096 { throw APIError(400, "A field has more than 4096 bytes.", part) }
      }
    case .end: endText()
    }
  }

  private mutating func endText() {
    if part == "purpose" { purpose = String(decoding: text, as: UTF8.self) }
    text = []
    part = nil
  }
}

extension Answering {
  /// Keeps an upload and begins to encode it.
  func keep(_ form: UploadForm) throws(APIError) -> JSON {
    guard let file = form.file else { throw APIError(400, "There is no file in the form.", "file") }
    if file.byteCount == 0 { throw APIError(400, "The file is empty.", "file") }
    do throws(SlowFastError) { _ = try ClipSource(path: file.path) } catch { throw Self.error(error, about: [file], at: "file") }
    return try uploads.add(file, filename: form.filename, purpose: form.purpose) { [self] file, tell in await encode(file, tell) }.json
  }

  /// The frames of an upload that the model sees with the sampling of `query`, as one picture, with their times; of many frames some.
  func frames(of id: String, _ query: [String: String], isCancelled: @escaping () -> Bool) throws(APIError) -> JSON {
    let file = try uploads.file(id)
    var numbers: [JSON.Member] = []
    for (key, text) in query {
      guard let number = Double(text), number.isFinite else {
        throw APIError(400, "It is \(JSON.string(text).text), expected a number.", key)
      }
      numbers.append(.init(key: key, value: Int(exactly: number).map(JSON.integer) ?? .number(number)))
    }
    let asked = try ChatRequest.Sampling(Fields(.object(numbers), ""))
    do {
      let source = try MediaInput(opening: file.path)
      var request = sampling(asked, pictures: nil)
      request.frames = min(request.frames, 144)
      let (report, sheet) = try FrameExport.sheet(source, request, isCancelled: isCancelled)
      let frames = report.frames.map { frame -> JSON in ["index": .integer(frame.index), "seconds": .number(frame.seconds)] }
      return [
        "object": "frames", "frames": .array(frames), "decoded_frames": .integer(report.decodedFrames),
        "sheet": .string("data:image/jpeg;base64," + Data(sheet).base64EncodedString()),
      ]
    } catch { throw Self.error(error, about: [file], at: nil) }
  }
}
