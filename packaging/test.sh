#!/usr/bin/env bash
# Installs a package on a clean minimal Debian, uses it there, and removes it: test.sh PACKAGE.deb SUITE. Then systemd is added, the system is
# booted in a container, and the service is tried (test_service.sh); where none can be booted this says so and passes. Nothing is left. arm64 is
# unpacked beside all that apt finds it to depend on, and emulated. Needs root, or sudo.
set -euo pipefail
package=$(realpath "${1:?usage: test.sh PACKAGE.deb SUITE}")
suite=${2:?usage: test.sh PACKAGE.deb SUITE}
cd "$(dirname "$0")/.."
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -E "$@"; fi; }
toolchain=$PWD/Tests/arm64/toolchain.sh
mirror=$($toolchain mirror)
command -v mmdebstrap >/dev/null || as_root apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
command -v systemd-nspawn >/dev/null || as_root apt-get install -y -qq --no-install-recommends systemd-container >/dev/null || true
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
left=$(find / -xdev -name '*slowfast*' ! -path '/proc/*' ! -path '/opt/*')
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
SH
options=(-q --aptopt='Acquire::Check-Valid-Until "false"')
case $package in
  *_amd64.deb)
    # The program on a system without systemd; then what the service needs.
    install='apt-get install -y -qq --no-install-recommends'
    name=$(basename "$package")
    as_root mmdebstrap "${options[@]}" --variant=minbase \
      --customize-hook="copy-in '$package' benchmarks/demo '$work/use.sh' '$work/remove.sh' packaging/test_service.sh /opt" \
      --customize-hook="chroot \"\$1\" $install /opt/$name" \
      --customize-hook='chroot "$1" sh /opt/use.sh slowfast /opt/demo /opt' \
      --customize-hook='chroot "$1" sh /opt/remove.sh' \
      --customize-hook="chroot \"\$1\" $install systemd curl /opt/$name" \
      "$suite" "$work/root" "$mirror"
    as_root tee "$work/root/etc/systemd/system/try.service" >/dev/null <<UNIT
[Unit]
Requires=multi-user.target
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/opt/log
StandardError=inherit
ExecStart=/opt/test_service.sh /opt/$name /opt/model.sfq /opt/demo
ExecStopPost=/bin/sh -c 'systemctl exit \$\$EXIT_STATUS'
UNIT
    status=0
    as_root timeout 600 systemd-nspawn --quiet --directory="$work/root" --register=no --keep-unit --private-network --console=pipe \
      --boot systemd.unit=try.service --show-status=false </dev/null >"$work/boot" 2>&1 || status=$?
    if [ -s "$work/root/opt/log" ]; then
      cat "$work/root/opt/log"
      [ $status = 0 ]
    else
      echo "left out: the service, for no system can be booted here: $(tail -1 "$work/boot")" >&2
    fi
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
