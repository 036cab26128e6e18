import ArgumentParser
import Foundation

enum ProgressStyle: String, ExpressibleByArgument, CaseIterable {
  case none
  /// A line every 30 seconds.
  case plain
  /// One line that changes.
  case bar
}

/// What every command takes that shows how far it is.
struct ProgressArguments: ParsableArguments {
  @Option(help: "bar, plain (a line every 30 seconds) or none. Default: bar at a terminal, plain elsewhere.")
  var progress: ProgressStyle?

  var style: ProgressStyle {
    if let progress { return progress }
    // A terminal that says so cannot erase.
    return Display.isTerminal && ProcessInfo.processInfo.environment["TERM"] != "dumb" ? .bar : .plain
  }
}
