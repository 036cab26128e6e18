#!/usr/bin/env bash
# The tests for 64-bit ARM, emulated: kernels and golden files on a processor of each level, all tests on one ("quick": kernels on each, golden
# files on one), and model files that one machine writes and the other reads. What cannot be installed is skipped,
# loudly; what fails fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
toolchain=Tests/arm64/toolchain.sh
# No dot product; dot product; 8-bit matrix product on two processors.
models=${ARM64_MODELS:-cortex-a72 neoverse-n1 neoverse-v1 max}
# ARM64_TESTS: a regular expression, for some of them only.
limit=${ARM64_SETUP_SECONDS:-1800}

skip() {
  printf '\n%s\n' "********** SKIPPED: NOTHING WAS TESTED ON ARM: $1 **********" >&2
  exit 0
}
[ "$(uname -m)" = x86_64 ] || skip "this emulates ARM on an x86-64 machine; on ARM, make test does it all"
command -v apt-get >/dev/null || skip "the toolchain is Debian's, and this machine has no apt-get"
timeout "$limit" $toolchain setup || skip "the toolchain could not be installed within $limit seconds (see above)"
$toolchain probe || skip "this machine allows no chroot with mounts of its own"

# What is not run is not compiled either: most tests, and the server.
traits=()
[ "${1:-all}" = all ] || { export SLOWFAST_TESTS=KernelTests,SlowFastTests; traits=(--disable-default-traits); }
$toolchain build -c release "${traits[@]}" --build-tests --jobs "$(nproc)"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
built=$($toolchain build -c release "${traits[@]}" --show-bin-path 2>/dev/null | tail -1)
Tests/check_kernel_objects.sh "$built"
# Resources where a module that is built has some.
find "$built" -maxdepth 1 \( -name '*.xctest' -o -name '*.resources' \) -exec cp -r {} "$stage" \;
programs=(slowfast)
[ "${1:-all}" != all ] || programs+=(example-ask example-watch)
for program in "${programs[@]}"; do cp "$built/$program" "$stage/$program.arm64"; done

failed=() skipped=()
# An emulated run takes that many times longer before its test gives it up.
export SLOWFAST_TEST_SLOWNESS=${SLOWFAST_TEST_SLOWNESS:-20} SLOWFAST_TEST_EMULATED=yes
for model in $models; do
  # What tests of the command start: the machine itself cannot run an ARM program.
  for program in "${programs[@]}"; do
    printf '#!/bin/sh\nexec %s emulate %s %s/%s.arm64 "$@"\n' "$PWD/$toolchain" "$model" "$stage" "$program" >"$stage/$program"
    chmod +x "$stage/$program"
  done
  # They take minutes to emulate: "quick" has golden files on the last model only, stage by stage.
  tests=(--filter '^(Kernel|Compute)Tests\.|GoldenTests')
  case "${1:-all} $model" in
    'all max') tests=() ;;
    'quick max') tests=(--filter '^KernelTests\.|GoldenTests/everyStage') ;;
    all*) ;;
    *) tests=(--filter '^KernelTests\.') ;;
  esac
  [ -z "${ARM64_TESTS:-}" ] || tests=(--filter "$ARM64_TESTS")
  echo "[arm64] $model: ${tests[*]:-all tests}"
  start=$SECONDS
  $toolchain emulate "$model" "$stage"/*.xctest --testing-library swift-testing "${tests[@]}" | sed '/ started\.$/d' | tee "$stage/log" ||
    failed+=("tests on $model")
  echo "[arm64] $model: $((SECONDS - start)) seconds"
  mapfile -t -O ${#skipped[@]} skipped < <(sed -n "s/.* \(Test\|Suite\) \(.*\) skipped/$model: \2/p" "$stage/log")
done
Tests/arm64/exchange.sh .build/release/slowfast "$stage/slowfast" || failed+=("model files")
[ ${#skipped[@]} = 0 ] || printf '[arm64] SKIPPED: %s\n' "${skipped[@]}"
if [ ${#failed[@]} -gt 0 ]; then
  printf '[arm64] FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "[arm64] all passed"
