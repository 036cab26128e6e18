#!/usr/bin/env bash
# Makes an environment with the peers in WORK (llama.cpp is compiled for this machine, which takes a while), once, and compares.
#
#   swift build -c release
#   benchmarks/peers/run.sh WORK [options of compare.py]
set -euo pipefail
work=${1:?usage: run.sh WORK [options of compare.py]}
here=$(cd "$(dirname "$0")" && pwd)
venv=$work/venv
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
  mkdir -p "$work"
  [ -x "$venv/bin/python3" ] || python3 -m venv --system-site-packages "$venv"
  "$venv/bin/pip" install --quiet --no-binary llama-cpp-python --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/installed.txt"
fi
exec "$venv/bin/python3" "$here/compare.py" "$@"
