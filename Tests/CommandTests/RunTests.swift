import Foundation
import TestSupport
import Testing

/// `run` and `chat` on a real clip.
@Suite struct RunTests {
  private func run(_ more: String..., environment: [String: String] = [:]) throws -> Outcome {
    let arguments = ["run", try Fixture.model(), Repository.clip, "-q", "What happens?", "--frames", "4", "--max-tokens", "6"]
    return try Run(arguments + more, environment: environment).finish()
  }

  @Test func jsonHasTheDocumentedKeys() throws {
    let outcome = try run("--temperature", "1", "--seed", "5", "--json")
    #expect(outcome.status == 0 && outcome.errors == "")
    let json = try outcome.json()
    #expect(
      Set(json.keys) == ["clip", "question", "answer", "tokens", "end_reason", "seed", "plan", "statistics", "peak_resident_bytes"])
    #expect(json["clip"] as? String == Repository.clip && json["question"] as? String == "What happens?")
    #expect(json["end_reason"] as? String == "token limit" && json["seed"] as? Int == 5)
    let statistics = try #require(json["statistics"] as? [String: Any])
    #expect(statistics["decoded_frames"] as? Int == 390 && statistics["frames"] as? Int == 4)
    #expect(statistics["slow_tokens"] as? Int == 36 && statistics["fast_tokens"] as? Int == 9)
    #expect((json["tokens"] as? [Int])?.count == statistics["generated_tokens"] as? Int)
    let plan = try #require(json["plan"] as? [String: Any])
    #expect(plan["slow_tokens"] as? Int == 36 && plan["prompt_tokens"] as? Int == statistics["prompt_tokens"] as? Int)
  }

  /// A seed that decides nothing is not told.
  @Test(arguments: [["--greedy"], ["--temperature", "0"], ["--temperature", "1", "--top-k", "1"]])
  func theSeedOfWhatIsNotDrawn(options: [String]) throws {
    let arguments = ["run", try Fixture.model(), "-q", "hi", "--max-tokens", "2", "--seed", "77123"] + options
    #expect(try Run(arguments + ["--json"]).finish().json()["seed"] == nil)
    let statistics = try Run(arguments + ["--stats"]).finish().output
    #expect(!statistics.contains("seed") && !statistics.contains("77123") && statistics.contains("(token limit)"), "\(statistics)")
    // Of one token, of no frame, there is nothing to divide.
    let short = try Run(["run", try Fixture.model(), "-q", "hi", "--max-tokens", "1", "--greedy", "--stats"]).finish().output
    #expect(short.contains("generate ") && short.contains(" 1 answer token (") && !short.contains(" 0.0 "), "\(short)")
    let drawn = try Run(["run", try Fixture.model(), "-q", "hi", "--max-tokens", "2", "--seed", "77123", "--temperature", "1", "--stats"])
      .finish()
    #expect(drawn.output.contains("seed 77123\n"), "\(drawn.output)")
  }

  @Test func stopTextsAndProbabilities() throws {
    let whole = try run("--greedy", "--json", "--logprobs", "2").json()
    let answer = try #require(whole["answer"] as? String)
    let tokens = try #require(whole["logprobs"] as? [[String: Any]])
    #expect(tokens.map { $0["id"] as? Int } == whole["tokens"] as? [Int?] && tokens.count == 6)
    #expect(tokens.allSatisfy { ($0["top_logprobs"] as? [Any])?.count == 2 && ($0["logprob"] as? Double ?? 1) <= 0 })
    let bytes = tokens.flatMap { $0["bytes"] as? [UInt8] ?? [] }
    #expect(String(decoding: bytes, as: UTF8.self).contains(answer))
    let stop = String(answer.unicodeScalars.dropFirst(3).prefix(2))
    let outcome = try run("--greedy", "--json", "--stop", "no such text", "--stop", stop).json()
    #expect(outcome["end_reason"] as? String == "stop text" && outcome["logprobs"] == nil)
    let told = try #require(outcome["answer"] as? String)
    #expect(answer.hasPrefix(told) && !told.contains(stop))
    #expect(try run("--greedy", "--stop", stop).output == told + "\n")
    let penalised = try run("--greedy", "--json", "--frequency-penalty", "2", "--presence-penalty", "2", "--min-p", "0.1").json()
    #expect(Set(penalised["tokens"] as? [Int] ?? []).count == 6)
    let wrong = try run("--logprobs", "2")
    #expect(wrong.status == 2 && wrong.errors.contains("--logprobs needs --json or --jsonl."), "\(wrong.errors)")
    let tooMany = try run("--json", "--logprobs", "200")
    #expect(tooMany.status == 2 && tooMany.errors.contains("--logprobs is 200, expected 0 to 100"), "\(tooMany.errors)")
  }

  @Test func answersThatMustFit() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write(
      "schema.json", #"{"type": "object", "properties": {"count": {"type": "integer", "minimum": 7, "maximum": 9}}, "required": ["count"]}"#
    )
    let outcome = try run("--json-schema", path, "--max-tokens", "60")
    #expect(outcome.status == 0 && ["7", "8", "9"].contains { outcome.output == #"{"count":"# + $0 + "}\n" }, "\(outcome)")
    let json = try run("--choices", "yes,no,yes please", "--json").json()
    let choices = try #require(json["choices"] as? [[String: Any]])
    #expect(choices.map { $0["text"] as? String } == ["yes", "no", "yes please"])
    #expect(abs(choices.reduce(0) { $0 + ($1["probability"] as? Double ?? 0) } - 1) < 1e-9)
    let likeliest = choices.max { ($0["logprob"] as? Double ?? 0) < ($1["logprob"] as? Double ?? 0) }
    #expect(json["answer"] as? String == likeliest?["text"] as? String && json["end_reason"] as? String == "stop token")

    let wrong = try directory.write("wrong.json", #"{"type": "string", "format": "date"}"#)
    try run("--json-schema", wrong).expectBadInput("wrong.json: \"format\" at # of the schema is not supported")
    try run("--json-schema", directory.file("none")).expectBadInput("none: cannot read")
    let both = try run("--json-schema", path, "--choices", "a")
    #expect(both.status == 2 && both.errors.contains("--json-schema and --choices exclude each other"), "\(both.errors)")
    let same = try run("--choices", "a,a")
    #expect(same.status == 2 && same.errors.contains("--choices is the same text twice"), "\(same.errors)")
  }

  /// The streamed text is the answer and a line's end; statistics follow where they are asked for.
  @Test func textStreams() throws {
    let answer = try #require(try run("--greedy", "--json").json()["answer"] as? String)
    let outcome = try run("--greedy")
    #expect(outcome.status == 0 && outcome.errors == "" && outcome.output == answer + "\n")
    let statistics = try run("--greedy", "--stats")
    #expect(statistics.output.hasPrefix(answer + "\n") && statistics.output.contains("tower"))
  }

  /// Without a clip the tower is not needed.
  @Test func questionsAboutNoClip() throws {
    let outcome = try slowfast("run", Fixture.model(), "-q", "Who are you?", "--max-tokens", "6", "--greedy", "--json")
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    let json = try outcome.json()
    let plan = try #require(json["plan"] as? [String: Any])
    #expect(plan["frames"] as? Int == 0 && plan["slow_tokens"] as? Int == 0 && plan["vision_weight_bytes"] as? Int == 0)
    #expect((json["tokens"] as? [Int])?.isEmpty == false)
    let answer = try #require(json["answer"] as? String)
    let chat = try slowfast("chat", Fixture.model(), "--max-tokens", "6", "--greedy", input: "Who are you?\n\n")
    #expect(chat.status == 0 && chat.output == answer + "\n\n", "\(chat.output)")
  }

  @Test func planStopsThere() throws {
    let outcome = try run("--plan")
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(outcome.output.contains("slow tokens       36") && outcome.output.contains("peak"))
    let plan = try run("--plan", "--json").json()
    #expect(plan["frames"] as? Int == 4 && plan["slow_tokens"] as? Int == 36 && plan["maximum_answer_tokens"] as? Int == 6)
    #expect(plan["answer"] == nil)
  }

  /// With the checkpoint's own weights: where the portable kernels do not fuse product and sum, a quantized activation may round to the
  /// other side, and the fixture's random weights leave its best tokens close together.
  @Test func lowerKernelsGiveTheSameText() throws {
    let arguments = [
      "run", Repository.golden("clip"), Repository.clip, "-q", "hi", "--frames", "4", "--max-tokens", "12", "--greedy", "--json",
    ]
    let best = try Run(arguments).finish().json()
    let portable = try Run(arguments, environment: ["SLOWFAST_KERNELS": "portable"]).finish().json()
    #expect((best["tokens"] as? [Int])?.count == 12)
    #expect((portable["statistics"] as? [String: Any])?["kernels"] as? String == "portable")
    #expect(best["tokens"] as? [Int] == portable["tokens"] as? [Int] && best["answer"] as? String == portable["answer"] as? String)
  }

  @Test func seedsRepeat() throws {
    let first = try run("--temperature", "1", "--seed", "3")
    #expect(first.status == 0)
    #expect(try run("--temperature", "1", "--seed", "3").output == first.output)
    #expect(try (4...8).contains { try run("--temperature", "1", "--seed", "\($0)").output != first.output })
  }

  @Test func aCheckpointDirectoryRuns() throws {
    let outcome = try slowfast(
      "run", Repository.golden("clip"), Repository.clip, Repository.clip, "-q", "hi", "--frames", "2", "--max-tokens", "3", "--json")
    #expect(outcome.status == 0)
    #expect((try outcome.json()["statistics"] as? [String: Any])?["frames"] as? Int == 4)
  }

  /// Questions one a line; the first answer is that of `run`.
  @Test func chat() throws {
    let answer = try run("--greedy").output
    let arguments = ["chat", try Fixture.model(), Repository.clip, "--frames", "4", "--max-tokens", "6", "--greedy"]
    let outcome = try Run(arguments, input: "What happens?\nAnd then?\n").finish()
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(outcome.output.hasPrefix(answer) && outcome.output.count > answer.count)
    #expect(try Run(arguments, input: "").finish().output == "")
  }
}
