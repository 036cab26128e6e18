import Foundation

/// A disk of its own, as small as a test wants it, where the system lets us mount one.
public final class SmallDisk {
  public let path: String

  /// `names`: of files and directories that there may be, itself included; nil: as many as there is room for.
  public init?(kibibytes: Int, names: Int? = nil) {
    let folder = NSTemporaryDirectory() + "/slowfast-disk-\(UUID().uuidString)"
    guard (try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)) != nil else { return nil }
    path = folder
    guard mount("tmpfs", path, "tmpfs", 0, "size=\(kibibytes)k" + (names.map { ",nr_inodes=\($0)" } ?? "")) == 0 else {
      try? FileManager.default.removeItem(atPath: path)
      return nil
    }
  }

  deinit {
    umount(path)
    try? FileManager.default.removeItem(atPath: path)
  }

  public static let isPossible = SmallDisk(kibibytes: 64) != nil
}
