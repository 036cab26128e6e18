#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What lies at a path, told by its first bytes, for errors that say what was found where something else belongs.
package enum FileKind: Equatable, Sendable {
  case missing
  /// A link to a name where nothing is: what an interrupted download leaves in a hub's cache.
  case danglingLink(to: String)
  case directory
  /// A device, a pipe or a socket.
  case special
  case empty
  case modelFile, safetensors, json, gguf, zip, video, picture
  /// A few lines of text that stand for a file that Git LFS has not brought.
  case lfsPointer
  case other

  package init(path: String) {
    var status = stat()
    guard path.withFileName({ stat($0, &status) }) == 0 else {
      let target = Self.target(path)
      self = target.map { .danglingLink(to: $0) } ?? .missing
      return
    }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: self = .directory
    case S_IFREG: self = Self.content(Self.head(path))
    default: self = .special
    }
  }

  /// Whether there is anything of that name, be it a link that leads nowhere.
  package static func isThere(_ path: String) -> Bool {
    var status = stat()
    return path.withFileName { lstat($0, &status) } == 0
  }

  private static func target(_ path: String) -> String? {
    let limit = Int(PATH_MAX)
    var bytes = [CChar](repeating: 0, count: limit)
    let count = path.withFileName { readlink($0, &bytes, limit) }
    return count > 0 ? String(fileName: bytes[..<count].map(UInt8.init(bitPattern:))) : nil
  }

  private static func head(_ path: String) -> [UInt8] {
    let descriptor = path.withFileName { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = read(descriptor, &bytes, bytes.count)
    return Array(bytes[..<max(0, count)])
  }

  static func content(_ head: [UInt8]) -> FileKind {
    if head.isEmpty { return .empty }
    func begins(_ bytes: [UInt8], at offset: Int = 0) -> Bool { head.dropFirst(offset).starts(with: bytes) }
    func begins(_ text: String, at offset: Int = 0) -> Bool { begins(Array(text.utf8), at: offset) }
    if begins(lfsBeginning) { return .lfsPointer }
    if begins([0x89] + Array("SFQ".utf8)) { return .modelFile }
    if begins("GGUF") { return .gguf }
    if begins("PK\u{3}\u{4}") { return .zip }
    if begins([0xFF, 0xD8, 0xFF]) || begins([0x89] + Array("PNG".utf8)) || begins("GIF8") || begins("II*\0") || begins("MM\0*")
      || begins("RIFF") && begins("WEBP", at: 8)
    {
      return .picture
    }
    if begins("ftyp", at: 4) || begins("moov", at: 4) || begins("mdat", at: 4) || begins([0x1A, 0x45, 0xDF, 0xA3]) || begins("RIFF")
      || begins("OggS") || begins("FLV") || begins([0, 0, 1, 0xBA]) || begins([0, 0, 1, 0xB3])
    {
      return .video
    }
    if head.count > 8, head[8] == UInt8(ascii: "{"), head[5...7].allSatisfy({ $0 == 0 }) { return .safetensors }
    if head.first(where: { ![0x20, 0x0A, 0x0D, 0x09].contains($0) }) == UInt8(ascii: "{") { return .json }
    return .other
  }

  /// What a file is by the end of its name alone: a video, a picture, or neither.
  package init?(name: String) {
    guard let dot = name.lastIndex(of: ".") else { return nil }
    let suffix = name[name.index(after: dot)...].lowercased()
    guard let kind = Self.videoSuffixes.contains(suffix) ? FileKind.video : Self.pictureSuffixes.contains(suffix) ? .picture : nil else {
      return nil
    }
    self = kind
  }

  private static let videoSuffixes = Set(
    """
    3g2 3gp asf avi divx f4v flv h264 h265 hevc ivf m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts mxf nut obu ogv qt rm rmvb ts vob \
    webm wmv y4m
    """.split(separator: " ").map(String.init))
  private static let pictureSuffixes = Set(
    "avif bmp gif heic heif jpeg jpg png tif tiff webp".split(separator: " ").map(String.init))

  private static let lfsBeginning = "version https://git-lfs.github.com/spec/"

  /// What an error says of a file that cannot be what its name promises; nil where there is nothing to say.
  package var instead: String? {
    switch self {
    case .danglingLink(let target): "a link to \(target.quoted), which is missing: the download was not finished, repeat it"
    case .directory: "a directory, expected a file"
    case .lfsPointer: "a Git LFS pointer, not the file itself: fetch it with \"git lfs pull\", or download it with \"hf download\""
    default: nil
    }
  }

  /// What an error says of a path where a model belongs: an .sfq file or a checkpoint's directory; nil where there is nothing to say.
  package func insteadOfModel(_ path: String) -> String? {
    switch self {
    case .missing:
      Self.isHubID(path)
        ? "no such file or directory; if it is a model of the Hugging Face hub, "
          + "download it first: hf download \(path) --local-dir DIRECTORY"
        : "no such file or directory"
    case .video: "a video, expected a model: the model comes first, then the clip"
    case .picture: "a picture, expected a model: the model comes first, then the clip"
    case .safetensors, .json: "one file of a checkpoint, expected the checkpoint's directory, or an .sfq file"
    case .gguf: "a GGUF file, whose models are not supported; expected an .sfq file or a checkpoint's directory"
    case .zip: "a ZIP or PyTorch file, expected an .sfq file or a directory with safetensors"
    default: instead
    }
  }

  /// What an error says of a path where a clip belongs; nil where there is nothing to say.
  package func insteadOfClip(_ path: String) -> String? {
    switch self {
    case .modelFile: "a model file, expected a clip: the model comes first, then the clip"
    case .safetensors, .gguf: "a model's weights, expected a clip: the model comes first, then the clip"
    case .directory where FileKind(path: path + "/config.json") == .json:
      "a checkpoint's directory, expected a clip: the model comes first, then the clip"
    case .danglingLink(let target): "a link to \(target.quoted), which is missing"
    case .lfsPointer: instead
    default: nil
    }
  }

  /// What it is in place of a video that is being written; nil where it may become one.
  package func insteadOfVideo(_ path: String) -> String? {
    switch self {
    case .picture: "a picture, expected a video that is being written"
    case .zip: "an archive, expected a video that is being written"
    case .json: "JSON, expected a video that is being written"
    default: insteadOfClip(path)
    }
  }

  /// `owner/name`, which could be a path as well.
  private static func isHubID(_ path: String) -> Bool {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    func isName(_ part: Substring) -> Bool {
      part.first.map { $0.isASCII && ($0.isLetter || $0.isNumber) } == true
        && part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    }
    return parts.count == 2 && parts.allSatisfy(isName) && FileKind(path: String(parts[0])) == .missing && !path.hasSuffix(".sfq")
  }
}
