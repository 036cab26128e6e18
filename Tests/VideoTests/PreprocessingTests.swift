import Foundation
import Testing
import Video

/// Resizing and normalising, against Pillow and the reference implementation.
@Suite struct PreprocessingTests {
  struct Vectors: Decodable {
    struct Resize: Decodable {
      let width: Int, height: Int, pixels: Data
      let toWidth: Int, toHeight: Int, resized: Data
    }
    struct Square: Decodable {
      let width: Int, height: Int, pixels: Data
      let size: Int, square: Data
    }
    let resizes: [Resize]
    let squares: [Square]
  }

  @Test func resizeIsPillows() throws {
    let vectors: Vectors = try TestClips.decode("resize.json")
    #expect(vectors.resizes.count == 14)
    for vector in vectors.resizes {
      let image = try RGBImage(width: vector.width, height: vector.height, pixels: [UInt8](vector.pixels))
      let resized = image.resized(
        width: vector.toWidth, height: vector.toHeight, columns: 0..<vector.toWidth, rows: 0..<vector.toHeight)
      let isEqual = resized.pixels == [UInt8](vector.resized)
      #expect(isEqual, "\(vector.width)×\(vector.height) to \(vector.toWidth)×\(vector.toHeight)")
    }
  }

  /// A part of a resized picture is that part of the whole.
  @Test func partsAreParts() throws {
    let pixels = (0..<61 * 47 * 3).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
    let image = try RGBImage(width: 61, height: 47, pixels: pixels)
    for (width, height) in [(33, 29), (90, 80), (61, 20), (20, 47), (61, 47)] {
      let whole = image.resized(width: width, height: height, columns: 0..<width, rows: 0..<height)
      let columns = 3..<width - 5
      let rows = 7..<height - 2
      let part = image.resized(width: width, height: height, columns: columns, rows: rows)
      let expected = rows.flatMap { (row: Int) -> ArraySlice<UInt8> in
        let start = row * width
        return whole.pixels[(start + columns.lowerBound) * 3..<(start + columns.upperBound) * 3]
      }
      let isEqual = part.pixels == expected
      #expect(isEqual, "\(width)×\(height)")
    }
  }

  @Test func squaresArePillows() throws {
    let vectors: Vectors = try TestClips.decode("resize.json")
    #expect(vectors.squares.count == 7)
    for vector in vectors.squares {
      let image = try RGBImage(width: vector.width, height: vector.height, pixels: [UInt8](vector.pixels))
      let isEqual = try Preprocessing(size: vector.size).pixels(image).pixels == [UInt8](vector.square)
      #expect(isEqual, "\(vector.width)×\(vector.height)")
    }
  }

  /// A long strip is not resized as a whole: only what the square keeps.
  @Test func extremeShapes() throws {
    let strip = try RGBImage(width: 100_000, height: 1, pixels: [UInt8](repeating: 77, count: 300_000))
    let square = try Preprocessing(size: 96).pixels(strip)
    #expect(square.width == 96 && square.height == 96 && square.pixels.allSatisfy { $0 == 77 })
  }

  @Test(arguments: [0, -5, Preprocessing.sizes.upperBound + 1, Int.max]) func sizesThatAreNone(_ size: Int) {
    guard case .invalidSize(size, _)? = videoError({ _ = try Preprocessing(size: size) }) else {
      Issue.record("expected invalidSize")
      return
    }
  }

  @Test func imagesThatDoNotFit() {
    for (width, height, bytes) in [(2, 2, 11), (0, 0, 0), (-1, -1, 3), (Int.max, Int.max, 3), (Int.max, 1, 3)] {
      let pixels = [UInt8](repeating: 0, count: bytes)
      guard case .invalidImage? = videoError({ _ = try RGBImage(width: width, height: height, pixels: pixels) }) else {
        Issue.record("expected invalidImage")
        return
      }
    }
  }

  @Test func normalizationsThatAreNone() {
    for deviation in [[Float(1), 1], [1, 1, 0], [1, 1, -1], [1, 1, .nan]] {
      guard case .invalidNormalization? = videoError({ _ = try Preprocessing(size: 4, mean: [0, 0, 0], deviation: deviation) }) else {
        Issue.record("expected invalidNormalization")
        return
      }
    }
  }

  /// Frames of the reference implementation to its own `pixel_values`.
  @Test(arguments: ["clip", "image", "strides", "vanilla"]) func goldenPixels(_ name: String) throws {
    let file = try Data(contentsOf: TestClips.tests.appending(path: "Golden/\(name)/golden.safetensors"))
    let tensors = try SafetensorsView(file)
    let frames = try tensors.tensor("frames")
    let values = try tensors.tensor("pixel_values")
    let count = frames.shape[0]
    let height = frames.shape[1]
    let width = frames.shape[2]
    let size = values.shape[2]
    let preprocessing = try Preprocessing(size: size)
    let expected = values.bytes.withUnsafeBytes { bytes in
      (0..<count * 3 * size * size).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    }
    var worst: Float = 0
    for frame in 0..<count {
      let bytes = [UInt8](frames.bytes)[frame * height * width * 3..<(frame + 1) * height * width * 3]
      let square = preprocessing.pixels(try RGBImage(width: width, height: height, pixels: Array(bytes)))
      var found = [Float](repeating: 0, count: square.pixels.count)
      found.withUnsafeMutableBufferPointer { preprocessing.normalize(square, into: $0) }
      for pixel in 0..<size * size {
        for channel in 0..<3 {
          worst = max(worst, abs(found[pixel * 3 + channel] - expected[(frame * 3 + channel) * size * size + pixel]))
        }
      }
    }
    #expect(worst <= 1e-6)
  }
}

/// Just enough of a safetensors file for a test.
private struct SafetensorsView {
  struct Tensor { let shape: [Int], bytes: Data }
  private let header: [String: Any], body: Data

  init(_ file: Data) throws {
    let length = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    header = try #require(JSONSerialization.jsonObject(with: file.subdata(in: 8..<8 + length)) as? [String: Any])
    body = file.subdata(in: 8 + length..<file.count)
  }

  func tensor(_ name: String) throws -> Tensor {
    let entry = try #require(header[name] as? [String: Any])
    let shape = try #require(entry["shape"] as? [Int])
    let offsets = try #require(entry["data_offsets"] as? [Int])
    return Tensor(shape: shape, bytes: body.subdata(in: offsets[0]..<offsets[1]))
  }
}
