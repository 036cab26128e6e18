#!/usr/bin/env bash
# The server under requests that break off, and with real clients: test.sh SLOWFAST. Installs what they are where that can be done; where not,
# it says so and passes.
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.."
benchmarks/server_stress.py "$program" --requests 200
venv=.build/server-venv
packages=(openai litellm schemathesis playwright jsonschema pyyaml)
skip() {
  echo "left out: the server's tests with real clients: $1" >&2
  exit 0
}
packaging/require.sh packages chromium || skip "chromium cannot be installed"
"$venv/bin/python3" -c 'import openai, litellm, schemathesis, playwright, jsonschema, yaml' 2>/dev/null || {
  python3 -m venv --clear "$venv" && "$venv/bin/pip" install -q "${packages[@]}" || skip "pip cannot install ${packages[*]}"
}
exec "$venv/bin/python3" Tests/server/clients.py "$program" ${SERVER_PICTURES:+"$SERVER_PICTURES"}
