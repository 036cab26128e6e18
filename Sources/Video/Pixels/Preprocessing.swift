import CPixels
import Foundation
import Support

/// What the model does to a frame before its first layer.
package struct Preprocessing: Sendable, Equatable {
  package static let sizes = 1...8192

  /// Side of the square that the model sees, in pixels.
  package let size: Int
  /// Per channel 256 numbers: a byte's value for the model.
  private let levels: [Float]
  let fit: Fit
  package let resampling: Resampling

  /// What becomes of a picture that is no square.
  package enum Fit: Sendable, Equatable {
    /// The shorter side to `size`, the longer one to `size · long / short` (rounded down), and the square in the middle.
    case crop
    /// Both sides to `size`.
    case stretch
    /// The longer side to a length, the other in proportion and even, then both to `size`.
    case longest(Int)
  }

  /// `mean` and `deviation` per channel, of values 0 … 1; the published model's by default.
  package init(
    size: Int, mean: [Float] = [0.48145466, 0.4578275, 0.40821073], deviation: [Float] = [0.26862954, 0.26130258, 0.27577711],
    fit: Fit = .crop, resampling: Resampling = .bicubic
  ) throws(VideoError) {
    guard Preprocessing.sizes.contains(size) else { throw .invalidSize(size, expected: Preprocessing.sizes) }
    guard mean.count == 3, deviation.count == 3, deviation.allSatisfy({ $0 > 0 }), (mean + deviation).allSatisfy(\.isFinite) else {
      throw .invalidNormalization(mean: mean, deviation: deviation)
    }
    (self.size, self.fit, self.resampling) = (size, fit, resampling)
    var levels: [Float] = []
    for channel in 0..<3 {
      for byte in 0..<256 {
        let value = Float(Double(byte) * (1 / 255))
        levels.append((value - mean[channel]) / deviation[channel])
      }
    }
    self.levels = levels
  }

  /// The square that the model sees, as bytes.
  package func pixels(_ image: RGBImage) -> RGBImage {
    if case .longest(let side) = fit {
      let (width, height) = evenSides(width: image.width, height: image.height, longest: side)
      return image.resized(width: width, height: height, columns: 0..<width, rows: 0..<height, by: resampling)
        .resized(width: size, height: size, columns: 0..<size, rows: 0..<size, by: resampling)
    }
    if case .stretch = fit { return image.resized(width: size, height: size, columns: 0..<size, rows: 0..<size, by: resampling) }
    let short = min(image.width, image.height)
    // Sides are below 2³¹, so the products fit.
    let width = size * image.width / short
    let height = size * image.height / short
    let left = (width - size) / 2
    let top = (height - size) / 2
    return image.resized(width: width, height: height, columns: left..<left + size, rows: top..<top + size, by: resampling)
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

extension RGBImage {
  /// The part `columns` × `rows` of this image resized to `width` × `height`, equal to the `resize` of Pillow before 13 to the last bit:
  /// horizontally first, then vertically, rounded to 8 bits after each. (Pillow 13 exchanges the passes where that is cheaper, which the
  /// published models have not seen.) Only what the part needs is computed.
  ///
  /// The part must lie inside `width` × `height`, and not be empty.
  package func resized(
    width newWidth: Int, height newHeight: Int, columns: Range<Int>, rows: Range<Int>, by resampling: Resampling = .bicubic
  ) -> RGBImage {
    // A pass that changes nothing is left out, as Pillow does; its weights would be one and zeros.
    let vertical = newHeight == height ? nil : ResizeFilter(resampling, input: height, output: newHeight, part: rows)
    let needed = vertical?.inputs ?? rows
    let narrow =
      newWidth == width
      ? ByteRows(of: self, columns: columns, rows: needed)
      : ByteRows(of: self, filteredBy: ResizeFilter(resampling, input: width, output: newWidth, part: columns), rows: needed)
    let result = vertical.map { narrow.filtered($0, firstRow: needed.lowerBound) } ?? narrow
    return RGBImage(checkedWidth: columns.count, height: rows.count, pixels: result.packed())
  }
}

/// How pixels are made of others, under Pillow's names.
package enum Resampling: Sendable, CaseIterable {
  /// A cubic with a = −0.5.
  case bicubic
  /// A triangle.
  case bilinear
  /// A sinc of three periods.
  case lanczos

  /// Pixels on each side that count where nothing is reduced.
  fileprivate var support: Double {
    switch self {
    case .bicubic: 2
    case .bilinear: 1
    case .lanczos: 3
    }
  }

  fileprivate func weight(_ distance: Double) -> Double {
    let x = abs(distance)
    switch self {
    case .bicubic:
      let a = -0.5
      if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    case .bilinear: return x < 1 ? 1 - x : 0
    case .lanczos: return -3 <= distance && distance < 3 ? Self.sinc(distance) * Self.sinc(distance / 3) : 0
    }
  }

  private static func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * .pi) / (x * .pi) }
}

/// The weights of one direction of a resize, as Pillow computes them for 8-bit images (no reducing gap): widened by the reduction, in fixed
/// point with 22 bits.
struct ResizeFilter {
  /// Fractional bits of a weight: 32 less 8 of a pixel less 2 for sums that overshoot.
  static let precision = 32 - 8 - 2
  /// Bits of a weight's lower part; both parts fit into 16 bits.
  static let lowBits = 11

  /// Per output where its inputs begin.
  let starts: [Int]
  /// How many inputs every output has.
  let taps: Int
  /// Per output and pair of taps: both weights' higher parts, then both lower parts. Pairs are filled up with zero.
  let weights: [Int16]

  /// Numbers in `weights` per output.
  var weightStride: Int { (taps + 1) / 2 * 4 }

  /// Inputs that the outputs use.
  var inputs: Range<Int> { (starts.first ?? 0)..<((starts.last ?? 0) + taps) }

  /// For the outputs `part` of `output` that are made of `input` pixels; all at least 1.
  init(_ resampling: Resampling, input: Int, output: Int, part: Range<Int>) {
    let scale = Double(input) / Double(output)
    let widening = max(scale, 1)
    let support = resampling.support * widening
    // Pillow's room for the widest case; weights that are not needed are zero.
    let taps = min(Int(support.rounded(.up)) * 2 + 1, input)
    let stride = (taps + 1) / 2 * 4
    var starts = [Int](repeating: 0, count: part.count)
    var weights = [Int16](repeating: 0, count: part.count * stride)
    for (place, position) in part.enumerated() {
      let center = (Double(position) + 0.5) * scale
      let low = max(0, Int(center - support + 0.5))
      let high = min(input, Int(center + support + 0.5))
      let values = (low..<high).map { resampling.weight((Double($0) - center + 0.5) * (1 / widening)) }
      let sum = values.reduce(0, +)
      // Earlier where the taps would reach beyond the input, so that all outputs have the same number.
      let start = min(low, input - taps)
      starts[place] = start
      for (tap, value) in values.enumerated() {
        let share = sum == 0 ? value : value / sum
        let fixed = Int((share < 0 ? -0.5 : 0.5) + share * Double(1 << ResizeFilter.precision))
        let (pair, side) = (tap + low - start).quotientAndRemainder(dividingBy: 2)
        weights[place * stride + pair * 4 + side] = Int16(fixed >> ResizeFilter.lowBits)
        weights[place * stride + pair * 4 + side + 2] = Int16(fixed & (1 << ResizeFilter.lowBits - 1))
      }
    }
    self.starts = starts
    self.taps = taps
    self.weights = weights
  }
}

/// Rows of RGB bytes whose lengths and number are filled up to multiples of 16, so that the inner loops need no rest.
struct ByteRows {
  private let columns: Int
  private let rows: Int
  private let stride: Int
  private let bytes: [UInt8]

  /// `fill` must write all of `target`: the number of rows, filled up to a multiple of 16, times the stride.
  private init(columns: Int, rows: Int, fill: (_ target: UnsafeMutablePointer<UInt8>, _ stride: Int) -> Void) {
    let stride = padded(columns * 3)
    let size = stride * padded(rows)
    self.columns = columns
    self.rows = rows
    self.stride = stride
    bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      guard let target = buffer.baseAddress else { return }
      fill(target, stride)
      count = size
    }
  }

  /// A part of an image as it is.
  init(of image: RGBImage, columns: Range<Int>, rows: Range<Int>) {
    self.init(columns: columns.count, rows: rows.count) { target, stride in
      image.copy(rows: rows, fromColumn: columns.lowerBound, bytes: columns.count * 3, to: target, stride: stride)
    }
  }

  /// Rows of an image, each filtered along itself: 16 rows at a time are turned into columns of 16 bytes, which are filtered across.
  init(of image: RGBImage, filteredBy filter: ResizeFilter, rows: Range<Int>) {
    let inputs = filter.inputs
    let inputBytes = inputs.count * 3
    let wideStride = padded(inputBytes)
    self.init(columns: filter.starts.count, rows: rows.count) { target, stride in
      withUnsafeTemporaryAllocation(byteCount: (2 * wideStride + stride) * 16, alignment: 64) { scratch in
        guard let spare = scratch.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        let wide = spare + wideStride * 16
        let narrow = wide + wideStride * 16
        // The filling of the last square is turned as well, and has to be something.
        narrow.initialize(repeating: 0, count: stride * 16)
        for row in Swift.stride(from: 0, to: rows.count, by: 16) {
          image.pixels.withUnsafeBufferPointer { source in
            var start = ((rows.lowerBound + row) * image.width + inputs.lowerBound) * 3
            var step = image.width * 3
            var base = source.baseAddress
            // The squares reach beyond the columns, and at the end beyond the image: from a copy there.
            if row + 16 > rows.count || start + 15 * step + wideStride > source.count {
              let strip = rows.lowerBound + row..<rows.lowerBound + min(row + 16, rows.count)
              image.copy(rows: strip, fromColumn: inputs.lowerBound, bytes: inputBytes, to: spare, stride: wideStride)
              (base, start, step) = (UnsafePointer(spare), 0, wideStride)
            }
            guard let base else { return }
            for column in Swift.stride(from: 0, to: wideStride, by: 16) {
              pixels_transpose(base + start + column, step, wide + column * 16, 16)
            }
          }
          filter.weights.withUnsafeBufferPointer { weights in
            guard let weights = weights.baseAddress else { return }
            for (place, start) in filter.starts.enumerated() {
              for channel in 0..<3 {
                pixels_filter(
                  wide + ((start - inputs.lowerBound) * 3 + channel) * 16, 48, weights + place * filter.weightStride, filter.taps,
                  narrow + (place * 3 + channel) * 16)
              }
            }
          }
          for column in Swift.stride(from: 0, to: stride, by: 16) {
            pixels_transpose(narrow + column * 16, 16, target + row * stride + column, stride)
          }
        }
      }
    }
  }

  /// Each column filtered along itself. The first row is the image's row `firstRow`.
  func filtered(_ filter: ResizeFilter, firstRow: Int) -> ByteRows {
    ByteRows(columns: columns, rows: filter.starts.count) { target, _ in
      bytes.withUnsafeBufferPointer { source in
        filter.weights.withUnsafeBufferPointer { weights in
          guard let source = source.baseAddress, let weights = weights.baseAddress else { return }
          for (row, start) in filter.starts.enumerated() {
            for column in Swift.stride(from: 0, to: stride, by: 16) {
              pixels_filter(
                source + (start - firstRow) * stride + column, stride, weights + row * filter.weightStride, filter.taps,
                target + row * stride + column)
            }
          }
        }
      }
      let used = filter.starts.count
      (target + used * stride).initialize(repeating: 0, count: (padded(used) - used) * stride)
    }
  }

  /// The same rows without the filling.
  func packed() -> [UInt8] {
    let width = columns * 3
    if width == stride { return Array(bytes.prefix(width * rows)) }
    return [UInt8](unsafeUninitializedCapacity: width * rows) { target, count in
      bytes.withUnsafeBufferPointer { source in
        guard let source = source.baseAddress, let target = target.baseAddress else { return }
        for row in 0..<rows { (target + row * width).update(from: source + row * stride, count: width) }
      }
      count = width * rows
    }
  }
}

private func padded(_ count: Int) -> Int { (count + 15) & ~15 }

extension RGBImage {
  /// Copies `bytes` of each row to a row of `stride` bytes; the rest, and the rows up to a multiple of 16, become zero.
  fileprivate func copy(
    rows: Range<Int>, fromColumn column: Int, bytes: Int, to target: UnsafeMutablePointer<UInt8>, stride: Int
  ) {
    pixels.withUnsafeBufferPointer { source in
      guard let source = source.baseAddress else { return }
      for (place, row) in rows.enumerated() {
        let line = target + place * stride
        line.update(from: source + (row * width + column) * 3, count: bytes)
        (line + bytes).initialize(repeating: 0, count: stride - bytes)
      }
    }
    (target + rows.count * stride).initialize(repeating: 0, count: (padded(rows.count) - rows.count) * stride)
  }
}
