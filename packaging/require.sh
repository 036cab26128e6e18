#!/usr/bin/env bash
# What building needs:
#   require.sh swift                fails where Swift is missing or too old, and says where it comes from
#   require.sh packages PACKAGE...  installs those of these Debian packages that are missing; where it may not, says what to install
set -euo pipefail
least=6.2
# What Swift needs by itself, as its makers install it on Debian.
swift_packages=(binutils git gcc g++ libcurl4-openssl-dev libedit-dev libncurses-dev libpython3-dev libsqlite3-dev libxml2-dev pkg-config tzdata uuid-dev)

case ${1:-} in
  swift)
    found=$(swift --version 2>/dev/null | grep -o 'Swift version [0-9.]*' | head -1 | cut -d' ' -f3) || true
    if [ -n "$found" ] && printf '%s\n' "$least" "$found" | sort -VC; then exit 0; fi
    {
      echo "error: Swift $least or newer is needed, found ${found:-none on PATH}. It comes from"
      echo "  https://www.swift.org/install/linux/"
      echo "and itself needs, on Debian:"
      echo "  apt-get install ${swift_packages[*]}"
    } >&2
    exit 1
    ;;
  packages)
    shift
    missing=()
    for package in "$@"; do
      # A package that was removed and left its settings is known to dpkg too.
      dpkg -s "$package" 2>/dev/null | grep -q '^Status: .* installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || exit 0
    line="apt-get update && apt-get install ${missing[*]}"
    as_root() { "$@"; }
    if [ "$(id -u)" != 0 ]; then
      if ! command -v sudo >/dev/null; then
        echo "error: missing ${missing[*]}; without root or sudo they cannot be installed here. As root: $line" >&2
        exit 1
      fi
      as_root() { sudo "$@"; }
    fi
    echo "installing ${missing[*]}"
    if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
    then
      echo "error: cannot install ${missing[*]}. As root: $line" >&2
      exit 1
    fi
    ;;
  *)
    echo "usage: require.sh swift | packages PACKAGE..." >&2
    exit 2
    ;;
esac
