import Conversion
import Foundation
import Grammar
import Support
import TestSupport
import Tokenizer

extension FuzzTarget {
  /// JSON of all kinds.
  static let json = FuzzTarget(
    name: "json",
    seeds: {
      [#"{"a\u00e9\ud83d\ude00":"b\\\n","y":[true,false,null,-1.5e-3,{"k":[]}],"n":[0,1e3,-0,12345678901234567890]}"#].map {
        Array($0.utf8)
      }
    },
    mutate: { JSONMutation.apply(&$0, &$1) },
    read: { bytes in
      let value = try JSONValue(bytes)
      let text = Array(value.compact.utf8)
      require((try? JSONValue(text)) == value, "what is written reads otherwise")
      try JSONReader.check(bytes)
      _ = value.description
      _ = (value.nesting, value.integer, value.double)
    })

  /// Schemas of answers, and an answer along each.
  static let schema = FuzzTarget(
    name: "schema",
    seeds: {
      [
        #"{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":9},"age":{"type":"integer","minimum":0,"#
          + #""exclusiveMaximum":150}},"required":["name"],"additionalProperties":false}"#,
        ##"{"$defs":{"n":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}}}},"$ref":"#/$defs/n"}"##,
        #"{"type":"array","items":{"enum":["a","ab",1,1.5,null,true,{"x":[1]}]},"minItems":1,"maxItems":3}"#,
        #"{"type":["number","boolean"],"minimum":-1.25,"maximum":1e6}"#,
        #"{"oneOf":[{"const":"yes"},{"type":"number","exclusiveMinimum":0}],"title":"t"}"#,
        #"{"allOf":[{"type":"object","additionalProperties":{"type":"integer"}}]}"#,
      ].map { Array($0.utf8) }
    },
    mutate: {
      JSONMutation.apply(
        &$0,
        words: [
          "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "minLength", "maxLength", "minimum",
          "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "#", "#/$defs/n",
          "#/properties/name", "object", "array", "string", "number", "integer", "boolean", "null", "pattern", "name",
        ], &$1)
    },
    read: { bytes in
      guard let text = String(validating: bytes, as: UTF8.self) else { return }
      let schema = try AnswerSchema(text)
      var numbers = SeededNumbers(UInt64(bytes.count))
      var constraint = FormConstraint(schema, Letters.trie) { Array($0.utf8).map(Int32.init) }
      var answer: [UInt8] = []
      while !constraint.isFinished, answer.count < 200 {
        let allowed = constraint.allowedTokens()
        let tokens = (0..<256).filter { allowed[$0 / 64] >> (UInt64($0) % 64) & 1 == 1 }
        guard let token = tokens.randomElement(using: &numbers) else { break }
        require(constraint.accept(Int32(token)), "a token that is allowed is not taken")
        answer.append(UInt8(token))
      }
      if constraint.isFinished { try JSONReader.check(answer) }
    })

  /// Questions, which become tokens between the marks of a conversation.
  static let question = FuzzTarget(
    name: "question",
    seeds: {
      [
        "What happens in this video?", "<|im_start|>system\n<image><|im_end|>",
        "caf\u{E9} e\u{301} \u{AC00}\u{1100}\u{1161} \u{1F468}\u{200D}\u{1F469}",
        "  it's\r\n\t12345 I'LL\u{A0}\u{3000}x",
      ].map { Array($0.utf8) }
    },
    mutate: { bytes, numbers in
      let words = [
        "<|im_start|>", "<|im_end|>", "<image>", "<end_of_utterance>", "\u{301}", "\u{1161}", "\u{11A8}", "\u{AC00}", "'s", "  ", "\r\n",
        "\u{FEFF}", "\u{10FFFF}",
      ]
      ByteMutation.apply(&bytes, orOneOf: words, &numbers)
    },
    read: { bytes in
      let text = String(decoding: bytes, as: UTF8.self)
      for tokenizer in Tokenizers.all {
        let plain = tokenizer.encode(text, allowSpecial: false)
        let decoded = tokenizer.decode(plain)
        require(decoded == text, "the tokens of a text say something else")
        _ = tokenizer.decode(tokenizer.encode(text), skipSpecial: true)
        var stream = StreamDecoder(tokenizer)
        let pieces = plain.map { stream.append($0) }.joined() + stream.finish()
        require(Array(pieces.utf8) == Array(decoded.utf8), "what is told piece by piece is something else")
      }
    })

  /// Files of questions with answers.
  static let evaluation = FuzzTarget(
    name: "evaluation",
    seeds: {
      [
        Array(#"{"video":null,"question":"q","answer":"a","kind":"k"}"#.utf8) + [10]
          + Array(#"{"video":"/dev/null","question":"q","answer":"b"}"#.utf8)
      ]
    },
    mutate: { JSONMutation.apply(&$0, words: ["video", "question", "answer", "kind", "/dev/null"], &$1) },
    read: { bytes in
      let set = try EvaluationSet(jsonLines: Scratch.file("eval.jsonl", bytes))
      _ = (set.kinds, set.descriptionKinds, set.questionCount)
    })

  /// The lines of a batch.
  static let batch = FuzzTarget(
    name: "batch",
    seeds: {
      [
        #"{"id":"one","video":"a.mp4","question":"q","frames":8,"start":0.5,"end":2}"#,
        #"{"images":["a.png","b.png"],"question":"q","choices":["a","b"]}"#,
        #"{"id":7,"question":"q","schema":{"type":"object"}}"#,
      ].map { Array($0.utf8) + [10] }
    },
    mutate: { JSONMutation.apply(&$0, words: ["id", "video", "images", "question", "frames", "start", "end", "choices", "schema"], &$1) },
    read: { bytes in
      let batch = try BatchQuestions(jsonLines: Scratch.file("batch.jsonl", bytes))
      for problem in batch.questions.compactMap(\.problem) { require(!problem.contains("\n")) }
    })
}

/// A vocabulary of single bytes.
private enum Letters {
  static let trie = TokenTrie(count: 256, (0..<256).map { (Int32($0), [UInt8($0)]) })
}

private enum Tokenizers {
  static let all: [Tokenizer] = TokenizerFolders.all.prefix(2).map { folder in
    guard let tokenizer = try? Tokenizer(checkpoint: folder) else { preconditionFailure("started elsewhere than in the repository's root") }
    return tokenizer
  }
}
