import ModelFile
import Parallel
import Quantization
import Safetensors
import Support
import Synchronization

/// Brings tensors from a checkpoint into a model file, a batch of blocks of rows at a time: all threads read and encode the blocks of a
/// batch, then the writer packs and writes it. Memory is a batch and each thread's block, whatever the tensor's size.
final class TensorStore {
  private let checkpoint: Checkpoint
  private let writer: ModelFileWriter
  private let pool: ThreadPool
  private let method: QuantizationMethod
  private let allowsNonfinite: Bool
  private let scratch: [ConversionScratch]
  private var output: AlignedMemory?
  /// NaN and infinities met so far, where they are allowed.
  private(set) var nonfiniteTensors: [String] = []

  /// Bytes of the checkpoint in a batch, and in one thread's block where the format does not say: more gains nothing.
  private static let batchByteCount = 16 << 20
  /// The same where all threads work on the batch together, and every batch goes through the whole Hessian: more gains little.
  private static let compensatedByteCount = 64 << 20
  private static let blockByteCount = 1 << 20
  /// How far the system reads ahead.
  private static let readAhead = 64 << 20

  init(checkpoint: Checkpoint, writer: ModelFileWriter, pool: ThreadPool, method: QuantizationMethod, allowsNonfinite: Bool) {
    self.method = method
    self.checkpoint = checkpoint
    self.writer = writer
    self.pool = pool
    self.allowsNonfinite = allowsNonfinite
    scratch = (0..<pool.threadCount).map { _ in ConversionScratch() }
  }

  /// Stores one tensor. `next` is read ahead towards the end; `advance` gets the bytes of the checkpoint just done and may throw to stop.
  func store(
    _ tensor: ConversionPlan.Stored, _ treatment: TensorTreatment = TensorTreatment(), next: CheckpointTensor?,
    advance: (Int) throws(SlowFastError) -> Void
  ) throws(SlowFastError) {
    guard
      let source = RowSource(
        checkpoint, tensor.source, tensor.requirement, columnFactors: treatment.columnFactors, rowFactors: treatment.rowFactors)
    else { throw .conversion(.unsupportedType(tensor: tensor.source.name, type: tensor.source.type)) }
    let encoder = BlockEncoder(source, tensor.descriptor, treatment, method: method, allowsNonfinite: allowsNonfinite)
    let rows = encoder.blockRows ?? max(1, min(source.rows, Self.blockByteCount / max(1, source.rowByteCount)))
    let blocks = (source.rows + rows - 1) / rows
    let batchByteCount = encoder.compensates ? Self.compensatedByteCount : Self.batchByteCount
    let batch = min(blocks, max(pool.threadCount, batchByteCount / max(1, rows * source.rowByteCount)))
    let planes = encoder.planes(rows: rows)
    let buffers = try outputBuffers(planes.map { $0.byteCount * batch })

    // Single rows are read of the embedding table: of raw chunks that costs a few kilobytes, of packed ones whole chunks.
    let compression: ChunkCompression? = tensor.requirement.role == .embedding ? ChunkCompression.none : nil
    try classified { () throws(ModelFileError) in try writer.beginTensor(tensor.descriptor, compression: compression) }
    var isFinite = true
    for start in stride(from: 0, to: blocks, by: batch) {
      let count = min(batch, blocks - start)
      let end = min(source.rows, (start + count) * rows)
      readAhead(of: source, after: end, next: next)
      if encoder.compensates {
        isFinite = try encoder.compensate(start * rows..<end, to: buffers, scratch: scratch, pool) && isFinite
      } else {
        isFinite = try encode(blocks: start..<start + count, of: rows, encoder, to: buffers, planes) && isFinite
      }
      for (buffer, plane) in zip(buffers, planes) {
        let bytes = UnsafeRawBufferPointer(start: buffer, count: plane.byteCount(blocks: count, rows: end - start * rows))
        try classified { () throws(ModelFileError) in try writer.write(plane.kind, bytes) }
      }
      try advance((end - start * rows) * source.rowByteCount)
    }
    try classified { () throws(ModelFileError) in try writer.endTensor() }
    if !isFinite { nonfiniteTensors.append(tensor.source.name) }
  }

  /// Encodes some blocks, each by one thread. Returns whether all values were finite.
  private func encode(
    blocks: Range<Int>, of rows: Int, _ encoder: BlockEncoder, to buffers: [UnsafeMutableRawPointer], _ planes: [BlockEncoder.Plane]
  ) throws(SlowFastError) -> Bool {
    let failure = FirstFailure()
    pool.forEach(blocks.count) { index, worker in
      guard failure.isBefore(index) else { return }
      let first = (blocks.lowerBound + index) * rows
      let block = first..<min(encoder.source.rows, first + rows)
      do throws(SlowFastError) {
        let places = zip(buffers, planes).map { $0 + index * $1.byteCount }
        if try !encoder.encode(block, to: places, scratch: scratch[worker]) { failure.noteNonfinite() }
      } catch { failure.note(error, at: index) }
    }
    try failure.check()
    return !failure.hasNonfinite
  }

  /// One block of memory for all planes of a batch.
  private func outputBuffers(_ byteCounts: [Int]) throws(SlowFastError) -> [UnsafeMutableRawPointer] {
    let starts = byteCounts.reduce(into: [0]) { $0.append(($0[$0.count - 1] + $1 + 63) & ~63) }
    let total = starts[starts.count - 1]
    if output.map({ $0.byteCount < total }) ?? true {
      output = nil
      output = AlignedMemory(byteCount: max(64, total))
    }
    guard let base = output?.base else { throw .conversion(.outOfMemory(bytes: total)) }
    return starts.dropLast().map { base + $0 }
  }

  private func readAhead(of source: RowSource, after row: Int, next: CheckpointTensor?) {
    let bytes = source.tensor.info.bytes
    let position = bytes.lowerBound + row * source.rowByteCount
    let file = checkpoint.shards[source.tensor.shard].file
    if position < bytes.upperBound {
      file.willRead(position..<min(bytes.upperBound, position + Self.readAhead))
    } else if let next {
      let start = next.info.bytes.lowerBound
      checkpoint.shards[next.shard].file.willRead(start..<min(next.info.bytes.upperBound, start + Self.readAhead))
    }
  }
}

/// What happened to the blocks of a batch: the error of the first that failed, the same however the threads ran.
private final class FirstFailure: Sendable {
  private struct State {
    var index = Int.max
    var error: SlowFastError?
    var hasNonfinite = false
  }
  private let state = Mutex(State())

  func isBefore(_ index: Int) -> Bool { state.withLock { index < $0.index } }
  func noteNonfinite() { state.withLock { $0.hasNonfinite = true } }
  var hasNonfinite: Bool { state.withLock { $0.hasNonfinite } }

  func note(_ error: SlowFastError, at index: Int) {
    state.withLock { state in
      guard index < state.index else { return }
      state.index = index
      state.error = error
    }
  }

  func check() throws(SlowFastError) {
    if let error = state.withLock({ $0.error }) { throw error }
  }
}
