#!/usr/bin/env bash
# Two builds of the command, for two machines: they write the same model file, byte for byte, and the tokens that one gets out of it the other
# gets too, whatever kernels it uses, packed or not.
set -euo pipefail
here=${1:?usage: exchange.sh SLOWFAST OTHER-SLOWFAST}
there=${2:?usage: exchange.sh SLOWFAST OTHER-SLOWFAST}
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# COMMAND MODEL: prints the kernels of a run on the recorded frames of a golden file, and the tokens that it generates.
generate() {
  "$1" trace "$2" --frames Tests/Golden/clip/golden.safetensors -q 'What happens?' --generate 16 -o "$out/trace.safetensors" --force
  python3 -c '
import json, struct, sys
bytes = open(sys.argv[1], "rb").read()
start = 8 + int.from_bytes(bytes[:8], "little")
header = json.loads(bytes[8:start])
first, end = header["generated"]["data_offsets"]
print(header["__metadata__"]["kernels"], *struct.unpack(f"<{(end - first) // 4}i", bytes[start + first:start + end]))' "$out/trace.safetensors"
}
names() { SLOWFAST_KERNELS=none "$1" trace "$2" --frames Tests/Golden/clip/golden.safetensors -q x -o "$out/none" 2>&1 | sed -n 's/.*it has //; s/,//gp' || true; }

for bits in 3 4 8; do
  # Without compression, whose bytes are those of the zstd that is installed.
  "$here" convert Tests/Golden/clip "$out/here.sfq" --bits $bits --compress none --force >/dev/null
  "$there" convert Tests/Golden/clip "$out/there.sfq" --bits $bits --compress none --force >/dev/null
  cmp "$out/here.sfq" "$out/there.sfq" || { echo "$bits bits: the two machines write different files" >&2; exit 1; }
  "$here" convert Tests/Golden/clip "$out/packed.sfq" --bits $bits --force >/dev/null
  read -r best expected < <(generate "$here" "$out/here.sfq")
  [ "$(wc -w <<<"$expected")" = 16 ] || { echo "$bits bits, $best: not 16 tokens: $expected" >&2; exit 1; }
  file=packed
  for name in $(names "$there" "$out/here.sfq"); do
    read -r used found < <(SLOWFAST_KERNELS=$name generate "$there" "$out/$file.sfq")
    [ "$used $found" = "$name $expected" ] || { printf '%s bits:\n%s: %s\n%s: %s\n' $bits "$best" "$expected" "$used" "$found" >&2; exit 1; }
    echo "$bits bits, $file: $name gives the tokens of $best"
    file=here
  done
  [ $file = here ] || { echo "the other machine names no kernels" >&2; exit 1; }
done
