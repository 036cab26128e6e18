import CPixels

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
  init(of image: RGBImage, filteredBy filter: BicubicFilter, rows: Range<Int>) {
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
  func filtered(_ filter: BicubicFilter, firstRow: Int) -> ByteRows {
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
