import Parallel

/// A tensor's bytes in memory: unpacked, or the file's own pages. Valid as long as the object lives.
package final class LoadedTensor: Sendable {
  package let descriptor: TensorDescriptor
  /// In the encoding's order.
  package let planes: [LoadedPlane]

  init(_ descriptor: TensorDescriptor, _ planes: [LoadedPlane]) {
    self.descriptor = descriptor
    self.planes = planes
  }

  package var name: String { descriptor.name }

  /// nil where the encoding has no such plane.
  package subscript(_ kind: PlaneKind) -> LoadedPlane? { planes.first { $0.kind == kind } }

  /// Gives back the memory of pages that are the file's own; they are read again, not checked again, when they are next touched. Planes
  /// that were unpacked keep theirs until the object goes.
  package func dropPages() {
    for plane in planes { plane.mapping?.dropPages() }
  }

  /// Bytes that are unpacked in memory, without those that are the file's own pages.
  package var allocatedByteCount: Int { planes.reduce(0) { $0 + ($1.isMapped ? 0 : $1.byteCount) } }
}

/// One plane of a loaded tensor.
package struct LoadedPlane: @unchecked Sendable {
  package let kind: PlaneKind
  /// At a 64-byte boundary. Valid as long as the tensor lives.
  package let pointer: UnsafeRawPointer
  package let byteCount: Int
  /// Whether the bytes are the file's own pages.
  package var isMapped: Bool { mapping != nil }

  let mapping: FileMapping?
  private let memory: AlignedMemory?

  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointer, count: byteCount) }

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
