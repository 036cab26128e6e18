import Compute
import ModelFile
import Parallel
import Support
import Video

/// The frames of a clip on their way through the tower: those that a store has already, by what they show, and those that it is to keep.
/// What is kept of a frame has no position, so that it serves every clip, range and number of frames in which the same picture comes.
package final class FrameKeeper {
  /// Of all views so far.
  package private(set) var names: [String] = []
  /// What kept frames from being stored.
  package private(set) var problem: String?
  private let store: any ClipStore
  private let kind: CacheKey
  private let reader: any FrameReader
  private let pool: ThreadPool
  /// Of each name, the first view that has it.
  private var places: [String: Int] = [:]
  /// Views that the store does not have yet.
  private var unsaved: [Int] = []

  /// So many frames are kept together: what a process loses at most that is killed.
  private static let group = 64

  package init(_ store: any ClipStore, _ kind: CacheKey, pool: ThreadPool) {
    (self.store, self.kind, self.pool) = (store, kind, pool)
    reader = store.frames(kind, pool: pool)
  }

  /// Bytes that the store has room for.
  package var limit: Int { store.limit }

  /// What the store could not read.
  package var damage: [String] { reader.problems }

  /// 128 bits of what a view shows; with `view`, of that in this place.
  package static func name(of image: RGBImage, view: Int? = nil) -> String {
    let size = Array("\(image.width)x\(image.height) \(view.map { "at \($0) " } ?? "")".utf8)
    return checksum(image.pixels).hexadecimal() + checksum(size + image.pixels).hexadecimal()
  }

  /// Brings the rows of the next view to their place in `kept`, which has `rows` of each; false where they are not known.
  package func take(_ name: String, to kept: StoredRows, rows: Int) -> Bool {
    let view = names.count
    let target = kept.bytes(of: view * rows..<(view + 1) * rows)
    if let place = places[name] {
      target.copyMemory(from: UnsafeRawBufferPointer(kept.bytes(of: place * rows..<(place + 1) * rows)))
    } else {
      guard let found = reader.find(name), found.byteCount == target.count else { return false }
      found.withBytes { target.copyMemory(from: $0) }
      places[name] = view
    }
    names.append(name)
    return true
  }

  /// The next view's rows were computed, and are in their place.
  package func add(_ name: String) {
    places[name] = names.count
    unsaved.append(names.count)
    names.append(name)
  }

  /// The last view stands here too.
  package func `repeat`() { if let last = names.last { names.append(last) } }

  /// Whether there is enough to be stored together.
  package var isFull: Bool { unsaved.count >= Self.group }

  /// Stores what is new.
  package func save(from kept: StoredRows, rows: Int) {
    guard problem == nil, !unsaved.isEmpty else { return }
    problem = withExtendedLifetime(kept) {
      let parts = unsaved.map { view in
        ClipEntry.Part(
          name: names[view], type: kept.type.stored, pieces: [UnsafeRawBufferPointer(kept.bytes(of: view * rows..<(view + 1) * rows))])
      }
      return store.store(frames: parts, kind, pool: pool)
    }
    unsaved = []
  }

  /// Nothing of this clip will be stored, for this reason.
  package func giveUp(_ reason: String) { problem = reason }
}
