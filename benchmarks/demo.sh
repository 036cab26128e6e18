#!/usr/bin/env bash
# The main job on what the project itself holds: convert the demonstration model, look at a clip, ask about it.
set -euo pipefail
slowfast=${1:?usage: demo.sh SLOWFAST}
cd "$(dirname "$0")/.."
out=demo-output
mkdir -p "$out"

say() { printf '\n$ %s\n' "${*/#$slowfast/slowfast}"; }
try() { say "$@"; "$@"; }

# The clip, then a question and its true answer a line.
{ read -r clip; mapfile -t lines; } < benchmarks/demo/examples/demo.tsv
clip=benchmarks/demo/examples/$clip
try "$slowfast" convert benchmarks/demo/checkpoint "$out/model.sfq" --force
try "$slowfast" frames "$clip" -n 16 --sheet "$out/sheet.png" --force

right=0
say "$slowfast" run "$out/model.sfq" "$clip" --greedy -q QUESTION
for line in "${lines[@]}"; do
  IFS=$'\t' read -r question truth <<< "$line"
  answer=$("$slowfast" run "$out/model.sfq" "$clip" --greedy -q "$question" 2> "$out/log.txt") \
    || { cat "$out/log.txt" >&2; exit 1; }
  printf '\nquestion  %s\nanswer    %s\ntruth     %s\n' "$question" "$answer" "$truth"
  [ "$answer" != "$truth" ] || right=$((right + 1))
done
printf '\n%s of %s answers are right. What the model saw: %s\n' "$right" "${#lines[@]}" "$out/sheet.png"
