/// What the model does to a frame before its first layer.
package struct Preprocessing: Sendable {
  package static let sizes = 1...8192

  /// Side of the square that the model sees, in pixels.
  package let size: Int
  /// Per channel 256 numbers: a byte's value for the model.
  private let levels: [Float]

  /// `mean` and `deviation` per channel, of values 0 … 1; the published model's by default.
  package init(
    size: Int, mean: [Float] = [0.48145466, 0.4578275, 0.40821073], deviation: [Float] = [0.26862954, 0.26130258, 0.27577711]
  ) throws(VideoError) {
    guard Preprocessing.sizes.contains(size) else { throw .invalidSize(size, expected: Preprocessing.sizes) }
    guard mean.count == 3, deviation.count == 3, deviation.allSatisfy({ $0 > 0 }), (mean + deviation).allSatisfy(\.isFinite) else {
      throw .invalidNormalization(mean: mean, deviation: deviation)
    }
    self.size = size
    levels = (0..<3).flatMap { channel in
      (0..<256).map { (Float(Double($0) * (1 / 255)) - mean[channel]) / deviation[channel] }
    }
  }

  /// Resizes the shorter side to `size`, the longer one to `size · long / short` (rounded down), and keeps the square in the middle.
  package func pixels(_ image: RGBImage) -> RGBImage {
    let short = min(image.width, image.height)
    // Sides are below 2³¹, so the products fit.
    let width = size * image.width / short
    let height = size * image.height / short
    let left = (width - size) / 2
    let top = (height - size) / 2
    return image.resized(width: width, height: height, columns: left..<left + size, rows: top..<top + size)
  }

  /// Bytes of one frame to numbers, size × size × 3, channels last. `target` must hold as many elements as `image` has bytes.
  package func normalize(_ image: RGBImage, into target: UnsafeMutableBufferPointer<Float>) {
    precondition(target.count >= image.pixels.count, "room for \(image.pixels.count) numbers")
    image.pixels.withUnsafeBufferPointer { source in
      levels.withUnsafeBufferPointer { levels in
        for index in stride(from: 0, to: source.count, by: 3) {
          target[index] = levels[Int(source[index])]
          target[index + 1] = levels[256 + Int(source[index + 1])]
          target[index + 2] = levels[512 + Int(source[index + 2])]
        }
      }
    }
  }
}
