import Models
import Safetensors
import Support

extension Checkpoint {
  /// A model's checkpoint. A vision transformer may have a directory of its own: the one that the configuration names, inside the
  /// checkpoint, or `tower`. What it says of the tower counts; its tensors only where the checkpoint has none of a tower.
  package init(model directory: String, tower: String?) throws(CheckpointError) {
    try self.init(directory: directory)
    guard let place = tower ?? towerDirectory else { return }
    let hasTower = tensors.keys.contains { CanonicalName.isTower(CanonicalName.canonical($0)) }
    try attach(place, hasTower ? nil : { CanonicalName.isTower(CanonicalName.canonical($0)) })
  }

  /// What says which model this is.
  package var configFiles: ConfigFiles {
    ConfigFiles(config: config, tower: attached?.config, preprocessor: attached?.preprocessorConfig ?? preprocessorConfig)
  }

  private var towerDirectory: String? {
    guard let name = ConfigFiles.towerName(config), !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else { return nil }
    let place = directory + "/" + name
    return FileStatus(path: place)?.kind == .directory ? place : nil
  }
}
