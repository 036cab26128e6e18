#!/usr/bin/env bash
# ray_batch.py on a cluster of two machines of its own: run.sh SLOWFAST. Installs ray into .build/ray-venv (0.6 GB); where that cannot be done, it says so and
# passes, unless RAY_REQUIRED is set. `run.sh install` does nothing else.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: run.sh SLOWFAST" >&2; exit 2; }
[ "$1" = install ] || program=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../..")
venv=$root/.build/ray-venv
packages=('ray[data]==2.60.0')
skip() {
  echo "left out: Ray: $1" >&2
  [ -z "${RAY_REQUIRED:-}" ] || exit 1
  exit 0
}
if [ "$(cat "$venv/installed" 2>/dev/null)" != "${packages[*]}" ]; then
  mkdir -p "$root/.build"
  python3 -m venv --clear "$venv" && "$venv/bin/pip" install -q "${packages[@]}" || { rm -rf "$venv"; skip "pip cannot install ${packages[*]}"; }
  echo "${packages[*]}" > "$venv/installed"
fi
[ "$1" != install ] || exit 0
export RAY_DISABLE_IMPORT_WARNING=1 RAY_USAGE_STATS_ENABLED=0
exec "$venv/bin/python3" "$root/integrations/ray/check.py" "$program"
