import Support

extension RGBImage {
  /// Writes this image as a file: the whole file appears under its name, or nothing does. A file of that name is replaced
  /// where `replacing` says so; none of `inputs` ever is.
  package func write(_ format: PictureFormat, to path: String, replacing: Bool = true, inputs: [String] = []) throws(VideoError) {
    let packet = try PictureEncoder(image: self, path: path).encode(format)
    do throws(OutputError) {
      try OutputFile.write(UnsafeRawBufferPointer(packet.bytes), to: path, replacing: replacing, inputs: inputs)
    } catch { throw .output(error) }
  }

  package func writePNG(to path: String, replacing: Bool = true, inputs: [String] = []) throws(VideoError) {
    try write(.png, to: path, replacing: replacing, inputs: inputs)
  }
}
