import Support

/// One way in which a checkpoint directory or a safetensors file can be wrong. `file` is the path as it was given.
package enum CheckpointError: Error, Equatable {
  // The file system.
  case cannotOpen(file: String, reason: String)
  case cannotRead(file: String, reason: String)
  case output(OutputError)
  case notAFile(file: String)
  case lfsPointer(file: String)
  case notADirectory(path: String, reason: String)
  /// It ended before bytes that were there when it was opened.
  case truncatedWhileReading(file: String, offset: Int)
  /// It was written to while it was in use.
  case changed(file: String)
  case fileTooLarge(file: String, bytes: Int, limit: Int)

  // The directory.
  /// Neither `model.safetensors` nor an index; `hint` says what was found instead.
  case noWeights(directory: String, hint: String)
  case shardMissing(index: String, shard: String)
  case shardNameIsNoFileName(index: String, shard: String)
  case shardNotInIndex(index: String, shard: String)
  case tensorNotInShard(index: String, tensor: String, shard: String)
  case tensorNotInIndex(index: String, tensor: String, shard: String)
  case tensorInTwoShards(index: String, tensor: String, first: String, second: String)
  case indexWithoutWeightMap(index: String)

  // A safetensors file.
  case tooShortForHeader(file: String, bytes: Int)
  case headerTooLong(file: String, length: UInt64, limit: Int)
  case headerBeyondEnd(file: String, length: UInt64, fileBytes: Int)
  case headerNotAnObject(file: String)
  case invalidJSON(file: String, offset: Int, expected: String)
  case duplicateKey(file: String, key: String)
  case tensorWithout(file: String, tensor: String, field: String)
  case unknownType(file: String, tensor: String, type: String)
  case subByteType(file: String, tensor: String, type: String)
  case tooManyDimensions(file: String, tensor: String, limit: Int)
  case sizeOverflows(file: String, tensor: String, shape: [Int])
  case offsetsReversed(file: String, tensor: String, begin: Int, end: Int)
  case offsetsDoNotMatchShape(file: String, tensor: String, bytes: Int, expected: Int)
  case dataBeyondEnd(file: String, tensor: String, end: Int, dataBytes: Int)
  case overlap(file: String, first: String, second: String)
  case hole(file: String, before: String, begin: Int, end: Int)
  case trailingBytes(file: String, bytes: Int)

  // What was asked of it.
  case noSuchTensor(file: String, tensor: String)
  case wrongType(file: String, tensor: String, type: TensorType, expected: String)
  case rangeBeyondTensor(file: String, tensor: String, range: Range<Int>, bytes: Int)
  case countDoesNotMatchShape(tensor: String, count: Int, shape: [Int])
}

extension CheckpointError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .cannotOpen(let file, let reason): "\(file.escaped()): cannot open: \(reason)"
    case .cannotRead(let file, let reason): "\(file.escaped()): cannot read: \(reason)"
    case .output(let error): "\(error)"
    case .notAFile(let file): "\(file.escaped()): \(FileKind(path: file).instead ?? "expected a regular file")"
    case .lfsPointer(let file): "\(file.escaped()): \(FileKind.lfsPointer.instead ?? "")"
    case .notADirectory(let path, let reason): "\(path.escaped()): \(reason)"
    case .truncatedWhileReading(let file, let offset):
      "\(file.escaped()): nothing left to read at byte \(offset): the file has become shorter since it was opened"
    case .changed(let file): "\(file.escaped()): was changed while it was used"
    case .fileTooLarge(let file, let bytes, let limit): "\(file.escaped()): \(bytes) bytes, expected at most \(limit)"

    case .noWeights(let directory, let hint):
      "\(directory.escaped()): neither model.safetensors nor model.safetensors.index.json\(hint.isEmpty ? "" : ": \(hint)")"
    case .shardMissing(let index, let shard): "\(index.escaped()): names the shard \(shard.quoted), which is missing"
    case .shardNameIsNoFileName(let index, let shard):
      "\(index.escaped()): names the shard \(shard.quoted), expected a plain file name in the same directory"
    case .shardNotInIndex(let index, let shard): "\(index.escaped()): the shard \(shard.quoted) lies beside it, but it does not name it"
    case .tensorNotInShard(let index, let tensor, let shard):
      "\(index.escaped()): says that tensor \(tensor.quoted) is in \(shard.quoted), but it is not there"
    case .tensorNotInIndex(let index, let tensor, let shard):
      "\(index.escaped()): does not name tensor \(tensor.quoted), which is in \(shard.quoted)"
    case .tensorInTwoShards(let index, let tensor, let first, let second):
      "\(index.escaped()): tensor \(tensor.quoted) is in two shards, \(first.quoted) and \(second.quoted)"
    case .indexWithoutWeightMap(let index): "\(index.escaped()): expected an object \"weight_map\" that names a shard for each tensor"

    case .tooShortForHeader(let file, let bytes):
      "\(file.escaped()): \(bytes) bytes, expected a safetensors file of at least 10"
    case .headerTooLong(let file, let length, let limit):
      "\(file.escaped()): the header claims \(length) bytes, expected at most \(limit): not a safetensors file?"
    case .headerBeyondEnd(let file, let length, let fileBytes):
      "\(file.escaped()): the header claims \(length) bytes, but the file has only \(fileBytes): cut short, or not a safetensors file"
    case .headerNotAnObject(let file): "\(file.escaped()): the header does not begin with \"{\": not a safetensors file"
    case .invalidJSON(let file, let offset, let expected): "\(file.escaped()): expected \(expected) at byte \(offset) of the JSON text"
    case .duplicateKey(let file, let key): "\(file.escaped()): \(key.quoted) appears twice in one JSON object"
    case .tensorWithout(let file, let tensor, let field): "\(file.escaped()): tensor \(tensor.quoted) has no \(field.quoted)"
    case .unknownType(let file, let tensor, let type): "\(file.escaped()): tensor \(tensor.quoted) has the unknown type \(type.quoted)"
    case .subByteType(let file, let tensor, let type):
      "\(file.escaped()): tensor \(tensor.quoted) has the type \(type.quoted): values of less than a byte cannot be read"
    case .tooManyDimensions(let file, let tensor, let limit):
      "\(file.escaped()): tensor \(tensor.quoted) has more than \(limit) dimensions"
    case .sizeOverflows(let file, let tensor, let shape):
      "\(file.escaped()): tensor \(tensor.quoted) of shape \(shape) has more bytes than a number can hold"
    case .offsetsReversed(let file, let tensor, let begin, let end):
      "\(file.escaped()): tensor \(tensor.quoted) ends at \(end), before it begins at \(begin)"
    case .offsetsDoNotMatchShape(let file, let tensor, let bytes, let expected):
      "\(file.escaped()): tensor \(tensor.quoted) has \(bytes) bytes, expected \(expected) by its type and shape"
    case .dataBeyondEnd(let file, let tensor, let end, let dataBytes):
      "\(file.escaped()): tensor \(tensor.quoted) ends at byte \(end) of the data, but the file has only \(dataBytes): cut short?"
    case .overlap(let file, let first, let second): "\(file.escaped()): tensors \(first.quoted) and \(second.quoted) overlap"
    case .hole(let file, let before, let begin, let end):
      "\(file.escaped()): bytes \(begin) to \(end) of the data, before tensor \(before.quoted), belong to no tensor"
    case .trailingBytes(let file, let bytes): "\(file.escaped()): the last \(bytes) bytes belong to no tensor"

    case .noSuchTensor(let file, let tensor): "\(file.escaped()): there is no tensor \(tensor.quoted)"
    case .wrongType(let file, let tensor, let type, let expected):
      "\(file.escaped()): tensor \(tensor.quoted) has the type \(type.rawValue), expected \(expected)"
    case .rangeBeyondTensor(let file, let tensor, let range, let bytes):
      "\(file.escaped()): bytes \(range) of tensor \(tensor.quoted) were asked for, but it has only \(bytes)"
    case .countDoesNotMatchShape(let tensor, let count, let shape):
      "tensor \(tensor.quoted): \(count) values do not fill the shape \(shape)"
    }
  }
}

extension CheckpointError {
  /// Reads the JSON text of a file, all of it; what `read` finds wrong is thrown as that file's.
  static func reading(_ json: [UInt8], of file: String, _ read: (inout JSONReader) throws -> Void) throws(CheckpointError) {
    var reader = JSONReader(json)
    do {
      try read(&reader)
      try reader.end()
    } catch let error as CheckpointError {
      throw error
    } catch JSONError.expected(let expected, let offset) {
      throw .invalidJSON(file: file, offset: offset, expected: expected)
    } catch JSONError.duplicateKey(let key) {
      throw .duplicateKey(file: file, key: key)
    } catch { throw .cannotRead(file: file, reason: "\(error)") }
  }
}

extension CheckpointError: ClassifiedError {
  package var kind: SlowFastError.Kind {
    switch self {
    case .output(let error): error.kind
    case .changed: .modelChanged
    default: .invalidModel
    }
  }
}
