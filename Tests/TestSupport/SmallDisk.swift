import Foundation

/// A disk of its own, as small as a test wants it, where the system lets us mount one.
public final class SmallDisk {
  public let path: String

  public init?(kibibytes: Int) {
    let folder = NSTemporaryDirectory() + "/slowfast-disk-\(UUID().uuidString)"
    guard (try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)) != nil else { return nil }
    path = folder
    guard mount("tmpfs", path, "tmpfs", 0, "size=\(kibibytes)k") == 0 else {
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
