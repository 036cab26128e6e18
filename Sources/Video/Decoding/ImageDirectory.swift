#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Enough of a file to tell an image's format.
func firstBytes(of path: String) throws(VideoError) -> [UInt8] {
  try FileInput(path: path, cancelled: { false }).read(first: 16)
}

/// The image files of a directory, in natural order: those whose first bytes are of an image; hidden ones left out.
func imageFiles(in directory: String) throws(VideoError) -> [String] {
  guard let handle = opendir(directory) else {
    throw .unreadable(path: directory, reason: String(cString: strerror(errno)))
  }
  defer { closedir(handle) }
  var names: [String] = []
  while let entry = readdir(handle) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if !name.hasPrefix(".") { names.append(name) }
  }
  names.sort(by: naturallyPrecedes)
  let prefix = directory.hasSuffix("/") ? directory : directory + "/"
  return names.map { prefix + $0 }.filter { path in
    // What cannot be read is no image for now; what reads as one and does not decode is reported when it is wanted.
    (try? ImageFormat(firstBytes(of: path))) ?? nil != nil
  }
}
