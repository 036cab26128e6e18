#!/usr/bin/env bash
# Decoders behind bars on a whole 64-bit ARM machine, emulated, with Debian's kernel: a filter of system calls and Landlock, which user-mode
# emulation has not. system.sh builds the tests with the toolchain; needs root, or sudo, and qemu-system-arm, cpio and e2fsprogs.
# Environment: ARM64_CPU (neoverse-n1; max takes much longer), ARM64_WORK (a folder in which the system is kept for the next time).
set -euo pipefail
cd "$(dirname "$0")/../.."
package=$PWD
toolchain=Tests/arm64/toolchain.sh
packaging/require.sh packages qemu-system-arm cpio e2fsprogs binutils
$toolchain setup
home=${SLOWFAST_ARM64:-${XDG_CACHE_HOME:-/var/cache}/slowfast-arm64}/$($toolchain suite)
sysroot=$home/sysroot
swift=usr/libexec/swift/lib/swift/linux
work=${ARM64_WORK:-$(mktemp -d)}
[ -n "${ARM64_WORK:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
guest=$work/guest root=$work/root start=$work/start

# Only what is run is compiled.
export SLOWFAST_TESTS=VideoTests,CommandTests
$toolchain build -c release --build-tests --jobs "$(nproc)"
built=$($toolchain build -c release --show-bin-path 2>/dev/null | tail -1)

# A system that is unpacked, not installed: nothing in it is executed here.
if [ ! -e "$work/guest.done" ]; then
  rm -rf "$guest"
  mmdebstrap -q --variant=extract --architectures=arm64 --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --include=linux-image-cloud-arm64,busybox-static,bash,dash,coreutils,findutils,grep,sed,diffutils,python3-minimal,libpython3-stdlib,strace,tzdata \
    "$($toolchain suite)" "$guest" "$($toolchain mirror)"
  touch "$work/guest.done"
fi

# What programs link with, and what that links with.
libraries() {
  local file name todo=("$@")
  declare -A seen=()
  while [ ${#todo[@]} -gt 0 ]; do
    file=${todo[-1]}
    unset 'todo[-1]'
    while read -r name; do
      [ -z "${seen[$name]:-}" ] || continue
      seen[$name]=1
      for found in "$sysroot/$swift/$name" "$sysroot/usr/lib/aarch64-linux-gnu/$name"; do
        if [ -e "$found" ]; then todo+=("$found"); echo "$found"; break; fi
      done
    done < <(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  done
}

# What the machine starts from: a disk, and what mounts it.
rm -rf "$root" "$start" "$work/disk"
mkdir -p "$root" "$start/bin" "$start/root"
tar -C "$guest" -c --exclude=./usr/lib/modules --exclude=./var --exclude=./usr/lib/udev --exclude=./usr/lib/systemd \
  --exclude=./usr/lib/dracut --exclude='./dev/*' . | tar -C "$root" -x
mapfile -t found < <(libraries "$built/slowfast" "$built"/*.xctest)
cp -L "${found[@]}" "$root/usr/lib/aarch64-linux-gnu/"
mkdir -p "$root/built" "$root$package"
cp -r "$built/slowfast" "$built"/*.xctest "$built"/*.resources "$root/built"
cp -r "$package/Tests" "$root$package/Tests"
[ ! -d "$package/benchmarks/demo" ] || { mkdir "$root$package/benchmarks" && cp -r "$package/benchmarks/demo" "$root$package/benchmarks/"; }
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/usr/bin:/usr/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /run /tmp /var/tmp
$bb mount -t devtmpfs dev /dev 2>/dev/null
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
exec >/dev/console 2>&1 </dev/null
$bb mkdir -p /dev/shm /dev/pts
$bb mount -t devpts pts /dev/pts
for place in /dev/shm /tmp /run; do $bb mount -t tmpfs -o mode=1777 tmpfs $place; done
$bb mount -t securityfs security /sys/kernel/security
$bb ln -sf /proc/self/fd /dev/fd
$bb ip link set lo up
echo 0 >/proc/sys/kernel/printk_ratelimit
$bb hostname arm64
cd /built
bash /checks
echo "[system] status $?"
$bb dmesg | $bb grep -E 'type=1326' | $bb sed 's/^/[system] refused: /'
$bb poweroff -f
INIT
chmod +x "$root/init"
mke2fs -q -t ext4 -d "$root" "$work/disk" 2G
rm -rf "$root"
cp "$guest/usr/bin/busybox" "$start/bin/"
xz -dc "$guest"/usr/lib/modules/*/kernel/drivers/block/virtio_blk.ko.xz >"$start/virtio_blk.ko"
cat >"$start/init" <<'INIT'
#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /dev
$bb mount -t devtmpfs dev /dev
$bb insmod /virtio_blk.ko
while ! $bb test -b /dev/vda; do $bb sleep 0.1; done
$bb mount -t ext4 /dev/vda /root
$bb cp /checks /root/checks
exec $bb switch_root /root /init
INIT
chmod +x "$start/init"
cat >"$start/checks" <<'CHECKS'
set -uo pipefail
failed=0
tests() { ./*.xctest --testing-library swift-testing --no-parallel "$@" 2>&1 | sed '/ started\.$/d' || failed=1; }
echo "[system] $(uname -r), security modules: $(cat /sys/kernel/security/lsm)"
grep -q landlock /sys/kernel/security/lsm || failed=1
./slowfast --version || failed=1
clip=$(find / -xdev -path "*/Tests/Clips/nasa.mp4" | head -1)
strace -f -qq -o /tmp/calls ./slowfast frames "$clip" -n 2 >/dev/null || failed=1
# Unless another thread's call stands between.
grep -qE 'landlock_restrict_self.*= 0$' /tmp/calls || { echo "Landlock does not hold a decoder"; failed=1; }
export SLOWFAST_TEST_SLOWNESS=20
tests --filter 'VideoTests\.(Isolation|HostileDecoder)Tests'
tests --filter 'CommandTests\.(Server)?IsolationTests'
# What was ended for a call, which only those are that ask for a socket in order to be.
if busybox dmesg | grep type=1326 | grep -v 'syscall=198 '; then failed=1; fi
exit $failed
CHECKS
(cd "$start" && find . | cpio --quiet -o -H newc -R 0:0) >"$work/initrd"
timeout 3000 qemu-system-aarch64 -M virt -cpu "${ARM64_CPU:-neoverse-n1}" -smp 2 -m 4G -nographic \
  -drive "file=$work/disk,format=raw,if=virtio,snapshot=on" -nic none -no-reboot -kernel "$guest"/usr/lib/modules/*/vmlinuz -initrd "$work/initrd" \
  -append "console=ttyAMA0 panic=-1 quiet audit=1 audit_backlog_limit=8192 log_buf_len=4M" </dev/null | sed -u 's,\r,,' | tee "$work/log"
grep -q '^\[system\] status 0$' "$work/log"
