#if Server
  import Foundation
  import SlowFast
  import TestSupport
  import Testing

  /// Questions over HTTP, and what is said of those that cannot be asked.
  @Suite struct ChatTests {
    private func server() async throws -> TestServer { try await TestServer.shared.value }

    /// Every way in which a request may hold a clip, with the same answer; DATA is the clip in base64, PATH its name.
    @Test(arguments: [
      #"{"type": "video_url", "video_url": "file://PATH"}"#,
      #"{"type": "video_url", "video_url": {"url": "file://localhostPATH"}}"#,
      #"{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,DATA"}}"#,
      #"{"type": "input_video", "data": "DATA"}"#,
      #"{"type": "input_video", "input_video": {"data": "DATA", "format": "mp4"}}"#,
      #"{"type": "input_video", "url": "data:;base64,DATA"}"#,
      #"{"type": "video", "video": "data:video/mp4;base64,DATA"}"#,
      #"{"type": "file", "file": {"file_data": "data:video/mp4;base64,DATA", "filename": "clip.mp4"}}"#,
    ])
    func aClip(part: String) async throws {
      let part = part.replacing("PATH", with: Repository.clip).replacing("DATA", with: try Repository.bytes().base64EncodedString())
      let json = #"{"messages": [{"role": "user", "content": [\#(part), {"type": "input_text", "text": "How many shapes are there?"}]}]}"#
      let reply = try await server().send(
        "POST", "/v1/chat/completions", Data(json.utf8), headers: ["Content-Type": "application/json; charset=utf-8"])
      #expect(try reply.answer() == "2", "\(reply.text)")
    }

    @Test func theObjectOfAnAnswer() async throws {
      let reply = try await server().post(question("What happens in this video?", ["url": "file://" + Repository.clip], ["max_tokens": 5]))
      let object = try reply.json()
      #expect(reply.status == 200 && reply.headers["content-type"] == "application/json")
      #expect(object["object"] as? String == "chat.completion" && object["model"] as? String == "checkpoint")
      let choice = try #require((object["choices"] as? [[String: Any]])?.first)
      #expect(choice["finish_reason"] as? String == "length")
      let usage = try #require(object["usage"] as? [String: Any])
      #expect(usage["completion_tokens"] as? Int == 5)
      #expect(usage["total_tokens"] as? Int == (usage["prompt_tokens"] as? Int ?? 0) + 5)
      let extra = try #require(object["slowfast"] as? [String: Any])
      #expect(extra["frames"] as? Int == 16 && extra["seconds"] is [String: Any])
    }

    /// The second question finds the clip's part of the prompt kept, and is answered the same.
    @Test func cachedTokens() async throws {
      let server = try await server()
      let body = question("Which colour appears last?", "file://" + Repository.clips + "/007.mp4")
      let (first, second) = (try await server.post(body), try await server.post(body))
      func cached(_ reply: Reply) throws -> Int? {
        let usage = try reply.json()["usage"] as? [String: Any]
        return (usage?["prompt_tokens_details"] as? [String: Any])?["cached_tokens"] as? Int
      }
      #expect(try cached(second) ?? 0 > 16)
      #expect(try first.answer() == second.answer())
    }

    @Test func aStream() async throws {
      let more: [String: Any] = ["stream": true, "stream_options": ["include_usage": true]]
      let reply = try await server().post(question("What happens in this video?", "file://" + Repository.clips + "/002.mp4", more))
      #expect(reply.headers["content-type"] == "text/event-stream")
      let whole = try await server().post(question("What happens in this video?", "file://" + Repository.clips + "/002.mp4"))
      let events = try reply.events()
      let choices = events.compactMap { ($0["choices"] as? [[String: Any]])?.first }
      let deltas = choices.compactMap { $0["delta"] as? [String: Any] }
      #expect(deltas[0]["role"] as? String == "assistant")
      #expect(try deltas.compactMap { $0["content"] as? String }.joined() == whole.answer())
      #expect(choices.last?["finish_reason"] as? String == "stop")
      #expect((events.last?["usage"] as? [String: Any])?["completion_tokens"] as? Int ?? 0 > 5)
      #expect(Set(events.compactMap { $0["id"] as? String }).count == 1)
      let stages = events.compactMap { (($0["slowfast"] as? [String: Any])?["progress"] as? [String: Any])?["stage"] as? String }
      #expect(stages.contains("prefilling"))
    }

    /// A run of pictures is a clip, in order; the same pictures are answered the same as a video of pictures.
    @Test func picturesAreAClip() async throws {
      let server = try await server()
      let pixels = [200, 90, 30].map { Picture.png(shade: UInt8($0)).base64EncodedString() }.map { "data:image/png;base64," + $0 }
      let images: [[String: Any]] = pixels.map { ["type": "image_url", "image_url": ["url": $0]] }
      let text: [String: Any] = ["type": "text", "text": "What happens in this video?"]
      let run = try await server.post(["messages": [["role": "user", "content": images + [text]]]])
      #expect((try run.json()["slowfast"] as? [String: Any])?["frames"] as? Int == 3, "\(run.text)")
      let video = try await server.post(["messages": [["role": "user", "content": [["type": "video", "video": pixels], text]]]])
      #expect(try run.answer() == video.answer())
      let apart = try await server.post(["modalities": ["multi-images"], "messages": [["role": "user", "content": images + [text]]]])
      try apart.expectError(400, "modalities", "pictures")
    }

    @Test(
      arguments: [
        (["num_frames": 4], 4), (["num_frames": 8, "max_frames": 3], 3), (["fps": 1.0, "start": 1, "end": 3.5], 3),
        (["fps": 2, "max_frames": 5], 5),
      ] as [([String: Double], Int)])
    func whichFrames(sampling: [String: Double], frames: Int) async throws {
      let server = try await server()
      var clip: [String: Any] = sampling
      clip["url"] = "file://" + Repository.clip
      let inside = try await server.post(question("How many shapes are there?", clip))
      #expect((try inside.json()["slowfast"] as? [String: Any])?["frames"] as? Int == frames, "\(inside.text)")
      if sampling["start"] != nil { return }
      let top = try await server.post(
        question("How many shapes are there?", "file://" + Repository.clip, ["media_io_kwargs": ["video": sampling]]))
      #expect((try top.json()["slowfast"] as? [String: Any])?["frames"] as? Int == frames, "\(top.text)")
    }

    /// What is wrong with a request, the status, the part of it, and words of the sentence.
    static let wrong: [(json: String, status: Int, part: String?, word: String)] = [
      ("[]", 400, nil, "an array"), ("{", 400, nil, "byte 1"), (#"{"a": 1, "a": 2}"#, 400, nil, "twice"),
      ("{}", 400, "messages", "no messages"), (#"{"messages": []}"#, 400, "messages", "no messages"),
      (#"{"messages": {}}"#, 400, "messages", "an object"), (#"{"messages": [1]}"#, 400, "messages[0]", "a number"),
      (#"{"messages": [{"role": "tool", "content": "x"}]}"#, 400, "messages[0].role", "tool"),
      (#"{"messages": [{"role": "assistant", "content": "x"}]}"#, 400, "messages[0].role", "assistant"),
      (#"{"messages": [{"role": "user"}]}"#, 400, "messages[0].content", "nothing"),
      (#"{"messages": [{"role": "user", "content": "  "}]}"#, 400, "messages[0].content", "nothing"),
      (#"{"messages": [{"role": "user", "content": 5}]}"#, 400, "messages[0].content", "a number"),
      (#"{"messages": [{"role": "user", "content": [{}]}]}"#, 400, "messages[0].content[0].type", "no type"),
      (#"{"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}"#, 400, "messages[0].content[0].type", "input_audio"),
      (part(#"{"type": "video_url"}"#), 400, "messages[0].content[0].video_url", "where the video is"),
      (part(#"{"type": "video_url", "video_url": 7}"#), 400, "messages[0].content[0].video_url", "a number"),
      (
        part(#"{"type": "video_url", "video_url": "https://example.org/a.mp4"}"#), 400, "messages[0].content[0].video_url",
        "fetches nothing"
      ),
      (
        part(#"{"type": "image_url", "image_url": {"url": "ftp://example.org/a.png"}}"#), 400, "messages[0].content[0].image_url.url",
        "fetches"
      ),
      (part(#"{"type": "video_url", "video_url": "clip.mp4"}"#), 400, "messages[0].content[0].video_url", "none that is known"),
      (part(#"{"type": "video_url", "video_url": "file://elsewhere/a.mp4"}"#), 400, "messages[0].content[0].video_url", "this machine"),
      (part(#"{"type": "video_url", "video_url": "file:///etc/passwd"}"#), 404, "messages[0].content[0].video_url", "no such file"),
      (part(#"{"type": "video_url", "video_url": "file:///dev/zero"}"#), 404, "messages[0].content[0].video_url", "no such file"),
      (part(#"{"type": "video_url", "video_url": "data:video/mp4;base64"}"#), 400, "messages[0].content[0].video_url", "comma"),
      (part(#"{"type": "video_url", "video_url": "data:video/mp4,abc"}"#), 400, "messages[0].content[0].video_url", "base64"),
      (part(#"{"type": "video_url", "video_url": "data:audio/wav;base64,AAAA"}"#), 415, "messages[0].content[0].video_url", "audio/wav"),
      (part(#"{"type": "video_url", "video_url": "data:video/mp4;base64,A*=="}"#), 400, "messages[0].content[0].video_url", "base64"),
      (part(#"{"type": "video_url", "video_url": "data:video/mp4;base64,"}"#), 400, "messages[0].content[0].video_url", "no data"),
      (part(#"{"type": "video_url", "video_url": "data:video/mp4;base64,AAAAAAAA"}"#), 422, "messages[0].content[0].video_url", "video"),
      (part(#"{"type": "file", "file": {"file_id": "file-none"}}"#), 404, "messages[0].content[0].file", "file-none"),
      (part(#"{"type": "video_url", "video_url": "data:,x", "num_frames": 0}"#), 400, "messages[0].content[0].video_url", "base64"),
      (
        #"{"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": "data:,"}]}]}"#, 400,
        "messages[0].content[0].image_url", "base64"
      ),
      (top(#""model": "gpt-4o""#), 404, "model", "gpt-4o"), (top(#""stream": "yes""#), 400, "stream", "true or false"),
      (top(#""tools": [{"type": "function"}]"#), 400, "tools", "tools"), (top(#""temperature": -1"#), 400, "temperature", "-1"),
      (top(#""top_p": 2"#), 400, "top_p", "2"), (top(#""max_tokens": 0"#), 400, "max_tokens", "at least 1"),
      (top(#""max_completion_tokens": "5""#), 400, "max_completion_tokens", "a string"), (top(#""n": 0"#), 400, "n", "at least 1"),
      (top(#""slow_attention": "some""#), 400, "slow_attention", "some"), (top(#""logit_bias": {"a": 1}"#), 400, "logit_bias", "number"),
      (top(#""logit_bias": {"5": "1"}"#), 400, "logit_bias.5", "a string"), (top(#""logit_bias": {"5": 101}"#), 400, "logit_bias", "101"),
      (top(#""repetition_penalty": 0"#), 400, "repetition_penalty", "0"),
      (top(#""logit_bias": {"999999": 1}"#), 400, "logit_bias", "999999"),
      (String(repeating: "[", count: 200), 400, nil, "128 levels"), ("{\"a\": \"\u{1}\"}", 400, nil, "control character"),
    ]
    private static func part(_ part: String) -> String {
      #"{"messages": [{"role": "user", "content": [\#(part), {"type": "text", "text": "What happens?"}]}]}"#
    }
    private static func top(_ member: String) -> String { #"{\#(member), "messages": [{"role": "user", "content": "Hello"}]}"# }

    @Test func whatIsRefused() async throws {
      let server = try await server()
      for (json, status, part, word) in Self.wrong {
        let reply = try await server.send("POST", "/v1/chat/completions", Data(json.utf8), headers: ["Content-Type": "application/json"])
        try reply.expectError(status, part, word)
      }
    }

    /// A conversation goes on after the answers that were given, streamed or not, held here or not, and after any others; the system may
    /// speak, and any question may show something.
    @Test func severalTurns() async throws {
      let server = try await server()
      var messages = try #require(question("How many shapes are there?")["messages"] as? [[String: Any]])
      let first = try await server.post(["messages": messages]).answer()
      messages += [["role": "assistant", "content": first], ["role": "user", "content": "Which colour appears last?"]]
      let answer = try await server.post(["messages": messages]).answer()
      #expect(!answer.isEmpty)
      messages += [["role": "assistant", "content": answer], ["role": "user", "content": "What happens in this video?"]]
      let streamed = try await server.post(["messages": messages, "stream": true]).events().compactMap { event in
        ((event["choices"] as? [[String: Any]])?.first?["delta"] as? [String: Any])?["content"] as? String
      }
      #expect(try await streamed.joined() == server.post(["messages": messages]).answer())
      // Another server holds nothing of it.
      let other = try await TestServer { $0.media = [Repository.clips] }
      #expect(try await other.post(["messages": Array(messages[..<3])]).answer() == answer)
      messages[3]["content"] = "something else"
      #expect(try await !server.post(["messages": messages]).answer().isEmpty)
      let shown = try #require((messages[0]["content"] as? [[String: Any]])?.first)
      messages[4]["content"] = [["type": "text", "text": "And here?"], shown]
      let reply = try await server.post(["messages": [["role": "system", "content": "Be brief."]] + messages])
      #expect(!(try reply.answer()).isEmpty)
      messages[2]["content"] = [["type": "image_url", "image_url": "data:,"]]
      try await server.post(["messages": messages]).expectError(400, "messages[2].content[0].image_url", "base64")
    }

    /// A stream that cannot begin has the status of what is wrong; one that has begun, because the machine is busy, says it as an event.
    @Test func aStreamThatIsRefused() async throws {
      let reply = try await server().post(question("What?", "data:video/mp4;base64,AAAAAAAA", ["stream": true]))
      if reply.status == 200 {
        let error = try #require(try reply.events().last?["error"] as? [String: Any])
        #expect(error["param"] as? String == "messages[0].content[0].video_url" && error["code"] as? String == "invalid_media")
      } else {
        try reply.expectError(422, "messages[0].content[0].video_url")
      }
    }

    /// Keys that mean nothing here, and empty lists of tools, change nothing.
    @Test func whatIsPassedOver() async throws {
      let more: [String: Any] = [
        "tools": [Any](), "user": "me", "store": false, "metadata": ["a": "b"], "parallel_tool_calls": true, "n": 1, "logprobs": false,
        "presence_penalty": 0, "stop": NSNull(), "response_format": ["type": "text"], "model": "checkpoint", "seed": -3, "top_k": -1,
        "service_tier": "auto",
      ]
      let reply = try await server().post(question("How many shapes are there?", "file://" + Repository.clip, more))
      #expect(try reply.answer() == "2", "\(reply.text)")
    }

    /// Several answers to one question: each is what its seed alone would give, whole and streamed; the prompt is counted once.
    @Test func severalAnswers() async throws {
      let server = try await server()
      let more: [String: Any] = ["temperature": 1.5, "seed": 7, "max_tokens": 12, "stream_options": ["include_usage": true]]
      let body = question("What happens in this video?", "file://" + Repository.clips + "/005.mp4", more)
      var alone: [String] = []
      var usage: [[String: Any]] = []
      for seed in 7..<13 {
        let reply = try await server.post(body.merging(["seed": seed]) { _, new in new })
        alone.append(try reply.answer())
        usage.append(try #require(try reply.json()["usage"] as? [String: Any]))
      }
      #expect(Set(alone).count > 1)
      let whole = try await server.post(body.merging(["n": 6]) { _, new in new }).json()
      let choices = try #require(whole["choices"] as? [[String: Any]])
      #expect(choices.map { $0["index"] as? Int } == Array(0..<6))
      #expect(choices.map { ($0["message"] as? [String: Any])?["content"] as? String } == alone)
      let events = try await server.post(body.merging(["n": 6, "stream": true]) { _, new in new }).events()
      var streamed = [String](repeating: "", count: 6)
      for choice in events.compactMap({ ($0["choices"] as? [[String: Any]])?.first }) {
        streamed[try #require(choice["index"] as? Int)] += (choice["delta"] as? [String: Any])?["content"] as? String ?? ""
      }
      #expect(streamed == alone)
      let tokens = usage.reduce(0) { $0 + ($1["completion_tokens"] as? Int ?? 0) }
      for counted in [whole, try #require(events.last)].map({ $0["usage"] as? [String: Any] }) {
        #expect(counted?["prompt_tokens"] as? Int == usage[0]["prompt_tokens"] as? Int)
        #expect(counted?["completion_tokens"] as? Int == tokens && tokens > 12)
      }
    }

    /// A bias forbids a token, or leaves no other.
    @Test func biases() async throws {
      let server = try await server()
      let asked = question(
        "How many shapes are there?", "file://" + Repository.clip, ["logprobs": true, "top_logprobs": 2, "max_tokens": 3])
      let first = try await server.post(asked)
      #expect(try first.answer() == "2")
      let tokenizer = try Tokenizer(model: Repository.checkpoint)
      let two = try #require(tokenizer.encode("2").first)
      let three = try #require(tokenizer.encode("3").first)
      let without = try await server.post(asked.merging(["logit_bias": ["\(two)": -100]]) { _, new in new }).answer()
      #expect(!without.hasPrefix("2"))
      let only = try await server.post(asked.merging(["logit_bias": ["\(three)": 100]]) { _, new in new }).answer()
      #expect(only == "333")
    }

    /// Which tokens read the slow ones is a request's own: the answer is that of a server that was told so for all.
    @Test func slowAttention() async throws {
      let server = try await server()
      for attention in SlowAttention.allCases {
        var options = SessionOptions()
        options.slowAttention = attention
        options.marksAreText = true
        let runner = try ModelRunner(try VideoLanguageModel(path: Repository.checkpoint), options: options)
        let conversation = runner.conversation(about: [try ClipSource(path: Repository.clips + "/009.mp4")])
        var expected = ""
        for try await event in conversation.answer("What happens in this video?") {
          if case .finished(let answer, _) = event { expected = answer.text }
        }
        let more = ["slow_attention": attention.rawValue]
        let reply = try await server.post(question("What happens in this video?", "file://" + Repository.clips + "/009.mp4", more))
        #expect(try reply.answer() == expected)
      }
    }

    /// Clips of one conversation take their frames in ways of their own.
    @Test func clipsOfDifferentFrames() async throws {
      let server = try await server()
      func part(_ name: String, _ frames: Int) -> [String: Any] {
        ["type": "video_url", "video_url": ["url": "file://\(Repository.clips)/\(name).mp4", "num_frames": frames]]
      }
      let text: [String: Any] = ["type": "text", "text": "How many shapes are there?"]
      func ask(_ frames: (Int, Int)) async throws -> Reply {
        try await server.post(
          ["messages": [["role": "user", "content": [part("003", frames.0), part("005", frames.1), text]]], "max_tokens": 8])
      }
      let reply = try await ask((4, 7))
      #expect((try reply.json()["slowfast"] as? [String: Any])?["frames"] as? Int == 11, "\(reply.text)")
      // Of the clip that is watched in another way alone is anything encoded.
      let again = try await ask((4, 6))
      #expect((try again.json()["slowfast"] as? [String: Any])?["frames"] as? Int == 10, "\(again.text)")
      #expect((try again.json()["slowfast"] as? [String: Any])?["cached_frames"] as? Int ?? 0 >= 4, "\(again.text)")
    }

    /// This model's family shows first and says then: a text before a clip is read after it, on a line of its own.
    @Test func aTextBeforeAClip() async throws {
      let server = try await server()
      let clip: [String: Any] = ["type": "video_url", "video_url": "file://" + Repository.clip]
      func text(_ text: String) -> [String: Any] { ["type": "text", "text": text] }
      func ask(_ parts: [[String: Any]]) async throws -> String {
        try await server.post(["messages": [["role": "user", "content": parts]], "max_tokens": 8]).answer()
      }
      let last = try await ask([clip, text("Look closely.\nHow many shapes are there?")])
      #expect(try await ask([text("Look closely."), clip, text("How many shapes are there?")]) == last)
      #expect(try await ask([text("Look closely."), text("How many shapes are there?"), clip]) == last)
      #expect(try await ask([text("How many shapes are there?"), clip]) == "2")
    }

    /// The answer ends before a stop text; how likely each token was is told whole and in a stream alike.
    @Test func stopsAndProbabilities() async throws {
      let server = try await server()
      let more: [String: Any] = [
        "stop": ["bounces"], "logprobs": true, "top_logprobs": 2, "temperature": 0, "presence_penalty": 0.1, "frequency_penalty": -0.1,
      ]
      let body = question("What happens in this video?", "file://" + Repository.clip, more)
      let reply = try await server.post(body)
      let answer = try reply.answer()
      #expect(answer.hasSuffix("cross"), "\(reply.text)")
      func tokens(_ choice: [String: Any]?) -> [[String: Any]] {
        (choice?["logprobs"] as? [String: Any])?["content"] as? [[String: Any]] ?? []
      }
      let whole = tokens((try reply.json()["choices"] as? [[String: Any]])?.first)
      #expect(whole.compactMap { $0["token"] as? String }.joined().hasPrefix(answer))
      for token in whole {
        let likeliest = try #require(token["top_logprobs"] as? [[String: Any]])
        #expect(likeliest.count == 2 && (likeliest[0]["logprob"] as? Double ?? 1) <= 0)
      }
      let events = try await server.post(body.merging(["stream": true]) { _, new in new }).events()
      let streamed = events.flatMap { tokens(($0["choices"] as? [[String: Any]])?.first) }
      #expect(streamed.compactMap { $0["token"] as? String }.joined() == whole.compactMap { $0["token"] as? String }.joined())
      try await server.post(question("x", nil, ["top_logprobs": 2])).expectError(400, "top_logprobs", "logprobs")
      try await server.post(question("x", nil, ["stop": [1]])).expectError(400, "stop", "a number")
      try await server.post(question("x", nil, ["stop": ""])).expectError(400, "stop")
      try await server.post(question("x", nil, ["min_p": 2])).expectError(400, "min_p", "2")
    }

    /// Answers of a schema parse and fit, whole and streamed; one of choices comes with the probability of each.
    @Test func forms() async throws {
      let server = try await server()
      let schema: [String: Any] = [
        "type": "object", "properties": ["count": ["type": "integer", "minimum": 0, "maximum": 9], "clear": ["type": "boolean"]],
        "required": ["count", "clear"], "additionalProperties": false,
      ]
      let format: [String: Any] = ["type": "json_schema", "json_schema": ["name": "shapes", "strict": true, "schema": schema]]
      let body = question("How many shapes are there?", "file://" + Repository.clip, ["response_format": format, "temperature": 0])
      let answer = try await server.post(body).answer()
      let object = try #require(try JSONSerialization.jsonObject(with: Data(answer.utf8)) as? [String: Any], "\(answer)")
      #expect((0...9).contains(object["count"] as? Int ?? -1) && object["clear"] is Bool && object.count == 2)
      let events = try await server.post(body.merging(["stream": true]) { _, new in new }).events()
      let deltas = events.compactMap { (($0["choices"] as? [[String: Any]])?.first?["delta"] as? [String: Any])?["content"] as? String }
      #expect(deltas.joined() == answer)
      let chosen = try await server.post(question("How many shapes are there?", "file://" + Repository.clip, ["choices": ["1", "2", "3"]]))
      #expect(try chosen.answer() == "2")
      let choices = try #require((try chosen.json()["slowfast"] as? [String: Any])?["choices"] as? [[String: Any]])
      #expect(choices.map { $0["text"] as? String } == ["1", "2", "3"])
      #expect(abs(choices.reduce(0) { $0 + ($1["probability"] as? Double ?? 0) } - 1) < 1e-6)
      for (more, part) in [
        (["response_format": ["type": "xml"]], "response_format.type"), (["choices": [Any]()], "choices"), (["choices": [1]], "choices"),
        (["response_format": ["type": "json_schema"]], "response_format.json_schema.schema"),
        (
          ["response_format": ["type": "json_schema", "json_schema": ["schema": ["type": "nothing"]]]], "response_format.json_schema.schema"
        ),
        (["choices": ["a"], "response_format": ["type": "json_object"]], "choices"),
      ] as [([String: Any], String)] {
        try await server.post(question("x", nil, more)).expectError(400, part)
      }
    }

    @Test func aLinkThatLeadsOut() async throws {
      let (inside, outside) = (try TemporaryDirectory(), try TemporaryDirectory())
      let files = FileManager.default
      try files.copyItem(atPath: Repository.clip, toPath: outside.file("clip.mp4"))
      try files.copyItem(atPath: Repository.clip, toPath: inside.file("a clip.mp4"))
      try files.createSymbolicLink(atPath: inside.file("out.mp4"), withDestinationPath: outside.file("clip.mp4"))
      try files.createSymbolicLink(atPath: inside.file("in.mp4"), withDestinationPath: inside.file("a clip.mp4"))
      let server = try await TestServer { $0.media = [inside.path] }
      for name in ["a%20clip.mp4", "in.mp4", "../\(URL(fileURLWithPath: inside.path).lastPathComponent)/in.mp4"] {
        let reply = try await server.post(question("How many shapes are there?", "file://\(inside.path)/\(name)"))
        #expect(try reply.answer() == "2", "\(name): \(reply.text)")
      }
      for name in ["out.mp4", "../\(URL(fileURLWithPath: outside.path).lastPathComponent)/clip.mp4", "none.mp4", "", "%00"] {
        let reply = try await server.post(question("How many?", "file://\(inside.path)/\(name)"))
        try reply.expectError(404, "messages[0].content[0].video_url", "no such file")
      }
    }
  }

  enum Picture {
    /// 8 × 8 pixels of one grey, stored and not compressed.
    static func png(shade: UInt8) -> Data {
      var rows = Data()
      for _ in 0..<8 { rows += [0] + [UInt8](repeating: shade, count: 8) }
      let (low, high) = rows.reduce((UInt32(1), UInt32(0))) { sums, byte in
        let low = (sums.0 + UInt32(byte)) % 65_521
        return (low, (sums.1 + low) % 65_521)
      }
      let count = UInt16(rows.count)
      var deflated = Data([0x78, 0x01, 1, UInt8(count & 255), UInt8(count >> 8), UInt8(~count & 255), UInt8(~count >> 8)])
      deflated += rows + bytes(high << 16 | low)
      let header = bytes(8) + bytes(8) + [8, 0, 0, 0, 0]
      return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + chunk("IHDR", header) + chunk("IDAT", deflated) + chunk("IEND", Data())
    }

    private static func bytes(_ value: UInt32) -> Data { Data((0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32($0))) }) }

    private static func chunk(_ name: String, _ content: Data) -> Data {
      let body = Data(name.utf8) + content
      var sum: UInt32 = ~0
      for byte in body {
        sum ^= UInt32(byte)
        for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
      }
      return bytes(UInt32(content.count)) + body + bytes(~sum)
    }
  }
#endif
