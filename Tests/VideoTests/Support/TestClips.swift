import Foundation
import Testing
import Video

/// Where the test clips lie, and what is known of them.
enum TestClips {
  static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  static let data = tests.appending(path: "VideoTests/Data")

  static func path(_ name: String) -> String { data.appending(path: name).path }

  /// What a full decoding of each clip gave: see `Data/make_clips.py`.
  static func described() throws -> [String: Described] { try decode("clips.json") }

  static func decode<Value: Decodable>(_ name: String) throws -> Value {
    try JSONDecoder().decode(Value.self, from: Data(contentsOf: data.appending(path: name)))
  }

  struct Described: Decodable, Sendable {
    struct Frame: Decodable, Sendable {
      let seconds: Double
      /// As stored.
      let width: Int, height: Int
      /// Mean colours of the quarters as stored: left above, right above, left below, right below.
      let quarters: [[Double]]
    }
    let rotation: Int
    let frames: [Frame]
  }
}

/// All that one sampling gives.
struct Sampled {
  /// A frame at one of its positions.
  struct Frame {
    let position: Int
    let sampled: SampledFrame
    let isRepeat: Bool
    var index: Int { sampled.index }
    var seconds: Double { sampled.seconds }
    var image: RGBImage { sampled.image }
  }
  var frames: [Frame] = []
  /// As the last beginning promised.
  var total = 0
  var restarts = 0
  var report: SamplingReport
  var isCounted: Bool { report.isCounted }

  /// `jumps`: also a short clip is not decoded whole.
  init(_ path: String, _ request: SamplingRequest, threads: Int? = 2, jumps: Bool = false) throws {
    var frames: [Frame] = []
    var total: Int?
    var restarts = 0
    var source = try MediaInput(path: path)
    if jumps { source.shortClip = 0 }
    report = try source.sample(request, threads: threads) { event in
      switch event {
      case .begin(let count):
        #expect(total == nil)
        total = count
      case .frame(let frame):
        frames.append(Frame(position: frames.count, sampled: frame, isRepeat: false))
      case .repeated:
        let last = try #require(frames.last)
        frames.append(Frame(position: frames.count, sampled: last.sampled, isRepeat: true))
      case .restart:
        restarts += 1
        (frames, total) = ([], nil)
      }
    }
    #expect(total == frames.count)
    self.frames = frames
    self.total = total ?? 0
    self.restarts = restarts
  }

  init(clip: String, _ frames: Int, start: Double? = nil, end: Double? = nil, jumps: Bool = false) throws {
    try self.init(TestClips.path(clip), SamplingRequest(frames: frames, start: start, end: end), jumps: jumps)
  }
}

extension RGBImage {
  /// Mean colours of a grid of parts, row by row.
  func grid(_ parts: Int) -> [[Double]] {
    (0..<parts * parts).map { part in
      let rows = height * (part / parts) / parts..<height * (part / parts + 1) / parts
      let columns = width * (part % parts) / parts..<width * (part % parts + 1) / parts
      var sums = [0, 0, 0]
      for row in rows {
        for column in columns {
          for channel in 0..<3 { sums[channel] += Int(pixels[(row * width + column) * 3 + channel]) }
        }
      }
      return sums.map { Double($0) / Double(max(1, rows.count * columns.count)) }
    }
  }

  /// Turned a quarter clockwise, so many times.
  func turned(_ times: Int) throws -> RGBImage {
    guard times > 0 else { return self }
    var turned = [UInt8]()
    for row in 0..<width {
      for column in 0..<height {
        let from = ((height - 1 - column) * width + row) * 3
        turned += pixels[from..<from + 3]
      }
    }
    return try RGBImage(width: height, height: width, pixels: turned).turned(times - 1)
  }

  /// Left and right exchanged.
  func mirrored() throws -> RGBImage {
    var mirrored = [UInt8]()
    for row in 0..<height {
      for column in (0..<width).reversed() {
        let from = (row * width + column) * 3
        mirrored += pixels[from..<from + 3]
      }
    }
    return try RGBImage(width: width, height: height, pixels: mirrored)
  }
}

/// The largest difference between two lists of colours.
func difference(_ one: [[Double]], _ other: [[Double]]) -> Double {
  guard one.count == other.count else { return .infinity }
  return zip(one.joined(), other.joined()).map { abs($0 - $1) }.max() ?? .infinity
}

/// The error of `body`, which must be one of this module.
func videoError(_ body: () throws -> Void) -> VideoError? {
  do { try body() } catch { return error as? VideoError }
  return nil
}
