#!/usr/bin/env bash
# lmms-eval against a server of its own: run.sh SLOWFAST [OPTIONS of check.py]. Installs lmms-eval into .build/lmms-eval-venv (2.5 GB with a torch for the CPU);
# where that cannot be done, it says so and passes, unless LMMS_EVAL_REQUIRED is set. `run.sh install` does nothing else.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: run.sh SLOWFAST [--data EVAL.jsonl] [--questions N] …" >&2; exit 2; }
[ "$1" = install ] || program=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../..")
venv=$root/.build/lmms-eval-venv
# This torch because a build for the CPU is often to be had of it; filelock because lmms-eval reaches into what later ones lack.
packages=(torch==2.13.0 lmms-eval==0.7.3 decord 'filelock<3.20')
skip() {
  echo "left out: lmms-eval: $1" >&2
  [ -z "${LMMS_EVAL_REQUIRED:-}" ] || exit 1
  exit 0
}
if [ "$(cat "$venv/installed" 2>/dev/null)" != "${packages[*]}" ]; then
  mkdir -p "$root/.build"
  # PyPI's torch brings CUDA's libraries.
  [ "$(df --output=avail -BG "$root/.build" | tail -1 | tr -dc 0-9)" -ge 10 ] || skip "less than 10 GB free for its packages"
  python3 -m venv --clear "$venv" && "$venv/bin/pip" install -q "${packages[@]}" || { rm -rf "$venv"; skip "pip cannot install ${packages[*]}"; }
  echo "${packages[*]}" > "$venv/installed"
fi
[ "$1" != install ] || exit 0
exec "$venv/bin/python3" "$root/integrations/lmms-eval/check.py" "$program" "${@:2}"
