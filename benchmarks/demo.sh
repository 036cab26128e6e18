#!/usr/bin/env bash
# The main job on what the project itself holds: convert a checkpoint, look at a clip, ask about it.
set -euo pipefail
slowfast=${1:?usage: demo.sh SLOWFAST}
cd "$(dirname "$0")/.."
out=demo-output
mkdir -p "$out"

if [ -d benchmarks/demo/checkpoint ]; then
  checkpoint=benchmarks/demo/checkpoint
else
  checkpoint=Tests/Golden/clip
  echo "The demonstration model is not trained yet: these are a test checkpoint's RANDOM weights, and its answer is noise."
fi
clip=Tests/Clips/nasa.mp4

set -x
"$slowfast" convert "$checkpoint" "$out/model.sfq" --bits 8 --force
"$slowfast" frames "$clip" -n 8 --sheet "$out/sheet.png"
"$slowfast" run "$out/model.sfq" "$clip" -q "What happens in this video?" --frames 8 --greedy --max-tokens 24 --stats
