#!/usr/bin/env bash
# The full-size run: converts a checkpoint of the published shapes to 4 and 8 bits, asks about a clip with 64 frames and with 2,
# and leaves what each step printed, with time and peak memory, in OUT. Takes tens of minutes and about 30 GB of disk.
#
#   python3 benchmarks/full_size_checkpoint.py CHECKPOINT --tokenizer QWEN2_TOKENIZER_DIRECTORY
#   benchmarks/full_size.sh CHECKPOINT CLIP OUT
set -euo pipefail
checkpoint=${1:?usage: full_size.sh CHECKPOINT CLIP OUT}
clip=${2:?usage: full_size.sh CHECKPOINT CLIP OUT}
out=${3:?usage: full_size.sh CHECKPOINT CLIP OUT}
slowfast=$(cd "$(dirname "$0")/.." && pwd)/.build/release/slowfast
question="What happens in this video? Describe it."
mkdir -p "$out"

{ grep -m1 'model name' /proc/cpuinfo || true; nproc; uname -r; } > "$out/machine.txt"
for bits in 4 8; do
  model=$out/model-$bits.sfq
  [ -e "$model" ] || /usr/bin/time -v "$slowfast" convert "$checkpoint" "$model" --bits $bits --json \
    > "$out/convert-$bits.json" 2> "$out/convert-$bits.time"
  "$slowfast" inspect "$model" > "$out/inspect-$bits.txt"
  for frames in 2 64; do
    /usr/bin/time -v "$slowfast" run "$model" "$clip" -q "$question" --frames $frames --greedy --max-tokens 32 --json \
      > "$out/run-$bits-$frames.json" 2> "$out/run-$bits-$frames.time"
  done
done
python3 "$(dirname "$0")/full_size_table.py" "$out" | tee "$out/table.md"
