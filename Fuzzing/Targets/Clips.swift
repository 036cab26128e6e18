import Foundation
import TestSupport
import Video

extension FuzzTarget {
  /// What the beginnings of pictures say, without libav.
  static let pictureHeader = FuzzTarget(
    name: "picture-header", seeds: Pictures.seeds, mutate: Pictures.mutate,
    read: { bytes in
      let input = try MediaInput(path: Scratch.file("picture", bytes))
      if let size = input.pictureSize { require(size.width > 0 && size.height > 0) }
      _ = MatroskaLength.missing(Array(bytes.prefix(1 << 10)), byteCount: bytes.count)
    })

  /// Pictures, up to their pixels.
  static let picture = FuzzTarget(
    name: "picture", seeds: Pictures.seeds, mutate: Pictures.mutate,
    read: { bytes in
      try Clips.sample(MediaInput(path: Scratch.file("picture", bytes)))
    })

  /// Clips, up to their frames.
  static let clip = FuzzTarget(
    name: "clip", seeds: Clips.seeds, mutate: Clips.mutate,
    read: { bytes in
      try Clips.sample(MediaInput(path: Scratch.file("clip", bytes)))
    })

  /// What a process that decodes tells.
  static let report = FuzzTarget(
    name: "report", seeds: { ClipReport.examples.map { $0.message(files: ["a"]) } },
    mutate: { ByteMutation.apply(&$0, origin: 1, &$1) },
    read: { bytes in
      guard let report = try? ClipReport(bytes, files: ["a"], name: "a") else { return }
      _ = report.message(files: ["a"])
    })
}

enum Pictures {
  static let seeds: @Sendable () throws -> [[UInt8]] = {
    try Repository.files(
      "Tests/VideoTests/Data/images", [".png", ".jpg", ".webp", ".bmp", ".tif", ".avif", ".heic", ".jp2", ".qoi", ".pgm", ".ppm"])
      + Repository.files("Tests/VideoTests/Data", [".png", ".jpg", ".gif", ".webp"], limit: 4096)
  }

  static let mutate: @Sendable (inout [UInt8], inout SeededNumbers) -> Void = { bytes, numbers in
    // Headers are at the beginning; their numbers are big-endian but for BMP, WebP and some of TIFF.
    let isHead = Int.random(in: 0..<4, using: &numbers) > 0
    let origin = Int.random(in: 0..<4, using: &numbers)
    ByteMutation.apply(
      &bytes, in: isHead ? 0..<min(bytes.count, 300) : nil, origin: origin, bigEndian: Int.random(in: 0..<4, using: &numbers) > 0, &numbers)
  }
}

enum Clips {
  /// Of every codec; only those whose names begin with the environment's `FILMS`, if it is set.
  static let seeds: @Sendable () throws -> [[UInt8]] = {
    let data = "Tests/VideoTests/Data"
    let endings = [
      ".apng", ".mp4", ".mov", ".mkv", ".webm", ".ts", ".avi", ".mpg", ".h264", ".flv", ".3gp", ".asf", ".rm", ".ogv", ".nut", ".gif",
    ]
    guard let films = ProcessInfo.processInfo.environment["FILMS"] else {
      return try Repository.files(data, endings, limit: 8192) + Repository.files("\(data)/damaged", endings, limit: 12288)
        + Repository.files("\(data)/films", endings, limit: 8192)
    }
    let folders = ["\(data)/films", "\(data)/damaged"]
    return try folders.flatMap { try Repository.files($0, endings) { $0.hasPrefix(films) } }
  }

  static let mutate: @Sendable (inout [UInt8], inout SeededNumbers) -> Void = { bytes, numbers in
    guard let box = Boxes.all(bytes).randomElement(using: &numbers), Int.random(in: 0..<3, using: &numbers) > 0 else {
      return ByteMutation.apply(&bytes, &numbers)
    }
    // A box of an MP4 file: its fields, or all of it.
    switch Int.random(in: 0..<8, using: &numbers) {
    case 0: bytes.removeSubrange(box)
    case 1: bytes.insert(contentsOf: Array(bytes[box]), at: box.upperBound)
    case 2:
      guard let other = Boxes.all(bytes).randomElement(using: &numbers) else { return }
      bytes.replaceSubrange(box, with: Array(bytes[other]))
    default: ByteMutation.apply(&bytes, in: box, origin: box.lowerBound, bigEndian: true, &numbers)
    }
  }

  /// Decodes some frames in this process.
  static func sample(_ input: MediaInput) throws {
    var input = input
    input.decoder = nil
    // What would take seconds is known from its header.
    if let size = input.pictureSize, size.width * size.height > 1 << 20 { return }
    let memory = try input.decodingMemory()
    guard memory.bytes < 64 << 20 else { return }
    var count = 0
    _ = try input.sample(SamplingRequest(frames: 3), threads: 1) { event in
      if case .frame(let frame) = event { require(frame.image.pixels.count == frame.image.width * frame.image.height * 3) }
      count += 1
    }
  }
}

/// The boxes of an MP4 file.
enum Boxes {
  private static let containers = ["moov", "trak", "mdia", "minf", "stbl", "edts", "udta", "moof", "traf"].map { Array($0.utf8) }

  static func all(_ bytes: [UInt8]) -> [Range<Int>] {
    guard bytes.count > 8, bytes[4..<8].elementsEqual("ftyp".utf8) else { return [] }
    return boxes(bytes, 0..<bytes.count)
  }

  private static func boxes(_ bytes: [UInt8], _ range: Range<Int>) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var place = range.lowerBound
    while place + 8 <= range.upperBound, let length = bytes.integer(UInt32.self, at: place)?.byteSwapped, length >= 8 {
      let end = min(range.upperBound, place + Int(length))
      found.append(place..<end)
      if containers.contains(Array(bytes[place + 4..<place + 8])) { found += boxes(bytes, place + 8..<end) }
      place = end
    }
    return found
  }
}

extension ClipReport {
  /// One of each kind.
  static var examples: [ClipReport] {
    [
      .confined(3), .alive, .open(0), .event(.begin(frames: 3)), .event(.repeated), .event(.restart),
      .memory(DecodingMemory(bytes: 1, bytesPerThread: 2)), .failed(.notVideo(path: "a", reason: "b")),
      .failed(.noFramesInRange(path: "a", start: 1, end: nil, first: 0, last: 1)),
    ]
  }
}
