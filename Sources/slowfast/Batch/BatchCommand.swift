import ArgumentParser
import Dispatch
import Foundation
import ModelFile
import SlowFast
import Support
import Synchronization

struct BatchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "batch",
    abstract: "Many questions about many clips, from a file and to a file.",
    usage: """
      slowfast batch MODEL QUESTIONS.jsonl -o ANSWERS.jsonl [OPTIONS]
      slowfast batch MODEL FOLDER -q QUESTION… -o ANSWERS.jsonl [OPTIONS]
      """,
    discussion: """
        slowfast batch model.sfq questions.jsonl -o answers.jsonl
        slowfast batch model.sfq clips/ -q "What happens?" -o a.csv --csv

      A line is a JSON object with question, and if wanted id, video or images (paths relative to the file), frames, start and end \
      (seconds), choices (a list of texts) or schema (a JSON schema); other fields are ignored. Of a folder, and the folders in it, each \
      video, picture and directory of pictures is asked about.

      First all clips go through the tower, then the decoder answers, so that one of the two is in memory at a time. Answers are written \
      in the order of the questions; a line or a clip that is of no use gives an error on its line, and the status is 1. What was \
      stopped goes on where it was when the same command is given again.
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Argument(help: "A file of JSON lines, or a folder of clips.", completion: .file())
  var questions: String
  @Option(name: [.short, .long], help: "What to ask about each clip of a folder. May be repeated.")
  var question: [String] = []
  @Option(name: [.short, .customLong("output")], help: "The file of answers.", completion: .file())
  var output: String
  @Flag(help: "Write a table with commas between in place of JSON lines.")
  var csv = false
  @Option(help: "Questions that are answered at a time, 1 to 64: they share each pass over the weights.")
  var parallel = 4
  @Flag(help: "Replace the file of answers, and forget answers to something else that an earlier run left.")
  var force = false
  @OptionGroup var sampling: SamplingArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var session: SessionArguments
  @OptionGroup var modelOptions: ModelArguments
  @OptionGroup var fastFrames: FastFramesArguments
  @OptionGroup var cacheBits: CacheBitsArguments
  @OptionGroup var reuse: ReuseArguments
  @OptionGroup var display: ProgressArguments

  func validate() throws {
    if !(1...64).contains(parallel) { throw ValidationError("--parallel is \(parallel), expected 1 to 64") }
    if generation.logprobs != nil, csv { throw ValidationError("--logprobs and --csv exclude each other") }
  }

  func run() throws {
    // A run that was killed at its very end has written all answers, and not yet taken away what it kept of them.
    let mayBeDone = !force && [output, output + ".partial"].allSatisfy { FileStatus(path: $0, followingLinks: false) != nil }
    do throws(OutputError) { try OutputFile.check(output, replacing: force || mayBeDone, inputs: [questions, model]) } catch {
      throw SlowFastError(error)
    }
    let asked = try ask()
    if !asked.leftOut.isEmpty { Display.printError("\(questions.escaped()): no clips and left out: \(BatchFolder.list(asked.leftOut))") }
    let model = try modelOptions.open(model)
    var options = session.options
    modelOptions.apply(to: &options)
    reuse.apply(to: &options)
    options.fastFrames = fastFrames.fastFrames
    options.cacheBits = cacheBits.cacheBits
    options.keepsWeights = true
    let clips = output + ".clips"
    if options.clipCache == nil {
      guard ClipCache.isAlone(in: clips) else {
        throw ValidationError("\(clips.quoted) is there and no batch has made it: choose another OUTPUT, or --cache DIRECTORY")
      }
      options.clipCache = ClipCacheOptions(directory: clips, limit: .max)
    }
    let generationOptions = try generation.options(defaults: model.generationDefaults)
    try generationOptions.validate()
    let answers = try BatchAnswers(
      output, asked.questions, identity: identity(model, options, generationOptions), replacing: force)
    // What an earlier run kept without --cache goes as well, if it is not named as one now.
    let takesClipsAway =
      reuse.cache.map { cache in
        guard answers.isContinued else { return false }
        guard let named = FileStatus(path: cache), let own = FileStatus(path: clips) else { return true }
        return !named.isSameFile(as: own)
      } ?? true
    if answers.unusedCount > 0 {
      Display.printError(
        "\(counted(answers.unusedCount, "answer")) of the run before \(answers.unusedCount == 1 ? "is" : "are") of no use any more: "
          + "lines or clips were changed or taken away")
    }
    let batch = Batch(
      model: model, options: options, sampling: sampling.request(model, frames: nil), generation: generationOptions,
      drawsSeeds: generation.seed == nil, parallel: parallel, answers: answers, progress: ProgressLine(display))
    let start = ContinuousClock.now
    let errors: Int
    if mayBeDone {
      guard let found = answers.errors(in: output, asked.questions, asCSV: csv) else {
        throw SlowFastError(OutputError.exists(path: output))
      }
      errors = found
    } else {
      do {
        try batch.run(asked.questions)
      } catch {
        if asked.questions.contains(where: { $0.problem == nil && answers.has($0) }) {
          Display.printError("what is answered so far is in \((output + ".partial").escaped()); the same command goes on from there")
        }
        throw error
      }
      errors = try answers.publish(asked.questions, to: output, asCSV: csv, replacing: force)
    }
    // The answers last: as long as they are there, the next run knows that there is something to take away.
    if takesClipsAway, ClipCache.isAlone(in: clips) { ClipCache.remove(clips) }
    answers.forget()
    let seconds = Printing.seconds((ContinuousClock.now - start) / .seconds(1))
    Display.printError(
      "\(output.escaped()): \(counted(asked.questions.count - errors, "answer")), \(counted(errors, "error")), \(seconds)")
    if errors > 0 { throw ExitCode(1) }
  }

  private func ask() throws -> BatchQuestions {
    if FileStatus(path: questions)?.kind == .directory {
      if question.isEmpty { throw ValidationError("\(questions.quoted) is a folder: missing -q QUESTION.") }
      let own = ["", ".partial", ".clips"].map { output + $0 } + (reuse.cache.map { [$0] } ?? [])
      return try BatchQuestions(folder: questions, asking: try QuestionText.read(question), except: own)
    }
    if !question.isEmpty { throw ValidationError("-q is for a folder of clips, and \(questions.quoted) is a file") }
    return try BatchQuestions(jsonLines: questions)
  }

  /// What all answers depend on.
  private func identity(_ model: VideoLanguageModel, _ options: SessionOptions, _ generation: GenerationOptions) -> [String] {
    var drawn = generation
    // Sets have another order in each process, and seeds may be drawn.
    (drawn.stopTokens, drawn.form) = ([], .text)
    if self.generation.seed == nil { drawn.seed = 0 }
    let form =
      switch generation.form {
      case .json(let schema): schema.text
      case .choices(let texts): "\(texts)"
      case .text: "-"
      }
    return [
      SlowFastVersion.current, model.identity, "\(sampling.request(model, frames: nil))", "\(drawn)", form,
      "\(generation.stopTokens.sorted())",
      "\(options.slowAttention?.rawValue ?? "-") \(options.cacheBits ?? 0) \(options.reuse) \(options.fastFrames ?? 0)",
      options.system ?? "-",
    ]
  }
}

extension RunStatistics {
  /// What the clip took when the tower saw it, in place of finding it again.
  fileprivate func with(clip: RunStatistics) -> RunStatistics {
    var all = self
    (all.decodedFrames, all.frames, all.encodedFrames) = (clip.decodedFrames, clip.frames, clip.encodedFrames)
    (all.computedFrames, all.reusedFrames, all.cachedFrames) = (clip.computedFrames, clip.reusedFrames, clip.cachedFrames)
    let stages: [WritableKeyPath<StageTimes, Double>] = [\.clipCache, \.loadVision, \.decode, \.frameWait, \.resize, \.tower, \.projector]
    for stage in stages { all.times[keyPath: stage] += clip.times[keyPath: stage] }
    return all
  }
}

/// The work on a batch.
private struct Batch: Sendable {
  let model: VideoLanguageModel
  let options: SessionOptions
  /// As far as a question says nothing else.
  let sampling: SamplingRequest
  let generation: GenerationOptions
  /// Each answer that is drawn has a seed of its own.
  let drawsSeeds: Bool
  let parallel: Int
  let answers: BatchAnswers
  let progress: ProgressLine

  func run(_ questions: [BatchQuestion]) throws {
    try refuse(pending(questions))
    try checkMemory(pending(questions))
    let statistics = try encode(pending(questions))
    try answer(pending(questions), statistics)
  }

  /// Those without an answer, questions about one clip together.
  private func pending(_ questions: [BatchQuestion]) -> [BatchQuestion] {
    let open = questions.filter { !answers.has($0) }
    var order: [BatchClip?: Int] = [:]
    for question in open where order[question.clip] == nil { order[question.clip] = order.count }
    return open.sorted { (order[$0.clip] ?? 0, $0.line) < (order[$1.clip] ?? 0, $1.line) }
  }

  /// What can be known before any clip is encoded: one that cannot be opened, choices that are none, a prompt that is too long.
  private func refuse(_ questions: [BatchQuestion]) throws {
    let session = try Session(model, options: options)
    var refused: [BatchRecord] = []
    for (index, question) in questions.enumerated() {
      if index % 64 == 0 { progress.line("checking", index, questions.count, "question \(index + 1) of \(questions.count)") }
      do throws(SlowFastError) {
        do throws(SlowFastError) { try options(of: question).validate() } catch {
          // The line's own, by its own name.
          guard question.form != nil else { throw error }
          throw SlowFastError(.invalidOption, error.description)
        }
        try question.clip?.check(model)
        try session.checkPrompt(question.text, about: question.clip?.sources(model) ?? [], sampling: request(question.clip))
      } catch {
        guard Self.isOfOneQuestion(error) else { throw error }
        refused.append(BatchRecord(question: question, error: error.text))
      }
      if Interrupt.isRequested { throw SlowFastError.cancelled }
    }
    try answers.keep(errors: refused)
  }

  private func options(of question: BatchQuestion) -> GenerationOptions {
    var options = generation
    if drawsSeeds { options.seed = UInt64.random(in: 0...UInt64(UInt32.max)) }
    if let form = question.form { options.form = form }
    return options
  }

  private func request(_ clip: BatchClip?) -> SamplingRequest { clip?.sampling(sampling, model) ?? sampling }

  /// Refuses what cannot fit: the most frames that are asked for, with one answer at a time.
  private func checkMemory(_ questions: [BatchQuestion]) throws {
    func frames(_ question: BatchQuestion) -> Int { question.clip?.sampling(sampling, model).frames ?? 0 }
    guard let largest = questions.max(by: { frames($0) < frames($1) }) else { return }
    // A clip that cannot be opened is told on its line.
    let sources = (try? largest.clip?.sources(model)) ?? []
    try Session(model, options: options).checkMemory(
      sources, sampling: request(largest.clip), question: largest.text, maximumTokens: generation.maximumTokens)
  }

  /// All clips through the tower. One that is of no use is an error on each of its lines. Returns what each took.
  private func encode(_ questions: [BatchQuestion]) throws -> [BatchClip: RunStatistics] {
    var statistics: [BatchClip: RunStatistics] = [:]
    let session = try Session(model, options: options)
    // Questions about one clip stand together.
    var clips: [(clip: BatchClip, questions: [BatchQuestion])] = []
    for question in questions {
      guard let clip = question.clip else { continue }
      if clips.last?.clip != clip { clips.append((clip, [])) }
      clips[clips.count - 1].questions.append(question)
    }
    let total = clips.reduce(0) { $0 + $1.clip.sampling(sampling, model).frames }
    var done = 0
    for (index, (clip, questions)) in clips.enumerated() {
      let request = clip.sampling(sampling, model)
      let (first, count) = (done, clips.count)
      do throws(SlowFastError) {
        try session.watch(
          clip.sources(model), sampling: request,
          progress: { [progress] news in
            func line(_ done: Int, _ frame: Int, _ frames: Int) {
              progress.line("encoding", first + done, total, "clip \(index + 1) of \(count), frame \(frame) of \(frames)")
            }
            switch news {
            case .decoding(let frame, let frames): line(frame - 1, frame, frames)
            case .encoding(let frame, let frames): line(frame, frame, frames)
            default: progress.show(news)
            }
          }, isCancelled: { Interrupt.isRequested })
        statistics[clip] = session.statistics
        for warning in session.statistics.warnings { Display.printError("warning: \(clip.names[0].escaped()): \(warning)") }
      } catch {
        guard Self.isOfOneQuestion(error) else { throw error }
        try answers.keep(errors: questions.map { BatchRecord(question: $0, error: error.text) })
      }
      done += request.frames
    }
    return statistics
  }

  /// Whether the others may go on.
  private static func isOfOneQuestion(_ error: SlowFastError) -> Bool {
    [.invalidClip, .promptTooLong, .invalidOption].contains(error.kind)
  }

  /// All questions through the decoder, `parallel` at a time.
  private func answer(_ questions: [BatchQuestion], _ statistics: [BatchClip: RunStatistics]) throws {
    if questions.isEmpty { return }
    let runner = try ModelRunner(model, options: options)
    let queue = Queue(questions, statistics)
    let end = DispatchSemaphore(value: 0)
    let work = Task {
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<min(parallel, questions.count) { group.addTask { await answer(queue, runner) } }
      }
      end.signal()
    }
    while end.wait(timeout: .now() + .milliseconds(100)) == .timedOut {
      if Interrupt.isRequested || queue.failure != nil { work.cancel() }
    }
    if let failure = queue.failure { throw failure }
    if Interrupt.isRequested { throw SlowFastError.cancelled }
  }

  /// Questions that several tasks take, each the next one.
  private final class Queue: Sendable {
    private struct State {
      /// What clips took that no question was taken about yet.
      var clips: [BatchClip: RunStatistics]
      var next = 0
      var done = 0
      var failure: (any Error)?
    }
    private let questions: [BatchQuestion]
    private let state: Mutex<State>

    init(_ questions: [BatchQuestion], _ clips: [BatchClip: RunStatistics]) {
      self.questions = questions
      state = Mutex(State(clips: clips))
    }

    var count: Int { questions.count }
    /// What ends the work on all of them.
    var failure: (any Error)? { state.withLock { $0.failure } }

    /// The next one; with the first about a clip, what that took.
    func take() -> (BatchQuestion, RunStatistics?)? {
      state.withLock { state in
        guard state.failure == nil, state.next < questions.count else { return nil }
        let question = questions[state.next]
        state.next += 1
        return (question, question.clip.flatMap { state.clips.removeValue(forKey: $0) })
      }
    }

    /// Returns how many are done.
    func finish() -> Int {
      state.withLock { state in
        state.done += 1
        return state.done
      }
    }

    func fail(_ error: any Error) { state.withLock { $0.failure = $0.failure ?? error } }
  }

  private func answer(_ queue: Queue, _ runner: ModelRunner) async {
    while !Task.isCancelled, let (question, watched) = queue.take() {
      do { try await answer(question, watched, runner) } catch { return queue.fail(error) }
      let done = queue.finish()
      progress.line("answering", done, queue.count, "question \(done) of \(queue.count)")
    }
  }

  /// `watched`: what the clip took, where it is told with this answer.
  private func answer(_ question: BatchQuestion, _ watched: RunStatistics?, _ runner: ModelRunner) async throws {
    let options = options(of: question)
    do {
      let conversation = runner.conversation(about: try question.clip?.sources(model) ?? [], sampling: request(question.clip))
      for try await event in conversation.answer(question.text, options: options) {
        guard case .finished(let answer, let statistics) = event else { continue }
        let record = AnswerRecord(
          answer, to: question.text, about: question.clip?.names ?? [], options: options, tokenizer: model.tokenizer,
          statistics: watched.map(statistics.with) ?? statistics)
        return try answers.keep(BatchRecord(question: question, answer: record))
      }
    } catch let error as SlowFastError {
      guard Self.isOfOneQuestion(error) else { throw error }
      return try answers.keep(errors: [BatchRecord(question: question, error: error.text)])
    }
    throw SlowFastError.cancelled
  }
}
