import Foundation
import ModelFile
import Support
import Tensors
import Video

/// What an entry of a clip cache was computed from, in words. Entries are the same only where all of it is.
package struct CacheKey: Sendable, Equatable {
  package let text: String

  /// Changes whenever what is computed, or how it is laid out, does.
  private static let version = 2

  private init(_ lines: [String]) { text = (["slowfast clip cache \(Self.version)"] + lines).joined(separator: "\n") }

  /// A file name without its suffix: 128 bits of the text.
  package var name: String { [text, "again " + text].map { checksum(Array($0.utf8)).hexadecimal() }.joined() }

  /// The slow and fast tokens of one clip. `content` identifies what its files hold.
  package static func features(
    content: String, sampling: SamplingRequest, reuseThreshold: Double?, model: VideoLanguageModel, kernels: String, isAlone: Bool
  ) -> CacheKey {
    let range = [sampling.start, sampling.end].map { $0.map { "\($0)" } ?? "-" }.joined(separator: " to ")
    return CacheKey(
      [
        "features", model.identity, "kernels \(kernels)", "reuse \(reuseThreshold.map { "\($0)" } ?? "-")",
        // Nothing for those that were kept before there was a choice.
      ] + (isAlone ? [] : ["beside others"]) + [
        "frames \(sampling.frames), \(sampling.rule), \(range), stream \(sampling.stream.map { "\($0)" } ?? "-")", content,
      ])
  }

  /// Keys and values of the prompt up to the last clip. `text` are its token ids, `clips` the keys of the clips between them.
  package static func prefix(text: [Int32], clips: [CacheKey], cacheType: ScalarType) -> CacheKey {
    CacheKey(["prefix", "values \(cacheType)", "ids \(text)"] + clips.map(\.text))
  }
}

extension ClipSource {
  /// Checksums and lengths of everything that the clip is made of.
  package func contentIdentity() throws(SlowFastError) -> String {
    switch self {
    case .picture(let image): return "picture \(image.width)x\(image.height) \(checksum(image.pixels))"
    case .frames(let images):
      return "pixels " + images.map { "\($0.width)x\($0.height) \(checksum($0.pixels))" }.joined(separator: " ")
    case .visual(let source):
      switch source.kind {
      case .video, .image: return "file " + (try fileIdentity(source.path))
      case .directory(let paths):
        var parts: [String] = []
        for path in paths { parts.append(try fileIdentity(path)) }
        return "directory " + parts.joined(separator: " ")
      }
    }
  }
}

/// The files that a clip is made of, as they were at some time.
package struct ClipFiles {
  private let states: [(path: String, status: FileStatus?)]

  package init(_ source: ClipSource) { states = source.paths.map { ($0, FileStatus(path: $0)) } }

  /// Nothing was done to them since.
  package var isUntouched: Bool {
    states.allSatisfy { path, before in
      guard let before, let now = FileStatus(path: path) else { return false }
      return now.isUntouched(since: before)
    }
  }
}

extension ClipSource {
  /// The names of the files that it reads; none for frames in memory.
  package var paths: [String] { if case .visual(let source) = self { source.paths } else { [] } }

  /// As messages name it.
  package var name: String { if case .visual(let source) = self { source.path } else { "frames" } }
}

/// A file's length and the checksum of its blocks' checksums.
private func fileIdentity(_ path: String) throws(SlowFastError) -> String {
  do {
    let file = FileHandle(fileDescriptor: try SystemCalls.open(path, O_RDONLY | O_NONBLOCK), closeOnDealloc: true)
    var sums: [UInt8] = []
    var length = 0
    while let block = try file.read(upToCount: 4 << 20), !block.isEmpty {
      length += block.count
      let sum = block.withUnsafeBytes { checksum($0) }
      withUnsafeBytes(of: sum.littleEndian) { sums += Array($0) }
    }
    return "\(length):\(checksum(sums))"
  } catch { throw SlowFastError(VideoError.unreadable(path: path, reason: (error as? SystemError)?.message ?? "\(error)")) }
}
