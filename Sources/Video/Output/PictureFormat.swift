/// What a picture is written as; the ending of its name decides.
package enum PictureFormat: String, CaseIterable, Sendable {
  case png, jpeg

  /// nil for a name without one of the endings .png, .jpg and .jpeg, whatever their case.
  package init?(path: String) {
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard let dot = name.lastIndex(of: ".") else { return nil }
    switch name[name.index(after: dot)...].lowercased() {
    case "png": self = .png
    case "jpg", "jpeg": self = .jpeg
    default: return nil
    }
  }
}
