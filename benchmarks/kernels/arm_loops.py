#!/usr/bin/env python3
"""The loops of the ARM kernels: their instructions counted, and how many cycles LLVM's models of the cores give them.

    Tests/arm64/toolchain.sh build -c release
    arm_loops.py "$(Tests/arm64/toolchain.sh build -c release --show-bin-path | tail -1)"

needs llvm-objdump and, for the cycles, llvm-mca (Debian: llvm-19 or newer; older ones lack the model of Neoverse V1).
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys

# Object, function (a regular expression), an instruction of the loop, what a pass does, inputs a pass where scaling follows each group, the core
# that it is for. A value n of a generic parameter stands as `$<n - 1>_` in a name, and the closure that is a table's `multiply4` ends in `U_`.
LOOPS = [
    ("DotProd.build/QuantizedDotProd", r"TileTokens.*\$5__", "sdot", 8 * 6 * 4, "products", 4, "neoverse-n1"),
    ("I8MM.build/QuantizedI8MM", r"TileTokens.*\$5__", "smmla", 8 * 6 * 8, "products", 8, "neoverse-v1"),
    ("NEON.build/QuantizedNEON", r"TileTokens4.*\$3__", "smlal", 8 * 4 * 4, "products", 4, "cortex-a72"),
    ("NEON.build/QuantizedNEON", r"TileTokens8.*\$1__", "sadalp", 8 * 2 * 8, "products", 8, "cortex-a72"),
    ("DotProd.build/OneTokenDotProd", "multiplyOneToken4", "sdot", 256, "bytes of codes", None, "neoverse-n1"),
    ("DotProd.build/OneTokenDotProd", "multiplyOneToken8", "sdot", 512, "bytes of codes", None, "neoverse-n1"),
    ("NEON.build/OneTokenNEON", "multiplyOneToken4", "smlal", 128, "bytes of codes", None, "cortex-a72"),
    ("NEON.build/OneTokenNEON", "multiplyOneToken8", "sadalp", 256, "bytes of codes", None, "cortex-a72"),
    ("DotProd.build/QuantizedDotProd", r"Vvpfi.*YbcfU_$", "usra", 256, "codes", None, "neoverse-n1"),
    ("I8MM.build/QuantizedI8MM", r"Vvpfi.*YbcfU_$", "usra", 256, "codes", None, "neoverse-v1"),
    ("Portable.build/FloatMultiply", "9multiply6", "fmla", 6 * 16, "products", None, "neoverse-n1"),
]
# What each instruction of the tables costs by itself.
INSTRUCTIONS = [
    "smull v0.8h, v1.8b, v2.8b", "smlal v0.8h, v1.8b, v2.8b", "sadalp v0.4s, v1.8h", "sdot v0.4s, v1.16b, v2.4b[1]",
    "smmla v0.4s, v1.16b, v2.16b", "dup v0.4s, v1.s[1]", "and v0.16b, v1.16b, v2.16b", "ushr v0.16b, v1.16b, #4",
    "usra v0.16b, v1.16b, #4", "zip1 v0.2d, v1.2d, v2.2d", "scvtf v0.4s, v1.4s", "fmul v0.4s, v1.4s, v2.4s",
    "fmla v0.4s, v1.4s, v2.4s", "ldr q0, [x0]", "ldp q0, q1, [x0]", "ld1r {v0.4s}, [x0]", "str q0, [x0]",
]
CORES = ["cortex-a72", "neoverse-n1", "neoverse-v1"]


def functions(objdump, path):
    """The functions of an object: name to a list of (address, instruction)."""
    def dump(*options):
        return subprocess.run([objdump, *options, path], capture_output=True, text=True, check=True).stdout

    # Where a section begins, the name that stands there may be that of a mapping symbol.
    names = {int(match[1], 16): match[2] for match in re.finditer(r"^([0-9a-f]+) .* F \.text\S*\s+[0-9a-f]+ (?:\.hidden )?(\S+)$", dump("-t"), re.M)}
    found, current = {}, []
    for line in dump("-d", "--no-show-raw-insn", "--mattr=+dotprod,+i8mm").splitlines():
        if head := re.match(r"([0-9a-f]+) <(.*)>:", line):
            current = found.setdefault(names.get(int(head[1], 16), head[2]), [])
        elif instruction := re.match(r"\s*([0-9a-f]+):\s+(.*)", line):
            current.append((int(instruction[1], 16), re.split(r"\s*(//|<)", instruction[2])[0]))
    return found


def loops(body):
    """The (first, last) of each backward branch's loop."""
    places = {address: index for index, (address, _) in enumerate(body)}
    for index, (address, text) in enumerate(body):
        branch = re.match(r"(?:b\.\w+|b|cbn?z|tbn?z)\s.*?0x([0-9a-f]+)", text)
        if branch and int(branch[1], 16) <= address and int(branch[1], 16) in places:
            yield places[int(branch[1], 16)], index


def straight(body):
    """Instructions without branches, which llvm-mca would take for calls of unknown length; what a `cbz` jumps over (minima, where there are any) left out."""
    taken, resume = [], 0
    for address, text in body:
        if address < resume:
            continue
        if jump := re.match(r"cbz\s.*?0x([0-9a-f]+)", text):
            resume = int(jump[1], 16)
        elif not re.match(r"(b|b\.\w+|cbnz|tbn?z)\s", text):
            taken.append(text)
    return taken


def cycles(mca, core, code, iterations):
    """Cycles of one pass."""
    command = [mca, "-mtriple=aarch64-linux-gnu", f"-mcpu={core}", "-mattr=+dotprod,+i8mm", f"-iterations={iterations}", "-"]
    report = subprocess.run(command, input="\n".join(code), capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / iterations


def throughputs(mca):
    """A table of instructions a cycle."""
    print("\n| instructions a cycle | " + " | ".join(CORES) + " |\n|---|" + "---:|" * len(CORES))
    rows = collections.defaultdict(list)
    for core in CORES:
        command = [mca, "-mtriple=aarch64-linux-gnu", f"-mcpu={core}", "-mattr=+dotprod,+i8mm", "-instruction-tables", "-"]
        report = subprocess.run(command, input="\n".join(INSTRUCTIONS), capture_output=True, text=True, check=True).stdout
        info = report.split("Instructions:\n")[1].splitlines()
        for line, instruction in zip(info, INSTRUCTIONS):
            rows[instruction].append(f"{1 / float(line.split()[2]):.3g}")
    for instruction, values in rows.items():
        print(f"| `{instruction}` | " + " | ".join(values) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="the folder of the cross-built objects")
    parser.add_argument("--objdump", default="llvm-objdump")
    parser.add_argument("--mca", default=shutil.which("llvm-mca-19") or shutil.which("llvm-mca"))
    options = parser.parse_args()
    if options.mca:
        throughputs(options.mca)
    else:
        print("no llvm-mca: instructions are counted, cycles are not", file=sys.stderr)
    for name, wanted, instruction, work, unit, inputs, core in LOOPS:
        path = f"{options.build}/Kernels{name}.swift.o"
        found = [(symbol, body) for symbol, body in functions(options.objdump, path).items() if re.search(wanted, symbol)]
        if not found:
            sys.exit(f"{path}: no function {wanted}")
        for symbol, body in found:
            with_it = [(first, last) for first, last in loops(body) if any(text.startswith(instruction) for _, text in body[first:last + 1])]
            if not with_it:
                continue
            first, last = min(with_it, key=lambda loop: loop[1] - loop[0])
            inner = body[first:last + 1]
            counts = collections.Counter(text.split()[0] for _, text in inner)
            print(f"\n{symbol}: {len(inner)} instructions a pass: " + ", ".join(f"{count} {word}" for word, count in counts.most_common()))
            if not options.mca:
                continue
            a_pass = cycles(options.mca, core, straight(inner), 1000)
            print(f"  {core}: {a_pass:.1f} cycles, {work / a_pass:.1f} {unit} a cycle")
            groups = [loop for loop in with_it if loop[0] <= first and loop[1] >= last and loop != (first, last)
                      and any(text.startswith("fmul") for _, text in body[loop[0]:loop[1] + 1])]
            if inputs and groups:
                start, end = min(groups, key=lambda loop: loop[1] - loop[0])
                before, after = straight(body[start:first]), straight(body[last + 1:end + 1])
                print(f"  around it, once a group: {len(before) + len(after)} instructions, {cycles(options.mca, core, before + after, 200):.0f} cycles alone")
                for group in (32, 64, 128):
                    passes = group // inputs
                    time = cycles(options.mca, core, before + straight(inner) * passes + after, 100)
                    print(f"  group of {group}: {time:.0f} cycles, {work * passes / time:.1f} products a cycle, {100 * a_pass * passes / time:.0f} % of the inner loop's")


if __name__ == "__main__":
    main()
