import CZstd

/// What a frame is not. The caller knows where it was.
enum FrameProblem: Error {
  case invalid(String)
  case contentSize(UInt64)
}

/// Unpacks one frame at a time; not for two threads at once.
final class ZstdUnpacker {
  private let context: OpaquePointer

  /// nil when memory is out.
  init?() {
    guard let context = ZSTD_createDCtx() else { return nil }
    self.context = context
  }

  deinit { ZSTD_freeDCtx(context) }

  /// `frame` is exactly one frame that says that it holds `output.count` bytes, and does.
  func unpack(_ frame: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer) throws(FrameProblem) {
    let size = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
    // The library's two largest values mean "not told" and "no frame".
    if size == UInt64.max { throw .invalid("the frame does not tell its content's size") }
    if size == UInt64.max - 1 { throw .invalid("no zstd frame begins here") }
    guard size == UInt64(output.count) else { throw .contentSize(size) }
    let length = ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count)
    if ZSTD_isError(length) != 0 { throw .invalid(zstdMessage(length)) }
    guard length == frame.count else { throw .invalid("the frame ends after \(length) of \(frame.count) bytes") }
    let written = ZSTD_decompressDCtx(context, output.baseAddress, output.count, frame.baseAddress, frame.count)
    if ZSTD_isError(written) != 0 { throw .invalid(zstdMessage(written)) }
    guard written == output.count else { throw .contentSize(UInt64(written)) }
  }
}

/// Packs one frame at a time; not for two threads at once.
final class ZstdPacker {
  private let context: OpaquePointer

  /// nil when memory is out.
  init?() {
    guard let context = ZSTD_createCCtx() else { return nil }
    self.context = context
  }

  deinit { ZSTD_freeCCtx(context) }

  /// Bytes that any frame of `count` bytes fits in.
  static func bound(_ count: Int) -> Int { ZSTD_compressBound(count) }

  /// The frame's length in `output`.
  func pack(_ bytes: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer, level: Int) throws(FrameProblem) -> Int {
    let written = ZSTD_compressCCtx(context, output.baseAddress, output.count, bytes.baseAddress, bytes.count, Int32(clamping: level))
    if ZSTD_isError(written) != 0 { throw .invalid(zstdMessage(written)) }
    return written
  }
}

private func zstdMessage(_ code: Int) -> String { String(cString: ZSTD_getErrorName(code)) }
