# Two commands do everything on a fresh Debian 12 (or newer) machine with Swift 6.2 or newer:
#   make demo   installs what is missing, builds, converts the embedded checkpoint and asks it about an embedded clip
#   make test   installs what is missing, builds, and runs all tests
# And more:
#   make test-arm64   all tests on emulated 64-bit ARM, an hour (test-arm64-quick: kernels and golden files, some minutes); its
#                     toolchain (3 GB) goes to /var/cache/slowfast-arm64
#   make deb          Debian packages for amd64 and arm64, in deb/; make test-deb installs and tries them on clean systems
SHELL := /bin/bash
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PACKAGES := libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libzstd-dev libxxhash-dev pkg-config
TEST_PACKAGES := python3-venv strace
PYTHON_PACKAGES := numpy zstandard xxhash tokenizers
BUILD := .build/release
VENV := .build/venv
export SLOWFAST_PYTHON := $(CURDIR)/$(VENV)/bin/python3

.PHONY: all build demo test test-arm64 test-arm64-quick deb test-deb packages test-packages clean format

all: build

# Asks the package manager only where something is missing.
packages:
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing $$missing"; $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

test-packages: packages
	@missing=$$(for p in $(TEST_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if ! [ -x $(VENV)/bin/python3 ]; then \
	  python3 -m venv $(VENV) 2>/dev/null || { $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq $$missing >/dev/null; python3 -m venv --clear $(VENV); }; fi
	@$(VENV)/bin/python3 -c 'import $(shell echo $(PYTHON_PACKAGES) | sed "s/ /, /g")' 2>/dev/null || $(VENV)/bin/pip install -q $(PYTHON_PACKAGES)

build: packages
	swift build -c release

demo: build
	@benchmarks/demo.sh $(BUILD)/slowfast

# Release, because kernels are only as good as their optimised form; the tests use no @testable import.
test: test-packages
	swift build -c release --build-tests
	swift test -c release --skip-build
	@Tests/check_kernel_objects.sh $(BUILD)

test-arm64 test-arm64-quick: build
	@Tests/arm64/test.sh $(if $(findstring quick,$@),quick,all)

# Packages for this machine's Debian, and for the suite of the ARM toolchain.
deb: packages
	packaging/deb.sh "$$(dpkg --print-architecture)" deb
	[ "$$(dpkg --print-architecture)" = arm64 ] || packaging/deb.sh arm64 deb

test-deb:
	packaging/test.sh deb/*_amd64.deb "$$(. /etc/os-release && echo $$VERSION_CODENAME)"
	packaging/test.sh deb/*_arm64.deb "$$(Tests/arm64/toolchain.sh suite)"

format:
	swift format --in-place --recursive Sources Tests Package.swift

clean:
	rm -rf .build demo-output deb
