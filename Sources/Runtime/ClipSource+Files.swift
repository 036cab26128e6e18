import Safetensors
import Support
import Video

extension ClipSource {
  /// A video, an image or a directory of images.
  public init(path: String) throws(SlowFastError) {
    self = .visual(try MediaInput(opening: path))
  }

  /// Pictures as the frames of a clip, one a second.
  public init(pictures paths: [String]) throws(SlowFastError) {
    self = .visual(try classified { () throws(VideoError) in try MediaInput(pictures: paths) })
  }

  /// The pictures of a safetensors file: its tensor `image`, or `image0`, `image1`, … , each [H,W,3] u8.
  public static func pictures(file path: String) throws(SlowFastError) -> [ClipSource] {
    do {
      let file = try SafetensorsFile(path: path)
      let names = file.tensors.map(\.name)
      let wanted = names.contains("image") ? ["image"] : (0..<names.count).map { "image\($0)" }.prefix { names.contains($0) }
      guard !wanted.isEmpty else {
        throw SlowFastError.notAClip(path: path, reason: "it has neither a tensor image nor image0")
      }
      return try wanted.map { name in
        let shape = try file.tensor(name).shape
        guard shape.count == 3, shape[2] == 3, shape.allSatisfy({ $0 > 0 }) else {
          throw SlowFastError.notAClip(path: path, reason: "\(name) has shape \(shape), expected [H, W, 3]")
        }
        return .picture(try RGBImage(width: shape[1], height: shape[0], pixels: try file.uint8s(of: name)))
      }
    } catch {
      throw error as? SlowFastError ?? SlowFastError(.invalidClip, "\(error)", underlying: error)
    }
  }

  /// A safetensors file whose tensor `frames` is [T,H,W,3] u8.
  public init(framesFile path: String) throws(SlowFastError) {
    do {
      let file = try SafetensorsFile(path: path)
      let shape = try file.tensor("frames").shape
      guard shape.count == 4, shape[3] == 3, shape.allSatisfy({ $0 > 0 }) else {
        throw SlowFastError.notAClip(path: path, reason: "frames has shape \(shape), expected [T, H, W, 3]")
      }
      let bytes = try file.uint8s(of: "frames")
      let size = shape[1] * shape[2] * 3
      self = .frames(
        try (0..<shape[0]).map { try RGBImage(width: shape[2], height: shape[1], pixels: Array(bytes[$0 * size..<($0 + 1) * size])) })
    } catch {
      // Whatever is wrong with the file, it is no model.
      throw error as? SlowFastError ?? SlowFastError(.invalidClip, "\(error)", underlying: error)
    }
  }
}

extension MediaInput {
  /// Opens a video or an image.
  public init(opening path: String) throws(SlowFastError) {
    if let reason = FileKind(path: path).insteadOfClip(path) { throw .notAClip(path: path, reason: reason) }
    self = try classified { () throws(VideoError) in try MediaInput(path: path) }
  }
}

extension MediaInput {
  /// The names of the files that it reads.
  package var paths: [String] { if case .directory(let images) = kind { images } else { [path] } }
}
