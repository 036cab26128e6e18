#!/usr/bin/env bash
# A cross toolchain for 64-bit ARM on an x86-64 Debian machine, and an emulator to run what it makes. Needs root, or sudo.
#
#   toolchain.sh setup                    installs it: about 3 GB, some minutes; nothing where it is there already
#   toolchain.sh build [swift build ...]  builds this package for aarch64 (Debian's Swift, at the machine's own speed)
#   toolchain.sh probe                    fails where the machine does not allow what building needs
#   toolchain.sh suite|mirror|emulator    what it was made of, from where; the emulator's program
#   toolchain.sh emulate CPU FILE [...]   runs an aarch64 program as a processor of that model (cortex-a72, neoverse-n1, max, ...);
#                                         FILE.arm64 with the script FILE in its place when it starts itself once more
#
# How: a chroot of Debian holds its Swift compiler and qemu. The same version of the same Debian package for arm64 has the standard library,
# Foundation and the testing libraries as modules that this compiler reads; a Swift SDK joins them with an arm64 sysroot. Nothing outside the
# cache folder changes. Environment: SLOWFAST_ARM64 (the folder), SLOWFAST_ARM64_SUITE (sid), SLOWFAST_ARM64_MIRROR (the machine's own),
# SLOWFAST_ARM64_FLAVOR (a build folder apart, for other options).
set -euo pipefail
package=$(cd "$(dirname "$0")/../.." && pwd)
home=${SLOWFAST_ARM64:-${XDG_CACHE_HOME:-/var/cache}/slowfast-arm64}
suite=${SLOWFAST_ARM64_SUITE:-sid}
gcc=${SLOWFAST_ARM64_GCC:-15}
libraries=libzstd-dev,libxxhash-dev,libcurl4-openssl-dev,libavcodec-dev,libavformat-dev,libavutil-dev,libswscale-dev,libswresample-dev,zlib1g-dev,libedit2
triple=aarch64-unknown-linux-gnu
sdk=slowfast-arm64
folder=$home/$suite
host=$folder/host
sysroot=$folder/sysroot
# Made anew for other libraries.
sysroot_done=$folder/sysroot-$(md5sum <<<"$libraries" | cut -c1-8).done
shim=$package/Tests/arm64/spawn_self.c
# Where the system is installed again it is gone with it.
shim_done=$sysroot/shim-$(md5sum <"$shim" | cut -c1-8).done
scratch=$folder/scratch-$(md5sum <<<"$package" | cut -c1-8)${SLOWFAST_ARM64_FLAVOR:+-$SLOWFAST_ARM64_FLAVOR}
swift=usr/libexec/swift/lib
# Old suites' release files are past their dates on frozen mirrors; documentation would be a fifth of all files.
options=(--aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*')

say() { echo "[arm64] $*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -E "$@"; fi; }
mirror() { echo "${SLOWFAST_ARM64_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 '/debian/*$' | sed 's#/*$##')}"; }

# Runs a command in the chroot, in the package's folder. Mounts are private to it and vanish with it.
in_chroot() {
  local rewritten
  rewritten=$(git config --get-regexp '^url\.' 2>/dev/null | sed -nE 's#^url\.(file://)?(/[^ ]*)\.insteadof .*#\2#p' | sort -u)
  FOLDER=$folder HOST=$host PACKAGE=$package REWRITTEN=$rewritten as_root unshare --mount --propagation private bash -euc '
    mount -t proc proc "$HOST/proc"
    mount --rbind /dev "$HOST/dev"
    for bound in "$FOLDER" "$PACKAGE" $REWRITTEN; do
      [ -d "$bound" ] || continue
      mkdir -p "$HOST$bound"
      mount --bind "$bound" "$HOST$bound"
    done
    [ ! -e /etc/resolv.conf ] || { touch "$HOST/etc/resolv.conf"; mount --bind "$(realpath /etc/resolv.conf)" "$HOST/etc/resolv.conf"; }
    exec chroot "$HOST" env -i HOME=/root PATH=/usr/libexec/swift/bin:/usr/bin:/bin LANG=C.UTF-8 ARM64_CROSS=1 \
      ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} ${SLOWFAST_TESTS:+SLOWFAST_TESTS="$SLOWFAST_TESTS"} \
      bash -c "cd \"\$0\" && exec \"\$@\"" "$PACKAGE" "$@"' bash "$@"
}

install_debootstrap() {
  command -v mmdebstrap >/dev/null && return
  say "installing mmdebstrap"
  apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
}

install_host() {
  [ ! -e "$folder/host.done" ] || return 0
  say "amd64 $suite with Swift and qemu (0.8 GB to fetch)"
  rm -rf --one-file-system "$host"
  mmdebstrap -q --variant=apt "${options[@]}" \
    --include=ca-certificates,git,pkgconf,swiftlang,libc6-dev,libstdc++-$gcc-dev,libgcc-$gcc-dev,qemu-user "$suite" "$host" "$(mirror)"
  # What building does not need.
  (cd "$host/usr/libexec/swift" && rm -rf bin/lldb* bin/sourcekit-lsp bin/clangd bin/docc bin/wasm* bin/repl_swift lib/liblldb* \
    lib/libsourcekitdInProc* lib/swift_static share/docc lib/swift/embedded lib/swift/FrameworkABIBaseline)
  rm -rf "$host"/var/cache/apt/archives/*.deb
  touch "$folder/host.done"
}

install_sysroot() {
  [ ! -e "$sysroot_done" ] || return 0
  say "arm64 $suite: libraries to link with (nothing in it is executed)"
  rm -rf --one-file-system "$sysroot"
  mmdebstrap -q --variant=extract --architectures=arm64 "${options[@]}" \
    --include="libc6-dev,libstdc++-$gcc-dev,libgcc-$gcc-dev,linux-libc-dev,libswiftlang,$libraries" "$suite" "$sysroot" "$(mirror)"
  [ -e "$sysroot/lib" ] || ln -s usr/lib "$sysroot/lib"
  # The compiler's package itself, of which only the libraries are unpacked.
  local version file
  version=$(awk '/^Package: swiftlang$/{p=1} p&&/^Version:/{print $2; exit}' "$host/var/lib/dpkg/status")
  file=$(curl -fsS "$(mirror)/dists/$suite/main/binary-arm64/Packages.xz" | xz -dc |
    awk -v RS= -v version="$version" '/^Package: swiftlang\n/ && index($0, "Version: " version "\n")' | sed -n 's/^Filename: //p')
  [ -n "$file" ] || { say "$suite has no swiftlang $version for arm64, which amd64 has: their versions must be equal"; return 1; }
  curl -fsS "$(mirror)/$file" -o "$folder/swiftlang.deb"
  dpkg-deb --fsys-tarfile "$folder/swiftlang.deb" | tar -x -C "$sysroot" --wildcards "./$swift/swift/*" "./$swift/swift_static/*" \
    "./$swift/clang/*" --exclude="./$swift/swift/embedded/*" --exclude="./$swift/swift_static/embedded/*" --exclude="./$swift/swift/host/*"
  rm "$folder/swiftlang.deb"
  # Debian leaves out the library of this overlay: with its module there, tests that import Foundation and Testing would not link.
  rm -rf "$sysroot/$swift"/swift/linux/Testing.swiftcrossimport "$sysroot/$swift"/swift/linux/_Testing_Foundation.swiftmodule
  # Where the compiler looks for what it links first.
  ln -sfn ../libexec/swift/lib/swift "$sysroot/usr/lib/swift"
  ln -sfn ../libexec/swift/lib/swift_static "$sysroot/usr/lib/swift_static"
  touch "$sysroot_done"
}

# What emulated programs have in place of the machine's own.
install_shim() {
  [ ! -e "$shim_done" ] || return 0
  # Devices without drivers: the machine's are meant.
  rm -rf "$sysroot/dev"
  in_chroot clang --target="$triple" --sysroot="$sysroot" -O -Wall -fuse-ld=lld -shared -fPIC "$shim" -o "$sysroot/spawn_self.so"
  touch "$shim_done"
}

write_sdk() {
  local bundle=$folder/sdks/$sdk.artifactbundle
  mkdir -p "$bundle/arm64"
  cat >"$bundle/info.json" <<JSON
{"schemaVersion": "1.0", "artifacts": {"$sdk": {"type": "swiftSDK", "version": "1.0.0", "variants": [{"path": "arm64"}]}}}
JSON
  cat >"$bundle/arm64/swift-sdk.json" <<JSON
{"schemaVersion": "4.0", "targetTriples": {"$triple": {
  "sdkRootPath": "$sysroot", "toolsetPaths": ["toolset.json"],
  "swiftResourcesPath": "$sysroot/$swift/swift", "swiftStaticResourcesPath": "$sysroot/$swift/swift_static"}}}
JSON
  cat >"$bundle/arm64/toolset.json" <<JSON
{"schemaVersion": "1.0", "rootPath": "/usr/libexec/swift/bin",
 "swiftCompiler": {"extraCLIOptions": ["-use-ld=lld"]}, "linker": {"path": "ld.lld"}}
JSON
  # Packages come from where they come from outside.
  { printf '[safe]\n\tdirectory = *\n'; git config --get-regexp '^url\.' 2>/dev/null |
    sed -E 's/^url\.(.*)\.insteadof (.*)$/[url "\1"]\n\tinsteadOf = \2/'; } >"$host/etc/gitconfig"
}

command=${1:-help}
shift || true
case $command in
  setup)
    if [ -e "$folder/host.done" ] && [ -e "$sysroot_done" ] && [ -e "$shim_done" ]; then exit 0; fi
    as_root "$0" install
    ;;
  install)
    mkdir -p "$folder"
    install_debootstrap
    install_host
    install_sysroot
    install_shim
    write_sdk
    say "ready: $(du -sh --one-file-system "$folder" | cut -f1) in $folder"
    ;;
  build)
    in_chroot swift build --swift-sdk "$sdk" --swift-sdks-path "$folder/sdks" --scratch-path "$scratch" "$@"
    ;;
  probe) in_chroot true ;;
  suite) echo "$suite" ;;
  mirror) mirror ;;
  emulator) echo "$host/usr/bin/qemu-aarch64" ;;
  emulate)
    model=$1
    shift
    preload=()
    case $1 in *.arm64) preload=(-E LD_PRELOAD="$sysroot/spawn_self.so") ;; esac
    exec "$host/usr/bin/qemu-aarch64" -cpu "$model" -L "$sysroot" -E LD_LIBRARY_PATH="$sysroot/$swift/swift/linux" "${preload[@]}" "$@"
    ;;
  *) sed -n '2,15p' "$0" ;;
esac
