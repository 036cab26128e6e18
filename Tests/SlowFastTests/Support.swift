import Conversion
import Foundation
import ModelFile
import Runtime
import Support
import TestSupport
import Video

/// A golden checkpoint as a model file.
func convert(_ name: String, bits: Int, to directory: TemporaryDirectory, compression: ChunkCompression = .standard) throws -> String {
  let path = directory.file("\(name)-\(bits).sfq")
  _ = try CheckpointConversion(Golden.path(name), options: ConversionOptions(bits: bits, compression: compression)).run(to: path)
  return path
}

/// The error of a step that must fail; nil, and a failed expectation where it is used, if it does not.
func failure(_ body: () throws -> Void) -> SlowFastError? {
  do {
    try body()
    return nil
  } catch { return error as? SlowFastError }
}

extension SlowFastError {
  /// Whether it is of that kind and says all of that.
  func isA(_ kind: Kind, _ words: String...) -> Bool { self.kind == kind && words.allSatisfy(description.contains) }
}

/// A picture that differs from pixel to pixel, and from seed to seed.
func picture(_ seed: Int, width: Int = 96, height: Int = 64) throws -> RGBImage {
  var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
  let pixels = (0..<width * height * 3).map { index -> UInt8 in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return UInt8(truncatingIfNeeded: (index / 3 % width) * (seed + 1)) &+ UInt8(truncatingIfNeeded: state >> 58)
  }
  return try RGBImage(width: width, height: height, pixels: pixels)
}

/// Greedy, so many tokens, no end before that.
func greedy(_ count: Int) -> GenerationOptions {
  var options = GenerationOptions()
  options.maximumTokens = count
  return options
}
