#!/bin/sh
# Trains the demonstration model from nothing and evaluates it: make_model.sh WORK [cpu|cuda]
#
# Every stage goes on where an earlier call was cut off, so simply run it again. Work needs 4 GB (cpu) or 25 GB (cuda) of disk;
# nothing of it belongs in the repository but what the last lines copy. Needs torch, numpy, pillow, scikit-learn, tokenizers,
# safetensors, matplotlib, and PyAV for the evaluation.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:?a folder to work in}
device=${2:-cpu}
cores=$(nproc)
mkdir -p "$work"
if [ "$device" = cuda ]; then
  shards=100 tower="--steps 12000 --batch 256 --workers $((cores - 2))" decoder="--steps 12000 --batch 64 --report 250 --workers $((cores - 2))"
else
  shards=14 tower="--steps 4000 --batch 64" decoder="--steps 6200 --batch 16 --report 200"
  grep -q avx512_bf16 /proc/cpuinfo && decoder="$decoder --bf16"
fi
export OMP_NUM_THREADS=1 # one for each worker; torch takes --threads
cd "$here"
[ -f "$work/tokenizer/tokenizer.json" ] || python3 tokenizer.py "$work/tokenizer"
python3 pool.py "$work/pool" --shards "$shards" --workers "$cores"
python3 train_tower.py "$work/pool" "$work" $tower --device "$device" --threads "$cores"
python3 features.py "$work/pool" "$work" --device "$device" --threads "$cores"
python3 train.py "$work/pool" "$work" $decoder --device "$device" --threads "$cores"
python3 export.py "$work" "$work/checkpoint"
python3 plot.py "$work" "$work/report/loss.png"
if python3 -c 'import av' 2>/dev/null; then
  [ -f "$work/eval/eval.jsonl" ] || python3 make_eval.py "$work/eval"
  python3 evaluate.py "$work/checkpoint" "$work/eval" --out "$work/report" --device "$device" --threads "$cores"
fi
