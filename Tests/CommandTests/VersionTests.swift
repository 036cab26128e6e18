import Foundation
import TestSupport
import Testing

/// One version: the command's, the packages', the newest of the changelog, and that of the program which a model file names.
struct VersionTests {
  @Test func oneVersionEverywhere() throws {
    let version = try slowfast("--version").output.trimmingCharacters(in: .newlines)
    #expect(version.wholeMatch(of: /0\.\d+\.\d+/) != nil, "\(version)")

    let packages = try Run(script: "exec \"$1\"", [Repository.root + "/packaging/version.sh"]).finish()
    #expect(packages.output == version + "\n", "\(packages.errors)")

    let changelog = try String(contentsOfFile: Repository.root + "/CHANGELOG.md", encoding: .utf8)
    #expect(try #require(changelog.firstMatch(of: /\n## \[([0-9][^\]]*)\]/)).1 == version)

    let directory = try TemporaryDirectory()
    let converted = try slowfast("convert", Demonstration.checkpoint, directory.file("model.sfq"), "--method", "rtn")
    #expect(converted.status == 0, "\(converted.errors)")
    let inspected = try slowfast("inspect", directory.file("model.sfq"), "--json").json()
    let provenance = try JSONSerialization.jsonObject(with: Data(#require(inspected["provenance"] as? String).utf8)) as? [String: Any]
    #expect(provenance?["program"] as? String == "slowfast \(version)")
  }
}
