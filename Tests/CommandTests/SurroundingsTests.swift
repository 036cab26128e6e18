import Foundation
import TestSupport
import Testing

/// Runs a script of the shell, in which `$0` is the built command; arguments follow.
private func shell(_ script: String, _ arguments: String...) throws -> Outcome {
  let directory = try TemporaryDirectory()
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/bin/sh")
  process.arguments = ["-c", script, Run.executable] + arguments
  process.standardInput = FileHandle.nullDevice
  process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: directory.write("output", Data())))
  process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: directory.write("errors", Data())))
  let start = Date()
  try process.run()
  process.waitUntilExit()
  func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: directory.file(name))), as: UTF8.self)
  }
  let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
  return Outcome(status: status, output: try text("output"), errors: try text("errors"), seconds: Date().timeIntervalSince(start))
}

/// A folder of the system's own in which control groups with quotas can be made.
private let quotas = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].first { folder in
  let file = folder == "/sys/fs/cgroup" ? "cpu.max" : "cpu.cfs_quota_us"
  let script = "mkdir $1/slowfast-look && test -w $1/slowfast-look/$2; is=$?; rmdir $1/slowfast-look; exit $is"
  return (try? shell(script, folder, file).status) == 0
}

private let canHideProc = (try? shell("unshare -m sh -c 'umount -l /proc'").status) == 0

/// Places and names that a program meets seldom.
@Suite struct SurroundingsTests {
  /// However little the address space is, there is a result or the true cause.
  @Test(.enabled(if: slowness == 1, "an emulator's own memory counts too"), arguments: [280_000, 320_000, 380_000, 420_000, 450_000])
  func addressSpace(_ kibibytes: Int) throws {
    let clips = [Repository.clip, Repository.root + "/Tests/VideoTests/Data/large_square.png"]
    for clip in clips {
      let outcome = try shell("ulimit -v \(kibibytes); exec \"$0\" frames \"$1\" -n 2", clip)
      // 127: not even the libraries have room.
      #expect([0, 1, 127].contains(outcome.status), "\(outcome.status) \(outcome.errors)")
      if outcome.status == 1 { #expect(outcome.errors.contains("memory"), "\(outcome.errors)") }
    }
  }

  /// A quota of an outer group binds who is in an inner one.
  @Test(.enabled(if: quotas != nil, "only who may make control groups")) func quotasOfControlGroups() throws {
    let outcome = try shell(
      """
      group=$1/slowfast-$$; mkdir -p $group/inner
      # A process leaves its group a moment after its end.
      trap 'for _ in $(seq 100); do rmdir $group/inner $group 2>/dev/null && break; sleep 0.1; done' EXIT
      case $1 in */cpu) echo 100000 >$group/cpu.cfs_period_us; echo 90000 >$group/cpu.cfs_quota_us ;;
      *) echo "90000 100000" >$group/cpu.max ;; esac
      sh -c 'echo $$ >$0/inner/cgroup.procs; exec "$@"' $group "$0" run "$2" -q What? --max-tokens 1 --greedy --json
      """, try #require(quotas), Repository.golden("vanilla"))
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome)")
    #expect((try outcome.json()["statistics"] as? [String: Any])?["threads"] as? Int == 1)
  }

  @Test func affinity() throws {
    let outcome = try shell(
      "exec taskset -c \"$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//')\" \"$0\" run \"$1\" -q What? --max-tokens 1 --greedy --json",
      Repository.golden("vanilla"))
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome)")
    #expect((try outcome.json()["statistics"] as? [String: Any])?["threads"] as? Int == 1)
  }

  @Test(.enabled(if: canHideProc, "only root may hide /proc")) func withoutProc() throws {
    let outcome = try shell(
      "exec unshare -m sh -c 'umount -l /proc && exec \"$0\" \"$@\"' \"$0\" frames \"$1\" -n 2 --json", Repository.clip)
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(try outcome.json()["decoded_frames"] as? Int == 390)
    let usage = try shell("exec unshare -m sh -c 'umount -l /proc && exec \"$0\"  frames' \"$0\"")
    #expect(usage.status == 2 && usage.errors.contains("video"))
  }

  /// A clip, an entry of a directory and outputs whose names hold a byte that is no UTF-8.
  @Test func namesOfBytes() throws {
    let directory = try TemporaryDirectory()
    let script = """
      cd "$1"; odd=$(printf 'p2_\\351'); mkdir "$odd"
      cp "$2" "$odd/p1.png"; cp "$2" "$odd/$odd.png"; cp "$2" "$odd/p3.png"; cp "$3" "$odd.mp4"
      "$0" frames "$odd" -n 3 --json && "$0" frames "$odd.mp4" -n 2 -o "made_$odd" --sheet "$odd.png" && \
      ls "made_$odd" | wc -l && test -s "$odd.png" && "$0" frames "$odd.none" -n 1
      """
    let outcome = try shell(script, directory.path, Repository.root + "/Tests/VideoTests/Data/images/plain.png", Repository.clip)
    #expect(outcome.status == 1 && outcome.errors.hasSuffix("p2_\\xe9.none: no such file or directory\n"), "\(outcome.errors)")
    #expect(outcome.output.contains(#""decoded_frames" : 3"#) && outcome.output.hasSuffix("\n2\n"), "\(outcome.output)")
  }

  /// A model of such a name, converted and read.
  @Test func modelsWithNamesOfBytes() throws {
    let directory = try TemporaryDirectory()
    let script = """
      cd "$1"; odd=$(printf 'm_\\351.sfq')
      "$0" convert "$2" "$odd" >/dev/null && "$0" inspect "$odd" >/dev/null && "$0" verify "$odd" >/dev/null && \
      "$0" tokenize "$odd" "a" >/dev/null && "$0" run "$odd" -q hi --max-tokens 2 >/dev/null && test -s "$odd"
      """
    let outcome = try shell(script, directory.path, Repository.golden("clip"))
    #expect(outcome.status == 0, "\(outcome.errors)")
  }

  /// JSON has text only: a byte of a name stands there as in messages.
  @Test func namesOfBytesInJSON() throws {
    let directory = try TemporaryDirectory()
    let script = #"""
      cd "$1"; odd=$(printf 'o_\351'); cp "$3" "$odd.mp4"; echo '{"video":"o.mp4","question":"How many?","answer":"2"}' > "$odd.jsonl"
      cp "$3" o.mp4
      "$0" convert "$2" "$odd.sfq" --json && "$0" inspect "$odd.sfq" --json && \
      "$0" run "$odd.sfq" "$odd.mp4" -q hi --frames 1 --max-tokens 2 --json && \
      echo hi | "$0" chat "$odd.sfq" "$odd.mp4" o.mp4 --frames 1 --max-tokens 2 --json && \
      "$0" bench "$odd.sfq" --stages cross --repeat 1 --frames 1 --json && "$0" unpack "$odd.sfq" "$odd.raw" --json && \
      "$0" trace "$odd.sfq" --video "$odd.mp4" --frames 1 -q hi -o "$odd.safetensors" --json && \
      "$0" compare "$2" "$odd.sfq" --data "$odd.jsonl" --frames 1 --parts none -o report --json
      """#
    let outcome = try shell(script, directory.path, Demonstration.checkpoint, Demonstration.clip)
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(!outcome.output.unicodeScalars.contains { $0.properties.generalCategory == .privateUse })
    for (key, name) in [
      ("path", #"o_\\xe9.sfq"#), ("clip", #"o_\\xe9.mp4"#), ("model", #"o_\\xe9.sfq"#), ("path", #"o_\\xe9.raw"#),
      ("path", #"o_\\xe9.safetensors"#), ("data", #"o_\\xe9.jsonl"#), ("name", #"o_\\xe9.sfq"#),
    ] {
      #expect(outcome.output.contains(#""\#(key)" : "\#(name)""#), "\(key) \(name)")
    }
    #expect(outcome.output.contains(#""clip":["o_\\xe9.mp4","o.mp4"]"#), "\(outcome.output)")
  }

  /// A checkpoint directory, a clip of a cache and the cache's own directory.
  @Test func directoriesWithNamesOfBytes() throws {
    let directory = try TemporaryDirectory()
    let script = """
      cd "$1"; odd=$(printf 'd_\\351'); cp -r "$2" "$odd"; cp "$3" "$odd.mp4"
      "$0" convert "$odd" m.sfq >/dev/null && "$0" run "$odd" -q hi --max-tokens 2 >/dev/null && \
      "$0" run m.sfq "$odd.mp4" --frames 2 --cache "$odd-cache" -q hi --max-tokens 2 >/dev/null && \
      "$0" run m.sfq "$odd.mp4" --frames 2 --cache "$odd-cache" -q hi --max-tokens 2 --json | grep -q '"cached_frames" : 2' && \
      test "$(ls "$odd-cache" | wc -l)" = 3 && test "$(ls | wc -l)" = 4
      """
    let outcome = try shell(script, directory.path, Repository.golden("clip"), Repository.clip)
    #expect(outcome.status == 0, "\(outcome.errors)")
  }

  /// A comparison's data, its clip and its report; a question is a text, which a name is not.
  @Test func comparisonsWithNamesOfBytes() throws {
    let directory = try TemporaryDirectory()
    let line = #"{"video":"c.mp4","question":"How many shapes are there?","answer":"2"}"#
    let script = """
      cd "$1"; odd=$(printf 'd_\\351'); mkdir "$odd" "$odd/deep"; cp "$3" "$odd/c.mp4"
      echo '\(line)' > "$odd/e.jsonl"; ln -s "$odd/deep" link
      "$0" compare "$2" --data "$odd/e.jsonl" --variants 4 --parts none -o "$odd-report" >/dev/null && \
      test -s "$odd-report/report.json" && \
      "$0" compare "$2" --data "$odd/e.jsonl" --variants 4 --parts none -o link/../r >/dev/null && test -s "$odd/r/report.json" && \
      test "$(ls | wc -l)" = 3 || exit 1
      "$0" run "$2" -q "$odd" 2>/dev/null; test $? = 2 || exit 2
      "$0" tokenize "$2" "$odd" 2>/dev/null; test $? = 2 || exit 3
      """
    let outcome = try shell(script, directory.path, Demonstration.checkpoint, Demonstration.clip)
    #expect(outcome.status == 0, "\(outcome.status) \(outcome.errors)")
  }
}
