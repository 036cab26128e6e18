#!/usr/bin/env bash
# Kernel modules as they must be: see Sources/KernelSources/README.md.
#
# Every link to shared sources leads to a folder with sources.
#
# Code of a higher instruction set must not be what the linker picks for everyone: the objects of the kernel modules define no weak
# functions but the module's own, whose names no other module has, so nothing in them can stand in for the same function elsewhere.
set -euo pipefail
build=$(realpath "${1:?usage: check_kernel_objects.sh BUILD_FOLDER}")
failed=0
checked=0
cd "$(dirname "$0")/.."
while read -r link; do
  if ! compgen -G "$link/*.swift" >/dev/null; then
    echo "$link leads to no sources" >&2
    failed=1
  fi
done < <(find Sources/Kernels* -type l)
for module in KernelsAVX2 KernelsAVXVNNI KernelsAVX512VL KernelsAVX512 KernelsAMX KernelsDotProd KernelsI8MM; do
  for object in "$build/$module.build"/*.o; do
    [ -e "$object" ] || continue
    checked=$((checked + 1))
    weak=$(nm "$object" | awk -v own="\$s${#module}$module" '$2 == "W" && index($3, own) != 1 {print $3}')
    if [ -n "$weak" ]; then
      echo "$object defines weak functions:" "$weak" >&2
      failed=1
    fi
  done
done
[ "$checked" -gt 0 ] || { echo "no kernel objects in $build" >&2; exit 1; }
exit $failed
