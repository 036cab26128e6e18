/// What went wrong between a path and an answer: its kind, for a program, and one line that says what and where, for a person.
public struct SlowFastError: Error, Sendable, CustomStringConvertible {
  /// What a program may want to tell apart.
  public enum Kind: String, Sendable {
    /// The caller asked to stop.
    case cancelled
    /// An option is out of range, whatever the files hold.
    case invalidOption
    /// A model file or a checkpoint cannot be used.
    case invalidModel
    /// A model file or a checkpoint was written to or cut since it was opened; opened again it may be of use.
    case modelChanged
    /// A clip or a picture cannot be decoded.
    case invalidClip
    /// Another file that was named: questions, a report's folder, a cache's directory.
    case invalidFile
    /// Prompt and clip have more tokens than the model has positions.
    case promptTooLong
    /// A whole prompt has more or fewer marks than clips and pictures are shown.
    case invalidPrompt
    /// The plan is more than the memory there is; the description says what would help.
    case notEnoughMemory
    /// A file was not written because there is one of that name.
    case outputExists
    /// A file cannot be written.
    case unwritableOutput
  }

  /// What went wrong, for a program.
  public let kind: Kind
  /// One line, with the name of the file that it is about.
  public let description: String
  /// What `invalidOption` is about, by its name in the library (`maximumTokens`, `clipCache.limit`); nil where that is no option of one.
  public let option: String?
  /// As the part of the program threw it.
  package let underlying: (any Error)?
  /// The description where it names options.
  private let words: [Word]

  /// A piece of a description. Options have their names in the library there; a command says its own.
  package enum Word: Sendable, ExpressibleByStringInterpolation {
    case text(String)
    case option(String)

    package init(stringLiteral text: String) { self = .text(text) }
  }

  package init(_ kind: Kind, _ description: String, underlying: (any Error)? = nil) {
    (self.kind, self.description, self.underlying, option, words) = (kind, description, underlying, nil, [])
  }

  private init(_ kind: Kind = .invalidOption, option: String, _ words: [Word]) {
    (self.kind, underlying, self.option, self.words) = (kind, nil, option, words)
    description = words.text { $0 }
  }

  /// The description with each option's name as the caller has it.
  package func description(naming name: (String) -> String) -> String { words.isEmpty ? description : words.text(naming: name) }

  /// An error of any part as one of the program's.
  package init(_ error: any Error) {
    switch error {
    case let error as SlowFastError: self = error
    case let error as any ClassifiedError: self.init(error.kind, "\(error)", underlying: error)
    default: self.init(.invalidFile, "\(error)", underlying: error)
    }
  }

  /// The same; what does not name its file speaks of the one at `path`.
  package init(_ error: any Error, path: String) {
    let inner = (error as? SlowFastError)?.underlying ?? error
    switch inner {
    case let inner as any ClassifiedError where inner.whatItIs != nil:
      self.init(inner.kind, inner.whatItIs ?? "\(inner)", underlying: inner)
    case let inner as any ClassifiedError where !inner.namesItsFile:
      self.init(inner.kind, "\(path.escaped()): \(inner)", underlying: inner)
    case is any ClassifiedError: self.init(error)
    default: self = error as? SlowFastError ?? Self(.invalidModel, "\(path.escaped()): \(error)", underlying: error)
    }
  }
}

extension [SlowFastError.Word] {
  fileprivate func text(naming name: (String) -> String) -> String {
    map {
      switch $0 {
      case .text(let text): text
      case .option(let option): name(option)
      }
    }.joined()
  }
}

/// An error of one part of the program, which knows what kind of thing it is. Its description is one line.
package protocol ClassifiedError: Error, Sendable, CustomStringConvertible {
  var kind: SlowFastError.Kind { get }
  /// Whether the description names the file that it is about, where there is one.
  var namesItsFile: Bool { get }
  /// What the file is in place of what was expected, where that helps more than what is wrong with it.
  var whatItIs: String? { get }
}

extension ClassifiedError {
  package var namesItsFile: Bool { true }
  package var whatItIs: String? { nil }
}

/// Runs a step of a module below, its failures as the program's.
package func classified<T, Failure: ClassifiedError>(_ body: () throws(Failure) -> T) throws(SlowFastError) -> T {
  do throws(Failure) { return try body() } catch { throw SlowFastError(error) }
}

extension OutputError: ClassifiedError {
  package var kind: SlowFastError.Kind {
    if case .exists = self { .outputExists } else { .unwritableOutput }
  }
}

extension SlowFastError {
  package static let cancelled = SlowFastError(.cancelled, "interrupted")

  package static func notAClip(path: String, reason: String) -> Self { Self(.invalidClip, "\(path.escaped()): \(reason)") }
  /// What was named is no model, or holds what it does not promise.
  package static func badModel(path: String, reason: String) -> Self { Self(.invalidModel, "\(path.escaped()): \(reason)") }
  /// The directory of a clip cache is of no use.
  package static func cannotCache(directory: String, reason: String) -> Self {
    Self(.invalidFile, "\(directory.escaped()): clips cannot be kept there: \(reason)")
  }
  /// A file or folder of the user's that is none of the kinds above; `line` counts from 1 and is nil where the whole is meant.
  package static func badFile(path: String, line: Int? = nil, problem: String) -> Self {
    Self(.invalidFile, "\(path.escaped())\(line.map { ":\($0)" } ?? ""): \(problem)")
  }
  /// A value out of range that is no option's.
  package static func badOption(name: String, found: String, expected: String) -> Self {
    Self(.invalidOption, "\(name) is \(found.escaped()), expected \(expected)")
  }
  /// An option out of range, by its name in the library.
  package static func badOption(_ option: String, found: String, expected: Word...) -> Self {
    Self(option: option, [.option(option), .text(" is \(found.escaped()), expected ")] + expected)
  }
  /// The model has no id for a token that the prompt needs.
  package static func missingToken(_ token: String) -> Self { Self(.invalidModel, "the tokenizer has no token \(token.escaped())") }
  /// Too few tokens to tell what a layer takes.
  package static func calibrationTooSmall(tokens: Int, least: Int) -> Self {
    Self(.invalidFile, "the calibration set gives \(tokens) tokens, expected at least \(least): name more clips or questions")
  }

  package static func badPrompt(marks: Int, expected: String) -> Self {
    Self(.invalidPrompt, "the prompt has \(marks) of <image> or <video>, expected \(expected)")
  }
  /// `fastFrames`: with so many frames' fast tokens at most the prompt would fit.
  package static func promptTooLong(tokens: Int, limit: Int, fastFrames: Int? = nil) -> Self {
    let text =
      "the prompt takes \(tokens) tokens, the model's context has \(limit): "
      + "ask a shorter question, take fewer frames, or begin a new conversation"
    guard let fastFrames else { return Self(.promptTooLong, text) }
    return Self(
      .promptTooLong, option: "fastFrames",
      [.text(text + "; or take fast tokens of at most "), .text("\(fastFrames) frames ("), .option("fastFrames"), .text(")")])
  }

  /// `help`: what it would take with which change.
  package static func notEnoughMemory(needed: Int, available: Int, plan: String, help: [String]) -> Self {
    Self(
      .notEnoughMemory,
      "the run needs \(formatBytes(needed)), \(formatBytes(available)) are available (\(plan)); "
        + (help.isEmpty ? "it takes a smaller model" : "it would take \(help.joined(separator: ", "))"))
  }
}
