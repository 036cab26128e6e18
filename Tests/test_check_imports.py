#!/usr/bin/env python3
"""Tests of check_imports.py: a package that breaks each rule is told so, by file and line; one that breaks none is not."""
import os
import tempfile
import unittest

from check_imports import check, literals

PACKAGE = 'let package = Package(targets: [\n.target(name: "Runtime", dependencies: [%s], swiftSettings: strict),\n])\n'


class CheckImports(unittest.TestCase):
    def complaints(self, files, allowed="", package='"Models"'):
        with tempfile.TemporaryDirectory() as root:
            files = {"Sources/Support/A.swift": "import Foundation\n", **files, "Package.swift": PACKAGE % package}
            for path, text in {**files, "Tests/imports_allowed.txt": allowed}.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            complaints, notes = check(root)
            return complaints + notes

    def assert_told(self, start, files, **others):
        complaints = self.complaints(files, **others)
        self.assertEqual(len(complaints), 1, complaints)
        self.assertTrue(complaints[0].startswith(start), complaints)

    def test_a_package_that_keeps_the_rules(self):
        self.assertEqual(self.complaints({
            "Sources/Runtime/R.swift": "// import Lab: \"lm_head\" --bits\nimport CZstd\npublic import struct Models.Config\n",
            "Sources/Models/M.swift": 'let name = "model.layers.\\(index)."\n',
            "Sources/slowfast/S.swift": 'import SlowFast\nlet help = "take --bits 8"\n',
            "Sources/Lab/Style.swift": 'let style = "a { color: var(--ink); --ink: red }"\n',
            "Sources/KernelsI8MM/K.swift": "import KernelsNEON\n",
        }), [])

    def test_layers(self):
        self.assert_told("Sources/Runtime/R.swift:2: imports Conversion: Conversion is above", {
            "Sources/Runtime/R.swift": "import Foundation\n@_exported import enum Conversion.Kind\n"})
        self.assert_told("Sources/Runtime/R.swift:1: imports Lab", {"Sources/Runtime/R.swift": "package import Lab\n"})
        self.assert_told("Sources/Tokenizer/T.swift:1: imports Video: both", {"Sources/Tokenizer/T.swift": "import Video\n"})
        self.assert_told("Sources/ModelFile/F.swift:1: imports Kernels: formats", {"Sources/ModelFile/F.swift": "import Kernels\n"})
        self.assert_told("Sources/Cellar: Cellar is in no layer", {"Sources/Cellar/C.swift": "\n"})
        self.assert_told("Package.swift:2: Runtime names Lab", {}, package='"Models", "Lab"')

    def test_the_server(self):
        self.assertEqual(self.complaints({"Sources/Server/S.swift": "import SlowFast\n#if Server\n  import Hummingbird\n#endif\n"}), [])
        self.assert_told("Sources/Server/S.swift:1: imports Support: a server sees", {"Sources/Server/S.swift": "import Support\n"})
        self.assert_told("Sources/Lab/L.swift:1: imports Hummingbird", {"Sources/Lab/L.swift": "import Hummingbird\n"})

    def test_names_and_options(self):
        self.assert_told("Sources/Runtime/R.swift:3: a tensor's name", {
            "Sources/Runtime/R.swift": 'let a = """\n  --- \n  """; let b = f("lm_head.weight")\n'})
        self.assert_told("Sources/Lab/L.swift:1: the command's option", {"Sources/Lab/L.swift": 'throw "`--bits` is \\(f("x"))"\n'})
        self.assert_told("Sources/Lab/L.swift:1: the command's option", {"Sources/Lab/L.swift": 'let a = "\\(b ? "--bits" : "")"\n'})

    def test_sizes(self):
        self.assert_told("Tests/T.swift:701: 701 lines", {"Tests/T.swift": "\n" * 701})
        self.assert_told("Sources/CPixels/p.h:2: 141 characters", {"Sources/CPixels/p.h": "\n" + "é" * 141 + "\n" + "é" * 140})
        many = {f"Sources/Support/F{index}.swift": "\n" for index in range(279)}
        self.assert_told("Sources: 280 files", many)

    def test_what_is_allowed(self):
        files = {"Sources/Lab/L.swift": 'let a = "--bits", b = "--keep"\n'}
        self.assertEqual(self.complaints(files, allowed="option Lab 2  # a reason\n"), [])
        self.assert_told("Sources/Lab/L.swift:1", files, allowed="option Lab 1  # a reason\n")
        self.assert_told("Tests/imports_allowed.txt:2: option Lab may be lowered by 3", files, allowed="\noption Lab 5  # a reason\n")
        self.assert_told("Tests/imports_allowed.txt:1: width Tests is no longer needed", {}, allowed="width Tests # a reason\n")
        with self.assertRaises(SystemExit):
            self.complaints(files, allowed="option Lab 2\n")

    def test_literals(self):
        self.assertEqual(literals('"a\\"b" /* "c" /* */ "d" */ #"e\\"#\n"f\\(g("h") + 1)i"'), [(1, 'a"b'), (1, "e\\"), (2, "h"), (2, "fi")])
        self.assertEqual(literals('x = /"/\ny = "z"'), [(2, "z")])


if __name__ == "__main__":
    unittest.main()
