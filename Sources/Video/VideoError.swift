import Support

/// What can be wrong with a clip, with a request for its frames, or with the place that pictures are written to.
package enum VideoError: Error, Sendable {
  /// Nothing is there under this name.
  case notFound(path: String)
  /// The system refuses to open or to read it.
  case unreadable(path: String, reason: String)
  /// A device, a pipe or a socket: sampling reads a file more than once.
  case notAFile(path: String)
  /// A file of zero bytes.
  case empty(path: String)
  /// Neither a container nor an image format that is known.
  case notVideo(path: String, reason: String)
  /// A container, but of sound, subtitles or data only; `found` lists what it has.
  case noVideoStream(path: String, found: String)
  /// The stream that was asked for is not there or holds no video; `available` are the video streams.
  case noSuchStream(path: String, stream: Int, available: [Int])
  /// This build of libav has no decoder for the stream.
  case unsupportedCodec(path: String, codec: String)
  /// The decoder's pictures are of a format that cannot be turned into RGB.
  case unsupportedPixels(path: String, format: String)
  /// libav took a picture's format, and then did not convert all of it.
  case failedConversion(path: String, width: Int, height: Int, format: String)
  /// There is a video stream, but not one frame of it decodes.
  case noFrames(path: String, reason: String)
  /// No frame lies in `start ..< end`; the clip's own frames lie in `first ... last` (seconds).
  case noFramesInRange(path: String, start: Double?, end: Double?, first: Double, last: Double)
  /// A directory without a single image; `found` says what it holds.
  case noImages(path: String, found: String)
  /// A picture of more than `limit` pixels.
  case tooLarge(path: String, width: Int, height: Int, limit: Int)
  /// An image file of more than `limit` bytes.
  case tooManyBytes(path: String, bytes: Int, limit: Int)
  /// An image file of a kind that would decode to other pixels than are meant, or not at all.
  case unsupportedImage(path: String, reason: String)
  /// An image file that does not decode.
  case damagedImage(path: String, reason: String)
  /// It was written over or cut, or a second reading gave other frames than the first one.
  case changedWhileReading(path: String)
  /// Frames to sample: expected `1 ... limit`.
  case invalidFrameCount(Int, limit: Int)
  /// A range of time that is not one: not finite, negative, or ending before it begins.
  case invalidRange(start: Double?, end: Double?)
  /// Frames a second to sample: expected a finite number above zero.
  case invalidRate(Double)
  /// The side of a square, in pixels.
  case invalidSize(Int, expected: ClosedRange<Int>)
  /// Mean and deviation of the pixels: expected three finite numbers each, the deviations above zero.
  case invalidNormalization(mean: [Float], deviation: [Float])
  /// Sides and bytes do not agree.
  case invalidImage(width: Int, height: Int, bytes: Int)
  /// More frames, or fewer, than a contact sheet has room for: expected `1 ... limit`.
  case invalidSheet(frames: Int, limit: Int)
  /// A picture of this size cannot be written.
  case unwritableImage(path: String, width: Int, height: Int, reason: String)
  /// A picture is not written; nothing was left behind under its name.
  case output(OutputError)
  /// The process that decodes a clip did not come to its end; `reason` says what became of it.
  case decoderFailed(path: String, reason: String)
  /// libav could not have the memory that it asked for.
  case outOfMemory
  /// The caller asked to stop.
  case cancelled
  /// The caller's own closure failed with this error.
  case consumerFailed(any Error)
}

extension VideoError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .notFound(let path): "\(path.escaped()): no such file or directory"
    case .unreadable(let path, let reason): "\(path.escaped()): cannot be read: \(reason.escaped())"
    case .notAFile(let path): "\(path.escaped()): neither a file nor a directory"
    case .empty(let path): "\(path.escaped()): the file is empty"
    case .notVideo(let path, let reason): "\(path.escaped()): not a video or an image: \(reason.escaped())"
    case .noVideoStream(let path, let found): "\(path.escaped()): no video stream in it, only \(found.escaped())"
    case .noSuchStream(let path, let stream, let available):
      "\(path.escaped()): stream \(stream) is not a video stream; expected one of \(available.map(String.init).joined(separator: ", "))"
    case .unsupportedCodec(let path, let codec): "\(path.escaped()): no decoder for its codec \(codec.quoted)"
    case .unsupportedPixels(let path, let format): "\(path.escaped()): no conversion of its pixel format \(format.quoted) to RGB"
    case .failedConversion(let path, let width, let height, let format):
      "\(path.escaped()): a picture of \(width)×\(height) pixels of the format \(format.quoted) is not converted to RGB"
    case .noFrames(let path, let reason): "\(path.escaped()): not one frame decodes: \(reason.escaped())"
    case .noFramesInRange(let path, let start, let end, let first, let last):
      "\(path.escaped()): no frame in \(rangeText(start, end)); the clip's frames are from \(secondsText(first)) to \(secondsText(last)) s"
    case .noImages(let path, let found): "\(path.escaped()): no image in this directory, \(found)"
    case .tooLarge(let path, let width, let height, let limit):
      "\(path.escaped()): \(width)×\(height) pixels (\(millions(width, height)) megapixels) are too large; "
        + "at most \(limit / 1_000_000) megapixels are taken"
    case .tooManyBytes(let path, let bytes, let limit):
      "\(path.escaped()): an image file of \(bytes) bytes is too large; at most \(limit) are read"
    case .unsupportedImage(let path, let reason): "\(path.escaped()): \(reason.escaped())"
    case .damagedImage(let path, let reason): "\(path.escaped()): the image does not decode: \(reason.escaped())"
    case .changedWhileReading(let path): "\(path.escaped()): changed while it was read; is it being written?"
    case .invalidFrameCount(let count, let limit): "frames: expected 1 to \(limit), found \(count)"
    case .invalidRange(let start, let end):
      "range of time: expected 0 ≤ start < end in seconds, found \(rangeText(start, end))"
    case .invalidRate(let rate): "frames a second: expected a number above 0, found \(rate)"
    case .invalidSize(let size, let expected): "size in pixels: expected \(expected.lowerBound) to \(expected.upperBound), found \(size)"
    case .invalidNormalization(let mean, let deviation):
      "mean and deviation of pixels: expected three numbers each, deviations above zero, found \(mean) and \(deviation)"
    case .invalidImage(let width, let height, let bytes):
      "image of \(width)×\(height) pixels: expected three bytes a pixel, found \(bytes) bytes"
    case .invalidSheet(let frames, let limit): "contact sheet: expected 1 to \(limit) frames, found \(frames)"
    case .unwritableImage(let path, let width, let height, let reason):
      "\(path.escaped()): a picture of \(width)×\(height) pixels cannot be written: \(reason.escaped())"
    case .output(let error): "\(error)"
    case .decoderFailed(let path, let reason): "\(path.escaped()): not decoded: \(reason.escaped())"
    case .outOfMemory: "the system gives no more memory for decoding (a limit of the address space, as ulimit -v sets it?)"
    case .cancelled: "cancelled"
    case .consumerFailed(let error): "\(error)"
    }
  }
}

private func millions(_ width: Int, _ height: Int) -> Int { Int((Double(width) * Double(height) / 1e6).rounded()) }

private func rangeText(_ start: Double?, _ end: Double?) -> String {
  "\(start.map { secondsText($0) + (end == nil ? " s" : "") } ?? "the start") to \(end.map { secondsText($0) + " s" } ?? "the end")"
}

/// Seconds with three decimals, without Foundation's formatting; for messages and labels.
func secondsText(_ seconds: Double) -> String {
  guard seconds.isFinite, abs(seconds) < 1e12 else { return "\(seconds)" }
  let thousandths = Int((seconds * 1000).rounded())
  let (whole, rest) = abs(thousandths).quotientAndRemainder(dividingBy: 1000)
  let digits = String(rest)
  return (thousandths < 0 ? "-" : "") + "\(whole)." + String(repeating: "0", count: 3 - digits.count) + digits
}

extension VideoError: ClassifiedError {
  package var kind: SlowFastError.Kind {
    switch self {
    case .output(let error): error.kind
    case .cancelled: .cancelled
    case .outOfMemory: .notEnoughMemory
    case .unwritableImage: .unwritableOutput
    case .invalidFrameCount, .invalidRange, .invalidRate: .invalidOption
    default: .invalidClip
    }
  }
}
