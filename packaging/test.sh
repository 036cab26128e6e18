#!/usr/bin/env bash
# Installs a package on a clean minimal Debian, uses it there, and removes it: test.sh PACKAGE.deb SUITE. Nothing is left. arm64 is unpacked
# beside all that apt finds it to depend on, and emulated. Needs root, or sudo.
set -euo pipefail
package=$(realpath "${1:?usage: test.sh PACKAGE.deb SUITE}")
suite=${2:?usage: test.sh PACKAGE.deb SUITE}
cd "$(dirname "$0")/.."
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -E "$@"; fi; }
toolchain=$PWD/Tests/arm64/toolchain.sh
mirror=$($toolchain mirror)
command -v mmdebstrap >/dev/null || as_root apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
work=$(mktemp -d)
trap 'as_root rm -rf "$work"' EXIT
chmod 755 "$work"

# use.sh RUN FILES OUT: the program, used. FILES is the folder of the demonstration model, whose first question has a known answer.
cat >"$work/use.sh" <<'SH'
set -eu
run=$1 files=$2 out=$3
{ read -r clip; IFS='	' read -r question truth; } <"$files/examples/demo.tsv"
set -x
$run --version
$run convert "$files/checkpoint" "$out/model.sfq"
$run inspect "$out/model.sfq" | head -12
$run verify "$out/model.sfq"
$run run "$out/model.sfq" "$files/examples/$clip" --greedy --slow-attention all -q "$question" >"$out/answer"
[ "$(cat "$out/answer")" = "$truth" ]
if $run run "$out/model.sfq" "$out/answer" -q "$question"; then exit 1; fi
SH
# Removed, the package leaves no file of its own.
cat >"$work/remove.sh" <<'SH'
set -eux
dpkg --verify slowfast
for file in man/man1/slowfast.1.gz doc/slowfast/copyright doc/slowfast/changelog.gz bash-completion/completions/slowfast \
  zsh/vendor-completions/_slowfast fish/vendor_completions.d/slowfast.fish; do [ -s /usr/share/$file ]; done
dpkg --purge slowfast
left=$(find / -xdev -name '*slowfast*' ! -path '/proc/*' ! -path '/tmp/*')
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
SH
options=(-q --aptopt='Acquire::Check-Valid-Until "false"')
case $package in
  *_amd64.deb)
    as_root mmdebstrap "${options[@]}" --variant=minbase \
      --customize-hook="copy-in '$package' benchmarks/demo '$work/use.sh' '$work/remove.sh' /tmp" \
      --customize-hook="chroot \"\$1\" apt-get install -y -qq --no-install-recommends /tmp/$(basename "$package")" \
      --customize-hook='chroot "$1" sh /tmp/use.sh slowfast /tmp/demo /tmp' \
      --customize-hook='chroot "$1" sh /tmp/remove.sh' \
      "$suite" /dev/null "$mirror"
    ;;
  *_arm64.deb)
    # What it depends on by name, with all that they need; then the package.
    depends=$(dpkg-deb -f "$package" Depends | sed 's/ *([^)]*)//g; s/, */,/g')
    as_root mmdebstrap "${options[@]}" --variant=extract --architectures=arm64 --include="$depends" "$suite" "$work/root" "$mirror"
    as_root dpkg-deb -x "$package" "$work/root"
    # Unpacked and not configured: without the links that base-files and update-alternatives make.
    [ -e "$work/root/lib" ] || as_root ln -s usr/lib "$work/root/lib"
    alternatives=$(find "$work/root/usr/lib" \( -name 'libblas.so.3' -o -name 'liblapack.so.3' \) -printf '%h:')
    printf '#!/bin/sh\nexec %s -L %s -E LD_LIBRARY_PATH=%s %s/usr/bin/slowfast "$@"\n' "$($toolchain emulator)" "$work/root" "$alternatives" "$work/root" >"$work/slowfast"
    chmod +x "$work/slowfast"
    sh "$work/use.sh" "$work/slowfast" benchmarks/demo "$work"
    ;;
esac
echo "$(basename "$package"): works on a clean $suite"
