import Foundation
import TestSupport
import Testing

/// A clip is read from its own file and from nothing else, whatever it says: system calls as `strace` sees them.
@Suite(.enabled(if: canTrace, "strace is missing, or may not trace here")) struct OpenedFilesTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    let film = try Data(contentsOf: URL(fileURLWithPath: Repository.root + "/Tests/VideoTests/Data/b_frames.mp4"))
    for name in ["other.mp4", "other.ts", "other.mxf"] { _ = try directory.write(name, film) }
  }

  /// Runs `frames` on a clip that says `content`: it is refused, no socket is made, and of this directory only the clip itself is opened.
  private func expectAlone(_ name: String, _ content: Data, saying words: [String] = [], location: SourceLocation = #_sourceLocation) throws
  {
    let path = try directory.write(name, content)
    let log = directory.file("calls")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["strace", "-f", "-qq", "-e", "trace=%network,%file", "-o", log, Run.executable, "frames", path, "-n", "2"]
    process.currentDirectoryURL = URL(fileURLWithPath: directory.path)
    let errors = try directory.write("errors", Data())
    process.standardOutput = FileHandle.nullDevice
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: errors))
    try process.run()
    process.waitUntilExit()
    let said = try String(contentsOfFile: errors, encoding: .utf8)
    #expect(process.terminationStatus == 1, "\(said)", sourceLocation: location)
    for word in [name] + words { #expect(said.contains(word), "\(said)", sourceLocation: location) }

    let calls = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    #expect(
      calls.contains { $0.contains("openat(") && $0.contains(path) }, "the trace does not show the clip itself", sourceLocation: location)
    for call in calls {
      let isNetwork = ["socket(", "connect(", "bind(", "sendto(", "listen("].contains { call.contains(" \($0)") }
      #expect(!isNetwork, "\(call)", sourceLocation: location)
      #expect(!call.contains("other."), "\(call)", sourceLocation: location)
    }
  }

  private func expectAlone(_ name: String, _ text: String, saying words: [String] = [], location: SourceLocation = #_sourceLocation) throws
  {
    try expectAlone(name, Data(text.utf8), saying: words, location: location)
  }

  /// A session description makes its reader bind sockets and wait for packets.
  @Test(arguments: ["clip.mp4", "clip.sdp", "clip"]) func sessionDescription(_ name: String) throws {
    try expectAlone(
      name,
      "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=none\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 47123 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
      saying: ["a list that leads to other files (sdp); these are not opened"])
  }

  @Test(arguments: ["clip.mp4", "clip.ffconcat"]) func concatenation(_ name: String) throws {
    try expectAlone(
      name, "ffconcat version 1.0\nfile other.mp4\nduration 1\n",
      saying: ["a list that leads to other files (concat); these are not opened"])
    try expectAlone(name, "ffconcat version 1.0\noption safe 0\nfile '\(directory.file("other.mp4"))'\n")
  }

  @Test(arguments: ["other.ts", "file:other.ts", "http://127.0.0.1:47123/other.ts", "data:video/mp2t;base64,AAAA"])
  func livePlaylist(_ item: String) throws {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n\(item)\n#EXT-X-ENDLIST\n"
    for name in ["clip.mp4", "clip.m3u8"] { try expectAlone(name, text) }
    try expectAlone("master.mp4", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n\(item)\n")
  }

  @Test func dashManifest() throws {
    try expectAlone(
      "clip.mp4",
      #"<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period>"#
        + #"<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>other.mp4</BaseURL></Representation>"#
        + "</AdaptationSet></Period></MPD>")
  }

  @Test func interoperableMaster() throws {
    try expectAlone(
      "clip.mp4",
      #"<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">"#
        + #"<Id>urn:uuid:1</Id></CompositionPlaylist>"#
    )
    try expectAlone("ASSETMAP.xml", #"<?xml version="1.0"?><AssetMap><Asset><Path>other.mxf</Path></Asset></AssetMap>"#)
  }

  /// Names that other programs take for patterns, addresses and protocols.
  @Test(arguments: [
    "other.%03d.png", "other.*.mp4", "concat:other.mp4|other.mp4", "subfile,,start,0,end,0,,:other.mp4", "tcp:127.0.0.1:47123",
  ])
  func nameThatIsAPattern(_ name: String) throws {
    // `expectAlone` looks for "other." in what was opened: here the name itself holds it.
    let path = try directory.write(name.replacing("other.", with: "one."), Data("no film".utf8))
    #expect(try slowfast("frames", path, "-n", "2").status == 1)
  }

  @Test func metadataAndRedirections() throws {
    try expectAlone("clip.mp4", ";FFMETADATA1\ntitle=other.mp4\n")
    try expectAlone("clip.asx", "[Reference]\r\nRef1=http://127.0.0.1:47123/other.asf\r\n")
    try expectAlone("clip.ram", "rtsp://127.0.0.1:47123/other.rm\n")
    try expectAlone("clip.mp4", "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n")
  }

  /// A track of a QuickTime file may lie in another file.
  @Test func trackInAnotherFile() throws {
    let film = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Repository.root + "/Tests/VideoTests/Data/b_frames.mp4")))
    for path in ["other.mp4", directory.file("other.mp4")] {
      try expectAlone("clip.mov", Data(try withExternalReference(film, to: path)))
    }
  }

  /// Replaces the reference `url ` that says “this file” by an alias to another, and lengthens all boxes around it. The media data come
  /// before the index in this film, so that no offset in it changes.
  private func withExternalReference(_ film: [UInt8], to path: String) throws -> [UInt8] {
    func big(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    func find(_ name: String) throws -> Int {
      let pattern = Array(name.utf8)
      return try #require((0..<film.count - 4).first { film[$0..<$0 + 4].elementsEqual(pattern) }, "no \(name)") - 4
    }
    var body = [UInt8](repeating: 0, count: 10) + [6] + Array("volume".utf8) + [UInt8](repeating: 0, count: 21 + 12)
    let name = Array((path.split(separator: "/").last ?? "").utf8)
    body += [UInt8(name.count)] + name + [UInt8](repeating: 0, count: 63 - name.count) + [UInt8](repeating: 0, count: 16)
    body += big(1, 2) + big(1, 2) + [UInt8](repeating: 0, count: 16)
    let padded = Array(path.utf8) + (path.utf8.count % 2 == 1 ? [0] : [])
    body += big(2, 2) + big(path.utf8.count, 2) + padded + big(0xFFFF, 2) + big(0, 2)
    body += [UInt8](repeating: 0, count: max(0, 160 - body.count))
    let alias = big(12 + body.count, 4) + Array("alis".utf8) + big(0, 4) + body
    let reference = try find("url ")
    let mediaData = try find("mdat")
    try #require(mediaData < (try find("moov")))
    var result = film
    for box in ["moov", "trak", "mdia", "minf", "dinf", "dref"] {
      let place = try find(box)
      let size = film[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
      result.replaceSubrange(place..<place + 4, with: big(size + alias.count - 12, 4))
    }
    result.replaceSubrange(reference..<reference + 12, with: alias)
    return result
  }
}

/// Also where `strace` is there, a container may forbid it.
let canTrace: Bool = {
  // Of an emulated command the emulator would be traced.
  if isEmulated { return false }
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = ["strace", "-f", "-o", "/dev/null", "true"]
  process.standardError = FileHandle.nullDevice
  guard (try? process.run()) != nil else { return false }
  process.waitUntilExit()
  return process.terminationStatus == 0
}()
