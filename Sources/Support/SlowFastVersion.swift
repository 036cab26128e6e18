/// The version of the library and the command.
public enum SlowFastVersion {
  public static let current = "0.2.0"
}
