#!/usr/bin/env python3
"""Holds the code to its layout: check_imports.py [FOLDER]. Prints what breaks a rule, by file and line, and ends with 1 where
something does.

- A module imports, and names in Package.swift, only modules of lower layers (LAYERS); those of one layer do not know each
  other (but SIBLINGS). The two formats know no computing.
- Names of a checkpoint's tensors stand in Sources/Models alone, the command's options in Sources/slowfast alone.
- No file has more than 700 lines, no line more than 140 characters; Sources has fewer than 280 files.

Tests/imports_allowed.txt holds what may stay, a line each: RULE SUBJECT [COUNT]  # reason. What of it is no longer needed is
printed too, and is no error."""
import os
import re
import sys

# From the bottom to the top.
LAYERS = [
    ["Support", "Parallel"],
    ["Tensors"],
    ["Kernels"],
    [
        "KernelsPortable", "KernelsAVX2", "KernelsAVXVNNI", "KernelsAVX512VL", "KernelsAVX512", "KernelsAMX",
        "KernelsNEON", "KernelsDotProd", "KernelsI8MM", "KernelSources",
    ],
    ["Compute", "Quantization", "Tokenizer", "Grammar", "Video", "Safetensors", "ModelFile", "Measurement"],
    ["Models"],
    ["Runtime"],
    ["Conversion"],
    ["Lab"],
    ["SlowFast"],
    ["Server"],
    ["slowfast"],
]
# What sees only some of what lies below, and why.
NARROW = {"Server": (("SlowFast",), "a server sees the public library alone, as one of another package would")}
# Packages of others, by who may import them.
PACKAGES = {"Server": ("Hummingbird", "HummingbirdCore", "HTTPTypes", "Logging", "NIOCore", "NIOHTTPTypes", "ServiceLifecycle", "UnixSignals", "Yams")}
# What a module may import of its own layer, and why.
SIBLINGS = {
    ("Parallel", "Support"): "a pool takes the clock and the number of processors from it",
    ("KernelsDotProd", "KernelsNEON"): "a processor with the dot product takes NEON's kernels for the rest",
    ("KernelsI8MM", "KernelsNEON"): "as above",
    ("KernelsI8MM", "KernelsDotProd"): "as above: one token has no second one to pair with",
}
# Formats hold bytes; what computes with them is above.
FORBIDDEN = {
    **{(format, module): "formats know no computing" for format in ("Safetensors", "ModelFile")
       for module in ("Compute", "Quantization", "Kernels") + tuple(LAYERS[3])},
}
# Headers and libraries of the system: any module.
SYSTEM = re.compile(r"^(C[A-Z]\w*|Foundation|FoundationEssentials|Glibc|Musl|Synchronization|Dispatch|ArgumentParser|PackageDescription)$")
TENSOR_NAME = re.compile(r"model\.layers|vision_tower|lm_head|mm_projector|embed_tokens")
OPTION = re.compile(r"(?:^|[\s`'\"])--[a-z][a-z-]*(?![a-z:-])")  # with a colon it is a property of a style sheet
IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
    r"(?:(?:struct|enum|class|protocol|func|var|let|typealias|actor)\s+)?(\w+)")
MAXIMUM_LINES, MAXIMUM_LINE, MAXIMUM_FILES = 700, 140, 280
LAYER = {module: index for index, layer in enumerate(LAYERS) for module in layer}


def literals(source):
    """(line, text) of each string literal of Swift; interpolated expressions are left out, the literals in them are not."""
    found, position, line = [], 0, 1
    stack = []  # of open literals: [first line, text so far, delimiter, parentheses open in the interpolation that is being read]

    def closes(delimiter):
        return source.startswith(delimiter, position)

    while position < len(source):
        character = source[position]
        reading = stack and stack[-1][3] == 0
        if character == "\n":
            line += 1
            if reading and '"""' not in stack[-1][2]:  # not a literal after all: a quote in a regular expression
                stack.pop()
            elif reading:
                stack[-1][1] += "\n"
            position += 1
        elif reading:
            first, _, delimiter, _ = stack[-1]
            escape = "\\" + "#" * (len(delimiter) - len(delimiter.strip("#")))
            if closes(delimiter):
                found.append((first, stack.pop()[1]))
                position += len(delimiter)
            elif source.startswith(escape + "(", position):
                stack[-1][3] = 1
                position += len(escape) + 1
            elif source.startswith(escape, position):
                stack[-1][1] += source[position + len(escape):position + len(escape) + 1]
                position += len(escape) + 1
            else:
                stack[-1][1] += character
                position += 1
        elif source.startswith("//", position):
            end = source.find("\n", position)
            position = len(source) if end < 0 else end
        elif source.startswith("/*", position):
            depth, start = 1, position
            position += 2
            while position < len(source) and depth:
                if source.startswith("/*", position) or source.startswith("*/", position):
                    depth += 1 if source[position] == "/" else -1
                    position += 2
                else:
                    position += 1
            line += source.count("\n", start, position)
        elif match := re.compile(r'(#*)("""|")').match(source, position):
            stack.append([line, "", match.group(2) + match.group(1), 0])
            position = match.end()
        else:
            if stack and character in "()":
                stack[-1][3] += 1 if character == "(" else -1
            position += 1
    return found


def files(folder, endings):
    """Paths in a folder, by name; links are not followed, and not counted."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if name.endswith(endings) and not os.path.islink(path):
                yield path


def refused(module, imported):
    """Why a module may not import another, or None."""
    if SYSTEM.match(imported) or module == imported or imported in PACKAGES.get(module, ()):
        return None
    if module in NARROW and imported not in NARROW[module][0]:
        return NARROW[module][1]
    for name in (module, imported):
        if name not in LAYER:
            return f"{name} is in no layer of Tests/check_imports.py"
    if (module, imported) in FORBIDDEN:
        return FORBIDDEN[module, imported]
    if LAYER[imported] == LAYER[module] and (module, imported) not in SIBLINGS:
        return "both are of one layer"
    if LAYER[imported] > LAYER[module]:
        return f"{imported} is above {module}"
    return None


def violations(root):
    """(rule, subject, place, text) of all that breaks a rule."""
    sources = os.path.join(root, "Sources")
    count = 0
    for path in files(sources, (".swift", ".h", ".c")):
        count += 1
        parts = os.path.relpath(path, sources).split(os.sep)
        module, place = parts[0], os.path.relpath(path, root)
        if not path.endswith(".swift"):
            continue
        with open(path, encoding="utf-8") as file:
            source = file.read()
        for number, line in enumerate(source.split("\n"), 1):
            match = IMPORT.match(line)
            if match and (why := refused(module, match.group(1))):
                yield "import", f"{module}→{match.group(1)}", f"{place}:{number}", f"imports {match.group(1)}: {why}"
        for number, text in literals(source):
            if module != "Models" and TENSOR_NAME.search(text):
                yield "tensor-name", module, f"{place}:{number}", f"a tensor's name outside Sources/Models: {text.strip()[:60]}"
            if module != "slowfast" and OPTION.search(text):
                yield "option", module, f"{place}:{number}", f"the command's option outside Sources/slowfast: {text.strip()[:60]}"
    for name in sorted(os.listdir(sources)):
        if name not in LAYER and not SYSTEM.match(name):
            yield "import", name, f"Sources/{name}", f"{name} is in no layer of Tests/check_imports.py"
    if count >= MAXIMUM_FILES:
        yield from [("files", "Sources", "Sources", f"{count} files, {MAXIMUM_FILES - 1} at most")] * (count - MAXIMUM_FILES + 1)

    package = os.path.join(root, "Package.swift")
    with open(package, encoding="utf-8") as file:
        text = file.read()
    for match in re.finditer(r'\.(?:target|executableTarget)\(\s*name:\s*"(\w+)",\s*dependencies:\s*\[([^\]]*)\]', text):
        module = match.group(1)
        for name in re.findall(r'"([\w-]+)"', re.sub(r"\.product\([^)]*\)", "", match.group(2))):
            if module in LAYER and (why := refused(module, name)):
                number = text.count("\n", 0, match.start()) + 1
                yield "import", f"{module}→{name}", f"Package.swift:{number}", f"{module} names {name}: {why}"

    for folder in ("Sources", "Tests", "Examples", "benchmarks", "Package.swift"):
        start = os.path.join(root, folder)
        for path in [start] if os.path.isfile(start) else files(start, (".swift", ".h", ".c")):
            place = os.path.relpath(path, root)
            with open(path, encoding="utf-8") as file:
                lines = file.read().split("\n")
            if len(lines) - 1 > MAXIMUM_LINES:
                yield "length", place, f"{place}:{MAXIMUM_LINES + 1}", f"{len(lines) - 1} lines, {MAXIMUM_LINES} at most"
            for number, line in enumerate(lines, 1):
                if len(line) > MAXIMUM_LINE:
                    yield "width", folder, f"{place}:{number}", f"{len(line)} characters, {MAXIMUM_LINE} at most"


def allowances(root):
    """{(rule, subject): [how many may be left, line, has been needed]}"""
    path = os.path.join(root, "Tests", "imports_allowed.txt")
    allowed = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                words, _, reason = line.partition("#")
                if not words.split():
                    continue
                rule, subject, *limit = words.split()
                if not reason.strip():
                    sys.exit(f"Tests/imports_allowed.txt:{number}: no reason is given")
                allowed[rule, subject] = [int(limit[0]) if limit else sys.maxsize, number, False]
    return allowed


def check(root):
    """All complaints and all notes, a line each."""
    allowed, complaints, notes = allowances(root), [], []
    for rule, subject, place, text in violations(root):
        allowance = allowed.get((rule, subject))
        if allowance:
            allowance[2] = True
            allowance[0] -= 1
        if not allowance or allowance[0] < 0:
            complaints.append(f"{place}: {text}")
    for (rule, subject), (left, number, needed) in allowed.items():
        if not needed:
            notes.append(f"Tests/imports_allowed.txt:{number}: {rule} {subject} is no longer needed: delete the line")
        elif 0 < left < sys.maxsize // 2:
            notes.append(f"Tests/imports_allowed.txt:{number}: {rule} {subject} may be lowered by {left}")
    return complaints, notes


if __name__ == "__main__":
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    complaints, notes = check(os.path.normpath(root))
    print("\n".join(notes + (complaints or ["the layout's rules hold"])))
    sys.exit(1 if complaints else 0)
