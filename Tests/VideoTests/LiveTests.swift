import Foundation
import Support
import Synchronization
import TestSupport
import Testing
import Video

/// Sources that go on while they are watched.
@Suite struct LiveTests {
  private static let clip =
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Clips/levels.ts"

  // MARK: Which frames

  @Test func aFrameAtEachMultiple() {
    var clock = FrameClock(every: 2)
    // 25 a second, whose times are not exact.
    let taken = (0..<250).filter { clock.takes(100.04 + Double($0) / 25 + ($0 % 2 == 0 ? 1e-7 : -1e-7)) }
    #expect(taken == [0, 50, 100, 150, 200])
  }

  @Test func aClockThatJumps() {
    var clock = FrameClock(every: 2)
    let times = [0, 1, 2, 3, 50, 51, 52, 1, 2, 3, 3, 5.5, 6, 7.5].filter { clock.takes($0) }
    // After a gap from there on, and from a new beginning.
    #expect(times == [0, 2, 50, 52, 1, 3, 5.5, 7.5])
  }

  @Test func slowStreamsGiveAllTheyHave() {
    var clock = FrameClock(every: 0.5)
    #expect((0..<5).allSatisfy { clock.takes(Double($0) * 3) })
  }

  @Test func keyFramesAreEnough() {
    func enough(_ keys: [Double], every: Double, then last: Double? = nil) -> Bool {
      var frames = KeyFrames(every: every)
      for key in keys { frames.note(isKey: true, seconds: key) }
      if let last { frames.note(isKey: false, seconds: last) }
      return frames.areEnough
    }
    #expect(enough([0, 1, 2, 3], every: 1) && !enough([0, 1, 2], every: 1), "three intervals")
    #expect(!enough([0, 1, 2, 3], every: 0.9))
    #expect(!enough([0, 1, 3.5, 4.5], every: 1) && enough([0, 5, 6, 7, 8], every: 1), "the newest ones")
    #expect(!enough([0, 1, 2, 3], every: 1, then: 4.5), "they have ceased")
    #expect(!enough([5, 6, 7, 8, 0], every: 1), "a clock that begins anew")
  }

  // MARK: Reading

  /// What a reader finds, until so many frames are there.
  private final class Found: Sendable {
    private let frames = Mutex<[(level: Int, seconds: Double, width: Int)]>([])

    func add(_ frame: LiveFrame) {
      // Limited range: 16 is black, 235 white.
      let level = Int((Double(frame.image.pixels[0]) * 219 / 255).rounded())
      frames.withLock { $0.append((level, frame.seconds, frame.image.width)) }
    }
    var count: Int { frames.withLock { $0.count } }
    var levels: [Int] { frames.withLock { $0.map(\.level) } }
    var seconds: [Double] { frames.withLock { $0.map(\.seconds) } }
  }

  private func read(_ path: String, every: Double, until count: Int, patience: Double = 240) throws -> Found {
    let (found, source) = (Found(), try LiveSource(path))
    let end = Date() + patience
    do throws(VideoError) {
      try LiveReader(source, every: every).run(
        isStopped: { found.count >= count || Date() > end }, onOpen: {}, onFrame: { found.add($0) })
    } catch { if case .cancelled = error {} else { throw error } }
    return found
  }

  /// All frames are decoded where key frames are too rare, and every one is the right one.
  @Test func framesOfTheirTimes() throws {
    let found = try read(Self.clip, every: 0.5, until: 20)
    // Within one level of the codec's rounding.
    let expected = (0..<20).map { $0 * 5 }
    #expect(zip(found.levels, expected).allSatisfy { abs($0 - $1) <= 1 }, "\(found.levels)")
    #expect(zip(found.seconds, expected).allSatisfy { abs($0 - found.seconds[0] - Double($1) / 10) < 0.02 }, "\(found.seconds)")
  }

  /// Key frames alone are decoded where they are often enough, and are the same.
  @Test func keyFramesAlone() throws {
    let found = try read(Self.clip, every: 1, until: 11)
    #expect(zip(found.levels, (0..<11).map { $0 * 10 }).allSatisfy { abs($0 - $1) <= 1 }, "\(found.levels)")
  }

  /// More is waited for at the end of a file, and its end is no end.
  @Test func aFileThatIsBeingWritten() throws {
    let directory = try TemporaryDirectory()
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: Self.clip)))
    let path = try directory.write("growing.ts", bytes[..<(bytes.count / 3)])
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try file.seekToEnd()
    // A thread of its own: tests that wait may hold all those that tasks share.
    Thread {
      for start in stride(from: bytes.count / 3, to: bytes.count, by: 5000) {
        usleep(20_000)
        try? file.write(contentsOf: bytes[start..<min(start + 5000, bytes.count)])
      }
    }.start()
    let found = try read(path, every: 1, until: 9)
    // One that was cut where the file ended for a while may be lost.
    let levels = found.levels
    #expect(levels.count == 9 && zip(levels, levels.dropFirst()).allSatisfy { $0 < $1 }, "\(levels)")
    #expect(levels.allSatisfy { abs($0 - ($0 + 5) / 10 * 10) <= 1 }, "\(levels)")
  }

  /// A recording that is begun anew under its name is another connection.
  @Test func aFileThatIsReplaced() throws {
    let directory = try TemporaryDirectory()
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: Self.clip)))
    let path = try directory.write("replaced.ts", bytes)
    let found = Found()
    let source = try LiveSource(path)
    let end = Date() + 240
    try LiveReader(source, every: 1).run(
      isStopped: { Date() > end }, onOpen: {},
      onFrame: { frame in
        found.add(frame)
        // By the time that its last frames are read there is another one.
        if found.count == 11 {
          _ = try? directory.write("new.ts", bytes)
          rename(directory.file("new.ts"), path)
        }
      })
    #expect(found.count >= 11 && Date() < end)
  }

  /// What is lost in the middle costs frames, and no more.
  @Test func damageInTheMiddle() throws {
    let directory = try TemporaryDirectory()
    var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: Self.clip)))
    let cut = bytes.count / 376 * 188
    bytes.replaceSubrange(cut..<cut + 188 * 20, with: repeatElement(0x47, count: 188 * 20))
    let found = try read(try directory.write("damaged.ts", bytes), every: 0.1, until: 90)
    #expect(found.levels.count >= 90 && found.levels == found.levels.sorted(), "\(found.levels)")
  }

  // MARK: Addresses

  @Test(arguments: [
    "ftp://host/file", "file:///etc/passwd", "concat:a|b://", "rtsp://", "pipe://0", "subfile://x", "data://x", "://x",
  ]) func addressesThatAreNone(_ address: String) {
    #expect { try LiveSource(address) } throws: {
      ($0 as? SlowFastError)?.kind == .invalidOption && "\($0)".contains("rtsp://") && !"\($0)".contains("\n")
    }
  }

  @Test func filesThatAreNone() throws {
    let directory = try TemporaryDirectory()
    #expect { try LiveSource(directory.file("none.ts")) } throws: { "\($0)".contains("none.ts: no file that could be watched") }
    #expect { try LiveSource(directory.path) } throws: { "\($0)".contains("no file that could be watched") }
    let text = try LiveSource(try directory.write("text.ts", String(repeating: "no video ", count: 500)))
    #expect { try LiveReader(text, every: 1).run(isStopped: { false }, onOpen: {}, onFrame: { _ in }) } throws: {
      "\($0)".contains("text.ts")
    }
  }

  @Test func listeners() throws {
    for address in ["udp://:1", "RTP://:1", "tcp://:1?listen", "tcp://:1?a=b&listen=1", "srt://:1?mode=listener"] {
      #expect(try LiveSource(address).listens, "\(address)")
    }
    for address in ["tcp://host:1", "tcp://listen:1?listening", "srt://host:1?mode=caller", "rtsp://host/a"] {
      #expect(try !LiveSource(address).listens, "\(address)")
    }
  }

  @Test func passwordsAreNotTold() throws {
    #expect(try LiveSource("rtsp://me:secret@host:554/a?b@c").shown == "rtsp://***@host:554/a?b@c")
    #expect(try LiveSource("udp://239.0.0.1:5000?a=b@c").shown == "udp://239.0.0.1:5000?a=***")
    #expect(try LiveSource("srt://me:secret@host:1?mode=listener&passphrase=a@b").shown == "srt://***@host:1?mode=***&passphrase=***")
    let source = try LiveSource("rtsp://me:secret@127.0.0.1:1/a")
    #expect { try LiveReader(source, every: 1).run(isStopped: { false }, onOpen: {}, onFrame: { _ in }) } throws: {
      "\($0)" == "rtsp://***@127.0.0.1:1/a: cannot be read: Connection refused"
    }
    #expect { try LiveSource("ftp://me:secret@host/a") } throws: { !"\($0)".contains("secret") }
  }

  /// Nobody sends: it is said, and the address is free again.
  @Test func nobodySends() throws {
    var reader = LiveReader(try LiveSource("tcp://127.0.0.1:\(Int.random(in: 20_000..<30_000))?listen"), every: 1)
    reader.patience = 0.3
    for _ in 0..<2 {
      #expect { try reader.run(isStopped: { false }, onOpen: {}, onFrame: { _ in }) } throws: {
        "\($0)".contains("nothing came for 0 seconds")
      }
    }
  }
}
