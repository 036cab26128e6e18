#!/usr/bin/env bash
# Tests/sanitizers.sh all|quick [address|thread]: the tests under AddressSanitizer, then under ThreadSanitizer. `quick` builds and runs those
# of the modules that read files alone, then those of the modules that have threads.
set -euo pipefail
cd "$(dirname "$0")/.."
which=$1
sanitizers=(${2:-address thread})
# Left out: it allows a time that an instrumented program does not keep.
skip=(--skip parsesALongHeaderQuickly)
export SWIFT_BACKTRACE=enable=no
# Leaks are looked for by nobody: Swift's own metadata looks like them.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 TSAN_OPTIONS=halt_on_error=0:exitcode=66:suppressions=$PWD/Tests/sanitizers_suppressed.txt
for sanitizer in "${sanitizers[@]}"; do
  options=(--sanitize "$sanitizer" --scratch-path ".build/$sanitizer")
  if [ "$which" = quick ]; then
    case $sanitizer in
      # A minute and a half of the two, for what an answer is to be, not for memory.
      address)
        export SLOWFAST_TESTS=SupportTests,ParallelTests,GrammarTests,TokenizerTests,SafetensorsTests,ModelFileTests
        skip+=(--skip largeSchemas --skip everyAnswerMeetsItsSchema --skip everyValueCanBeSaid)
        ;;
      thread) export SLOWFAST_TESTS=SupportTests,ParallelTests,ModelFileTests ;;
    esac
    options+=(--disable-default-traits)
  fi
  echo "$sanitizer sanitizer"
  swift build "${options[@]}" --product slowfastPackageTests
  swift test "${options[@]}" --skip-build "${skip[@]}"
done
