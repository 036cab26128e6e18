#!/usr/bin/env bash
# The server under requests that break off, under attack, with real senders of streams, and with real clients: test.sh SLOWFAST. Installs
# what they are where that can be done; where not, it says so and passes. `test.sh install` does nothing else.
set -euo pipefail
[ "$1" = install ] || program=$(realpath "$1")
cd "$(dirname "$0")/../.."
venv=.build/server-venv
packages=(openai litellm schemathesis playwright jsonschema pyyaml)
senders=(ffmpeg gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good gstreamer1.0-plugins-bad)
without=
if ! packaging/require.sh packages chromium; then
  without="chromium cannot be installed"
elif ! "$venv/bin/python3" -c 'import openai, litellm, schemathesis, playwright, jsonschema, yaml' 2>/dev/null; then
  python3 -m venv --clear "$venv" && "$venv/bin/pip" install -q "${packages[@]}" || without="pip cannot install ${packages[*]}"
fi
has_senders=yes
packaging/require.sh packages "${senders[@]}" || command -v ffmpeg >/dev/null || has_senders=
[ "$1" != install ] || exit 0
python=python3
[ -n "$without" ] || python=$venv/bin/python3
benchmarks/server_stress.py "$program" --requests 200
Tests/server/attack.py "$program" --short
if [ -n "$has_senders" ]; then
  "$python" Tests/server/streams.py "$program" ${SERVER_PICTURES:+"$SERVER_PICTURES"}
else
  echo "left out: streams of real senders: ${senders[*]} cannot be installed" >&2
fi
if [ -n "$without" ]; then
  echo "left out: the server's tests with real clients: $without" >&2
  exit 0
fi
exec "$python" Tests/server/clients.py "$program" ${SERVER_PICTURES:+"$SERVER_PICTURES"}
