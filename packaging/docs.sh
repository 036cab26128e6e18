#!/usr/bin/env bash
# The library's documentation as a folder of web pages: docs.sh FOLDER [BUILT]. Needs what `make build` leaves, or another build in BUILT. A
# warning, or a public symbol without a comment, is an error.
set -euo pipefail
folder=${1:?usage: docs.sh FOLDER [BUILT]}
cd "$(dirname "$0")/.."
built=${2:-$(swift build -c release --show-bin-path)}
tools=$(dirname "$(readlink -f "$(command -v swift)")")
graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
arguments=()
for map in Sources/*/module.modulemap; do arguments+=(-Xcc "-fmodule-map-file=$PWD/$map"); done
# What the library shows of the modules below it.
shown=$(sed -n 's/.*@_exported import [a-z]* *\([A-Z][A-Za-z]*\)\..*/\1/p; s/.*@_exported import \([A-Z][A-Za-z]*\)$/\1/p' Sources/SlowFast/*.swift | sort -u | paste -sd,)
"$tools/swift-symbolgraph-extract" -module-name SlowFast -I "$built/Modules" "${arguments[@]}" \
  -target "$(swift -print-target-info | sed -n 's/.*"triple": "\(.*\)".*/\1/p' | head -1)" \
  -minimum-access-level public -skip-synthesized-members -experimental-allowed-reexported-modules="$shown" -output-dir "$graphs"
python3 Tests/check_documented.py "$graphs"/*.symbols.json
rm -rf "$folder"
"$tools/docc" convert Sources/SlowFast/SlowFast.docc --additional-symbol-graph-dir "$graphs" --output-path "$folder" \
  --fallback-display-name SlowFast --fallback-bundle-identifier SlowFast --warnings-as-errors
echo "documentation: $folder/documentation/slowfast"
