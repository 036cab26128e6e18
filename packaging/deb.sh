#!/usr/bin/env bash
# Builds a Debian package of the command: deb.sh amd64|arm64 FOLDER. The Swift runtime is linked in, so that what it depends on are Debian's
# own libraries, of this machine's release; arm64 is cross-built, for the release of the toolchain in Tests/arm64.
set -euo pipefail
architecture=${1:?usage: deb.sh amd64|arm64 FOLDER}
folder=${2:?usage: deb.sh amd64|arm64 FOLDER}
cd "$(dirname "$0")/.."
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
arguments=(-c release --static-swift-stdlib --product slowfast --jobs "$(nproc)" -Xlinker -s)

if [ "$architecture" = "$(dpkg --print-architecture)" ]; then
  arguments+=(--scratch-path .build/static)
  swift build "${arguments[@]}"
  built=$(swift build "${arguments[@]}" --show-bin-path)
  program() { "$built/slowfast" "$@"; }
  release=$(. /etc/os-release && echo "deb${VERSION_ID:-}")
elif [ "$architecture" = arm64 ]; then
  export SLOWFAST_ARM64_FLAVOR=static
  Tests/arm64/toolchain.sh setup
  Tests/arm64/toolchain.sh build "${arguments[@]}"
  built=$(Tests/arm64/toolchain.sh build "${arguments[@]}" --show-bin-path | tail -1)
  program() { Tests/arm64/toolchain.sh emulate max "$built/slowfast" "$@"; }
  release=$(Tests/arm64/toolchain.sh suite)
else
  echo "deb.sh: cannot build for $architecture on this machine" >&2
  exit 1
fi

# The packages of the libraries that a program names, each at least of the version whose symbols it uses.
dependencies() {
  local needed library symbols newest
  symbols=$(readelf --wide --version-info "$1")
  # version PREFIX: the newest version of these symbols.
  version() { grep -o "$1_[0-9.]*" <<<"$symbols" | sed "s/$1_//" | sort -Vu | tail -1; }
  for needed in $(readelf --wide -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    case $needed in
      libc.so.6) echo "libc6 (>= $(version GLIBC))" ;;
      libm.so.6 | ld-linux*) ;;
      libgcc_s.so.1) echo "libgcc-s1" ;;
      libstdc++.so.6)
        # Of the compiler that brought them.
        newest=$(version GLIBCXX | sed 's/3\.4\.//')
        echo "libstdc++6 (>= $((newest >= 34 ? 15 : newest >= 33 ? 14 : newest >= 31 ? 13 : newest >= 30 ? 12 : 11)))"
        ;;
      lib*.so.*)
        library=${needed%%.so.*}
        echo "$library${needed##*.so.}"
        ;;
      *) echo "deb.sh: no package is known for $needed" >&2; return 1 ;;
    esac
  done
}

version=$(packaging/version.sh)+$release
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
install -D -m 755 "$built/slowfast" "$tree/usr/bin/slowfast"
install -D -m 644 README.md CHANGELOG.md packaging/copyright -t "$tree/usr/share/doc/slowfast"
install -D -m 644 docs/*.md -t "$tree/usr/share/doc/slowfast/docs"
# The service: dpkg keeps what the user changes in /etc.
install -D -m 644 packaging/slowfast.service -t "$tree/usr/lib/systemd/system"
install -D -m 644 packaging/cameras.conf -t "$tree/usr/share/doc/slowfast/examples"
install -D -m 644 packaging/serve.yaml -t "$tree/etc/slowfast"
install -D -m 600 packaging/environment -t "$tree/etc/slowfast"
install -d "$tree/var/lib/slowfast"
install -D -m 755 packaging/postinst packaging/prerm packaging/postrm -t "$tree/DEBIAN"
printf '/etc/slowfast/%s\n' environment serve.yaml >"$tree/DEBIAN/conffiles"
maintainer=$(sed -n 's/^Maintainer: //p' packaging/control)
printf 'slowfast (%s) unstable; urgency=medium\n\n  * Version %s.\n\n -- %s  %s\n' "$version" "${version%+*}" "$maintainer" \
  "$(date -R -r CHANGELOG.md)" | gzip -9n >"$tree/usr/share/doc/slowfast/changelog.gz"
mkdir -p "$tree/usr/share/man/man1" "$tree/DEBIAN"
sed "s/@VERSION@/$version/" packaging/slowfast.1 | gzip -9n >"$tree/usr/share/man/man1/slowfast.1.gz"
# completion SHELL FILE: what lets the shell complete commands, options and file names.
completion() { program --generate-completion-script "$1" | install -D -m 644 /dev/stdin "$tree/usr/share/$2"; }
completion bash bash-completion/completions/slowfast
completion zsh zsh/vendor-completions/_slowfast
completion fish fish/vendor_completions.d/slowfast.fish
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
depends=$(dependencies "$tree/usr/bin/slowfast" | sort -u | paste -sd, | sed 's/,/, /g')
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@DEPENDS@/$depends/" \
  -e "s/@SIZE@/$(du -k -s --apparent-size "$tree/usr" | cut -f1)/" packaging/control >"$tree/DEBIAN/control"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$folder/slowfast_${version}_$architecture.deb"
