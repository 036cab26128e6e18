import Parallel

/// A tensor's bytes in memory: unpacked, or the file's own pages. Valid as long as the object lives.
public final class LoadedTensor: Sendable {
  public let descriptor: TensorDescriptor
  /// In the encoding's order.
  public let planes: [LoadedPlane]

  init(_ descriptor: TensorDescriptor, _ planes: [LoadedPlane]) {
    self.descriptor = descriptor
    self.planes = planes
  }

  public var name: String { descriptor.name }

  /// nil where the encoding has no such plane.
  public subscript(_ kind: PlaneKind) -> LoadedPlane? { planes.first { $0.kind == kind } }

  /// Gives back the memory of pages that are the file's own; they are read again, not checked again, when they are next touched. Planes
  /// that were unpacked keep theirs until the object goes.
  public func dropPages() {
    for plane in planes { plane.mapping?.dropPages() }
  }

  /// Bytes that are unpacked in memory, without those that are the file's own pages.
  public var allocatedByteCount: Int { planes.reduce(0) { $0 + ($1.isMapped ? 0 : $1.byteCount) } }
}

/// One plane of a loaded tensor.
public struct LoadedPlane: @unchecked Sendable {
  public let kind: PlaneKind
  /// At a 64-byte boundary. Valid as long as the tensor lives.
  public let pointer: UnsafeRawPointer
  public let byteCount: Int
  /// Whether the bytes are the file's own pages.
  public var isMapped: Bool { mapping != nil }

  let mapping: FileMapping?
  private let memory: AlignedMemory?

  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointer, count: byteCount) }

  init(_ kind: PlaneKind, _ mapping: FileMapping, byteCount: Int) {
    self.kind = kind
    self.mapping = mapping
    memory = nil
    pointer = mapping.base
    self.byteCount = byteCount
  }

  init(_ kind: PlaneKind, _ memory: AlignedMemory, byteCount: Int) {
    self.kind = kind
    self.memory = memory
    mapping = nil
    pointer = UnsafeRawPointer(memory.base)
    self.byteCount = byteCount
  }
}
