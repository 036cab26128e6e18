extension ModelFileWriter {
  /// The length of a file with these tensors and sections (their names and lengths) when no chunk is packed: exactly that with
  /// `compression: .none`, at most that otherwise.
  package static func rawFileByteCount(
    of tensors: [TensorDescriptor], sections: [(name: String, byteCount: Int)], chunkSize: Int = 2 << 20, path: String = ""
  ) throws(ModelFileError) -> Int {
    var table = Table(chunkSize: chunkSize)
    var end = Format.preludeLength
    func place(_ part: FilePart, _ length: Int) -> StoredPlane {
      let offset = aligned(end, to: Format.alignment(ofPlaneWith: length))
      let chunks = (0..<Format.chunkCount(length, chunkSize: chunkSize)).map { index in
        let count = min(chunkSize, length - index * chunkSize)
        return StoredChunk(offset: offset + index * chunkSize, storedByteCount: count, rawByteCount: count, codec: .raw, checksum: 0)
      }
      end = offset + length
      return StoredPlane(part: part, offset: offset, rawByteCount: length, chunks: chunks, firstChunk: 0)
    }
    for tensor in tensors {
      let lengths = try tensor.planeLengths(path: path)
      let planes = zip(tensor.encoding.planes, lengths).map { place(.tensor(tensor.name, $0), $1) }
      table.tensors.append(StoredTensor(descriptor: tensor, planes: planes))
    }
    for section in sections {
      table.sections.append(StoredSection(name: section.name, plane: place(.section(section.name), section.byteCount)))
    }
    return aligned(end, to: Format.alignment) + table.bytes.count
  }
}

extension TensorDescriptor {
  /// Bytes of all planes, unpacked, after all that can be wrong with a name, a shape and an encoding was checked.
  package var byteCount: Int {
    get throws(ModelFileError) { try planeLengths(path: "").reduce(0, +) }
  }
}
