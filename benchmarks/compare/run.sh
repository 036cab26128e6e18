#!/usr/bin/env bash
# What each bit costs the demonstration model: every table and picture of this folder, in one command.
#
#   swift build -c release
#   benchmarks/compare/run.sh CHECKPOINT EVAL WORK [CLIPS]
#
# EVAL is what benchmarks/demo/make_eval.py makes; the first CLIPS (100) of it are asked about. A repeated run goes on where the last one
# stopped. The pictures need chromium; the comparison with llama.cpp PYTHON, an interpreter with benchmarks/peers/requirements.txt
# (benchmarks/peers/run.sh makes one). SLOWFAST may name another build of the command.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: run.sh CHECKPOINT EVAL WORK [CLIPS]" >&2; exit 2; }
mkdir -p "$3"
checkpoint=$(realpath "$1") work=$(realpath "$3")
ln -sfn "$(realpath "$2")" "$work/eval"
clips=${4:-100}
here=$(cd "$(dirname "$0")" && pwd)
slowfast=${SLOWFAST:-$here/../../.build/release/slowfast}
python=${PYTHON:-python3}
cd "$work"  # the report names files as they are named here

# Clips that are in no evaluation set.
[ -e calibration/eval.jsonl ] || python3 "$here/../demo/make_eval.py" calibration --clips 32 --seed 2000
calibrate=(--calibrate calibration/eval.jsonl)

# What each bit costs, and each part.
bits=16,8,8:input=float,4,4:input=float,4a,4:group=32
# By which method, without and with a target.
methods=4:method=rtn,4:calibrated,4:method=gptq
targets=4:method=rtn:target=4.5,4:target=4.5,4:calibrated:target=4.5,4:method=gptq:target=4.5,4:method=gptq:target=4.4,4:method=gptq:target=5
# Where more bits are best spent.
recipes='4:*=4,4:method=rtn:*=4,4:tower=4,4:projector=4,4:attention=8,4:cross=8,4:embedding=8,4:head=8,4:mlp=8,4:method=gptq:*=4'
"$slowfast" convert "$checkpoint" act-order.sfq --method gptq --act-order "${calibrate[@]}" --force
"$slowfast" convert "$checkpoint" no-fold.sfq --method gptq --no-fold "${calibrate[@]}" --force
common=("${calibrate[@]}" --data eval/eval.jsonl --limit "$clips" --slow-attention all -o report)
"$slowfast" compare "$checkpoint" act-order.sfq no-fold.sfq --variants "$bits,$methods,$targets,$recipes" "${common[@]}" | tee table.txt
cp report/report.json "$here/report.json"
# Pictures have room for fewer names; everything is measured by now.
shown='16,8,4,4:method=gptq,4:method=gptq:target=5,4:method=gptq:target=4.5,4:target=4.5,4:method=rtn:target=4.5,4:*=4'
"$slowfast" compare "$checkpoint" --variants "$shown" "${common[@]}" > pictures.txt
python3 "$here/pictures.py" report/report.html "$here"

"$python" "$here/llama/compare.py" "$checkpoint" eval calibration llama --limit "$clips"
cp llama/llama.md "$here/llama.md"
