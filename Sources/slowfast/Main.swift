import ArgumentParser
import Foundation
import Support

/// One line and a status for whatever happens: 0 done, 1 bad input, 2 wrong usage, 130 interrupted.
@main
struct Main {
  static func main() {
    Output.holdClosedStreams()
    AddressSpace.spare()
    Interrupt.install()
    MappedFiles.reportLostPages()
    let line = CommandLineCheck(arguments: CommandLine.systemArguments)
    do {
      try line.check()
      var command = try SlowFastCommand.parseAsRoot(CommandLine.systemArguments)
      try command.run()
      Display.clearLine()
      try Output.finish()
    } catch {
      exit(report(error, line))
    }
  }

  private static func report(_ error: any Error, _ line: CommandLineCheck) -> Int32 {
    switch error {
    case let error as UnwritableOutput:
      if !error.isBrokenPipe { Display.printError("error: \(error)") }
      return 1
    case let error as SlowFastError:
      if error.kind == .cancelled {
        Display.printError("\(error)")
        return line.failed("\(error)", status: 130)
      }
      let message = "\(error.text)\(advice(error.kind))"
      Display.printError("error: \(message)")
      return line.failed(message, status: error.kind == .invalidOption ? 2 : 1)
    default:
      if let code = error as? ExitCode { return code.rawValue }
      if SlowFastCommand.exitCode(for: error) == .success {
        do throws(UnwritableOutput) {
          try Display.print(SlowFastCommand.fullMessage(for: error))
          try Output.finish()
        } catch { return report(error, line) }
        return 0
      }
      let message = line.message(of: error)
      Display.printError("error: \(message)\n\(line.reference)")
      return line.failed(message, status: 2)
    }
  }

  /// The flag that helps.
  private static func advice(_ kind: SlowFastError.Kind) -> String {
    switch kind {
    case .outputExists: "; --force replaces it"
    case .notEnoughMemory: "; with --force it runs all the same, slowly, for weights are then read from the file again and again"
    default: ""
    }
  }
}

struct SlowFastCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "slowfast",
    abstract: "Video language models on small machines: convert a checkpoint to 4 or 8 bits, ask about a video on the CPU.",
    discussion: """
      A first session:

        slowfast convert checkpoint/ model.sfq --bits 4
        slowfast run model.sfq clip.mp4 -q "What happens?"
        slowfast chat model.sfq clip.mp4

      The environment variable SLOWFAST_KERNELS forces an instruction set below the machine's best: portable, avx2, avxvnni, avx512vl or \
      avx512; on ARM portable, neon, dotprod or i8mm.

      Exit status: 0 done, 1 bad input, 2 wrong usage, 130 interrupted.

      Completion of commands, options and file names, where no package has installed it:

        slowfast --generate-completion-script bash \\
          > ~/.local/share/bash-completion/completions/slowfast
      """,
    version: SlowFastVersion.current,
    subcommands: [
      ConvertCommand.self, RunCommand.self, ChatCommand.self, CompareCommand.self, FramesCommand.self, BenchCommand.self,
      TraceCommand.self, TokenizeCommand.self, InspectCommand.self, VerifyCommand.self, UnpackCommand.self, PackCommand.self,
    ])
}
