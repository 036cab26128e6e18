#!/usr/bin/env bash
# Fuzzing/run.sh PROGRAM SECONDS [TARGET…]: the program that `make fuzz` builds, so long with each target, all of them unless some are
# named. Prints a line for each; ends with 1 where an input was found that a reader does not survive, and says where that lies.
# With FILMS=PREFIX the target `clip` begins with those of Tests/VideoTests/Data/films; with RUNS=N each target runs so often, not so long.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1 seconds=$2
shift 2
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <("$program")
work=.build/fuzzing
mkdir -p "$work"
# In memory where there is some.
TMPDIR=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/slowfast-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1

# run TARGET: prints its line.
run() {
  local target=$1 log folders largest result inputs edges corpus took
  log=$work/$target.log
  folders=("$work/$target${FILMS:+-$FILMS}")
  [ -d "Fuzzing/Corpus/$target" ] && folders+=("Fuzzing/Corpus/$target")
  # libav reserves what a table's length says, and touches what the file has.
  largest=1024
  case $target in clip | picture) largest=4096 ;; esac
  result=0
  "$program" "$target" "${folders[@]}" ${RUNS:+-runs=$RUNS} -max_total_time="$seconds" -timeout=30 -rss_limit_mb=3072 -malloc_limit_mb="$largest" \
    -max_len=65536 -len_control=0 -reload=0 -print_final_stats=1 -artifact_prefix="$work/found-$target-" >"$log" 2>&1 </dev/null || result=$?
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -o ' cov: [0-9]*' "$log" | tail -1 | tr -dc 0-9)
  corpus=$(grep -o ' corp: [0-9]*' "$log" | tail -1 | tr -dc 0-9)
  took=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log")
  printf '%-18s %10s %8s %8s %8s\n' "$target${FILMS:+ $FILMS}" "${inputs:-?}" "${took:-?}" "${edges:-?}" "${corpus:-?}"
  [ $result -ne 0 ] || return 0
  grep -E 'ERROR|Fatal error|SUMMARY|Test unit written' "$log" | cut -c1-300 || tail -3 "$log"
  return 1
}

printf '%-18s %10s %8s %8s %8s\n' target inputs seconds edges corpus
status=0 running=0
for target in "${targets[@]}"; do
  # One on each processor.
  [ $running -lt "$(nproc)" ] || { wait -n || status=1; running=$((running - 1)); }
  run "$target" &
  running=$((running + 1))
done
while [ $running -gt 0 ]; do wait -n || status=1; running=$((running - 1)); done
exit $status
