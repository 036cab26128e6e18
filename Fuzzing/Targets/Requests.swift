import Foundation
import TestSupport

extension FuzzTarget {
  /// Bodies of requests for answers.
  static let chat = FuzzTarget(
    name: "chat",
    seeds: {
      [
        #"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"q"},"#
          + #"{"type":"video_url","video_url":{"url":"data:video/mp4;base64,AAAA","frames":8,"start":0,"end":1.5}}]}],"stream":true,"#
          + #""stream_options":{"include_usage":true},"max_tokens":5,"temperature":0.5,"top_p":0.9,"seed":1,"stop":["a","b"]}"#,
        #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":[{"type":"image_url","#
          + #""image_url":{"url":"file:///a%20b.png"}}]}],"logit_bias":{"1":-100},"logprobs":true,"top_logprobs":3,"n":2,"#
          + #""response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object"}}}}"#,
        #"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}},{"type":"text","text":"q"}]}],"#
          + #""guided_choice":["yes","no"],"slow_attention":"all","modalities":["multi-images"],"tools":[]}"#,
      ].map { Array($0.utf8) }
    },
    mutate: {
      JSONMutation.apply(
        &$0,
        words: [
          "role", "user", "assistant", "system", "content", "type", "text", "image_url", "video_url", "url", "file", "file_id", "file_data",
          "frames", "fps", "start", "end", "stop", "tools", "response_format", "json_schema", "json_object", "guided_json", "stream://a",
          "http://[::1]/", "https://a@b:99999/%", "data:;base64,", "data:video/jpeg;base64,/9j/,/9j/", "file:///%00", "file://host/a",
        ], &$1)
    },
    read: { bytes in
      let body = try JSON(bytes)
      require((try? JSON(Array(body.text.utf8))) == body, "what is written reads otherwise")
      _ = try ChatRequest(body, model: "m")
    })

  /// Forms with uploads, the header's value in the first line. However the form is cut into pieces, it says the same.
  static let multipart = FuzzTarget(
    name: "multipart",
    seeds: {
      [
        "multipart/form-data; boundary=XX\n--XX\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nvision\r\n--XX\r\n"
          + "Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"b\"\r\nContent-Type: video/mp4\r\n\r\n\0\r\n--X\r\n--XX--\r\n",
        "multipart/form-data; boundary=\"a b\"\nbefore\r\n--a b\r\ncontent-disposition:form-data;name=x\r\n\r\n\r\n--a b--",
      ].map { Array($0.utf8) }
    },
    mutate: { bytes, numbers in
      let words = [
        "\r\n", "\r\n\r\n", "--XX", "\r\n--XX\r\n", "--XX--", "Content-Disposition: form-data; name=\"file\"\r\n\r\n", "; filename=\"",
        "\\\"", "boundary=",
        "\r\n--X", ";", "=", "\"",
      ]
      ByteMutation.apply(&bytes, orOneOf: words, &numbers)
    },
    read: { bytes in
      let header = String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)
      let body = bytes.drop { $0 != 10 }.dropFirst()
      guard let form = Multipart(contentType: header) else { return }
      let whole = Form(form, [body])
      let single = Form(form, body.indices.map { body[$0...$0] })
      require(whole == single, "a form that is cut says something else: \(whole) \(single)")
      if whole.isMalformed { throw Multipart.malformed }
    })
}

/// What a form says.
private struct Form: Equatable {
  var parts: [String] = []
  var contents: [[UInt8]] = []
  var isOver = false
  var isMalformed = false

  init(_ form: Multipart, _ pieces: [ArraySlice<UInt8>]) {
    var form = form
    do throws(APIError) {
      for piece in pieces {
        try form.read(piece) { event in
          switch event {
          case .part(let name, let filename):
            parts.append("\(name) \(filename ?? "-")")
            contents.append([])
          case .bytes(let bytes): contents[contents.count - 1] += bytes
          case .end: isOver = true
          }
        }
      }
    } catch { isMalformed = true }
  }
}
