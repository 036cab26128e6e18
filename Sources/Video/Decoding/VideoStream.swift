import CLibAV

/// What a container says of one of its video streams. Valid as long as the container.
struct VideoStream {
  let index: Int
  let parameters: UnsafeMutablePointer<AVCodecParameters>
  let timeBase: AVRational
  /// The container's number of frames, or zero; not to be relied on.
  let promisedFrames: Int
  let orientation: Orientation
  /// Over the whole stream, as its container or libav makes it out.
  let averageRate: FrameRate
  /// Frames a second, for streams without times.
  private let rate: Double
  /// The container's first moment, in seconds: players show it as zero.
  private let origin: Double

  init(_ stream: UnsafeMutablePointer<AVStream>, format: UnsafeMutablePointer<AVFormatContext>) {
    index = Int(stream.pointee.index)
    parameters = stream.pointee.codecpar
    timeBase = stream.pointee.time_base
    // Of an MP4 file that is the number of samples; an edit list may leave some of them out, which the index then has not.
    let entries = lav_is_mov(format) != 0 ? Int(avformat_index_get_entries_count(stream)) : 0
    let frames = max(0, Int(stream.pointee.nb_frames))
    promisedFrames = entries > 0 ? min(frames, entries) : frames
    orientation = Orientation(displayMatrix: lav_display_matrix(stream))
    let guessed = av_guess_frame_rate(format, stream, nil)
    rate = guessed.num > 0 && guessed.den > 0 ? Double(guessed.num) / Double(guessed.den) : 25
    let average = stream.pointee.avg_frame_rate
    averageRate =
      if average.num > 0, average.den > 0 {
        FrameRate(numerator: Int(average.num), denominator: Int(average.den))
      } else if guessed.num > 0, guessed.den > 0 {
        FrameRate(numerator: Int(guessed.num), denominator: Int(guessed.den))
      } else {
        FrameRate(numerator: 25, denominator: 1)
      }
    let start = format.pointee.start_time
    origin = start == lav_no_timestamp ? 0 : Double(start) / Double(AV_TIME_BASE)
  }

  var codecName: String { String(cString: avcodec_get_name(parameters.pointee.codec_id)) }

  /// Seconds from the clip's start. A frame without a time stands where a constant rate puts it.
  func seconds(_ timestamp: Int64, index: Int) -> Double {
    guard timestamp != lav_no_timestamp, timeBase.den > 0 else { return Double(index) / rate }
    return Double(timestamp) * Double(timeBase.num) / Double(timeBase.den) - origin
  }

  /// A few pictures as decoded, roughly; at most what a picture of the largest size takes.
  var pictureBytes: Int { min(pixelCount(frames: 1) ?? 0, Int(LibAV.pixelLimit)) * 4 }

  /// Of so many frames in all; nil beyond any number that matters.
  func pixelCount(frames: Int) -> Int? {
    let (area, overflow) = Int(parameters.pointee.width).multipliedReportingOverflow(by: Int(parameters.pointee.height))
    let (all, overflowToo) = area.multipliedReportingOverflow(by: frames)
    return overflow || overflowToo || area <= 0 ? nil : all
  }

  /// The container's own setting-up bytes for the decoder.
  var setup: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: parameters.pointee.extradata, count: max(0, Int(parameters.pointee.extradata_size)))
  }
}
