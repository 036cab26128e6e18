# Two commands do everything on a fresh Debian 12 (or newer) machine with Swift 6.2 or newer:
#   make demo   installs what is missing, builds, converts the embedded checkpoint and asks it about an embedded clip
#   make test   installs what is missing, builds, and runs all tests
# And more:
#   make lint         the code's format, and the rules of its layout (Tests/check_imports.py)
#   make docs         the library's documentation as web pages, in docs-output/
#   make test-arm64   all tests on emulated 64-bit ARM, an hour (test-arm64-quick: kernels and golden files, some minutes); its
#                     toolchain (3 GB) goes to /var/cache/slowfast-arm64
#   make torture      kills it and starves it of its disk at hundreds of moments: is anything lost? Half an hour or more (torture-quick: a minute or two)
#   make fuzz         readers of outside bytes under libFuzzer and AddressSanitizer, ten seconds each (FUZZ_SECONDS=3600, FUZZ=clip)
#   make test-sanitizers   the tests under AddressSanitizer, then under ThreadSanitizer; test-sanitizers-quick: those of a few modules
#   make deb          Debian packages for amd64 and arm64, in deb/ (one of them: make deb-amd64, or deb-arm64); make test-deb
#                     installs and tries them on clean systems
SHELL := /bin/bash
PACKAGES := libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libzstd-dev libxxhash-dev libcurl4-openssl-dev pkg-config
TEST_PACKAGES := strace
PYTHON_PACKAGES := numpy zstandard xxhash tokenizers
BUILD := .build/release
VENV := .build/venv
HAS_PYTHON := $(VENV)/bin/python3 -c 'import $(shell echo $(PYTHON_PACKAGES) | sed "s/ /, /g")' 2>/dev/null
ARCHITECTURE := $(shell dpkg --print-architecture 2>/dev/null)
export SLOWFAST_PYTHON := $(CURDIR)/$(VENV)/bin/python3

.PHONY: all build demo test test-server test-integrations test-without-server lint docs test-arm64 test-arm64-quick test-arm64-system test-downloads torture torture-quick fuzz test-sanitizers test-sanitizers-quick deb deb-amd64 deb-arm64 test-deb swift packages test-packages clean format

all: build

swift:
	@packaging/require.sh swift

# Asks the package manager only where something is missing.
packages: swift
	@packaging/require.sh packages $(PACKAGES)

# What only some tests need does not keep the others from running.
test-packages: packages
	@packaging/require.sh packages $(TEST_PACKAGES) || echo "left out: the tests that need $(TEST_PACKAGES)"
	@$(HAS_PYTHON) || { { python3 -m venv --clear $(VENV) >/dev/null 2>&1 || { packaging/require.sh packages python3-venv && \
	  python3 -m venv --clear $(VENV); }; } && $(VENV)/bin/pip install -q $(PYTHON_PACKAGES); } || true

build: packages
	swift build -c release

demo: build
	@benchmarks/demo.sh $(BUILD)/slowfast

# Release, because kernels are only as good as their optimised form; the tests use no @testable import.
test: test-packages
	swift build -c release --build-tests
	swift test -c release --skip-build
	@Tests/check_kernel_objects.sh $(BUILD)
	@$(HAS_PYTHON) || echo "left out: the tests that need Python with $(PYTHON_PACKAGES) (pip could not install them)"

# The server with real clients, its document and its page in a browser; what cannot be installed is said, and passes.
test-server: build
	@Tests/server/test.sh $(BUILD)/slowfast

# Other people's programs around this one, as integrations/ has them; what cannot be installed is said, and passes.
test-integrations: build
	integrations/lmms-eval/run.sh $(BUILD)/slowfast --questions 12
	integrations/ray/run.sh $(BUILD)/slowfast

# What the tests of the server, of integrations and of ARM bring from elsewhere: where it cannot be had they say so, and pass.
test-downloads: test-packages
	@for script in Tests/server/test.sh integrations/lmms-eval/run.sh integrations/ray/run.sh; do $$script install; done
	@[ "$$(uname -m)" != x86_64 ] || timeout $${ARM64_SETUP_SECONDS:-1800} Tests/arm64/toolchain.sh setup

# Converter and runtime alone.
test-without-server: packages
	swift build --disable-default-traits --scratch-path .build/alone
	@test ! -e .build/alone/debug/Hummingbird.build && ! .build/alone/debug/slowfast help serve 2>/dev/null

# FUZZ names targets, FUZZ_SECONDS how long each is run.
FUZZ_SECONDS ?= 10
fuzz: packages
	SLOWFAST_FUZZ=1 swift build -c release --disable-default-traits --product fuzz --scratch-path .build/fuzz
	Fuzzing/run.sh .build/fuzz/release/fuzz $(FUZZ_SECONDS) $(FUZZ)

test-sanitizers test-sanitizers-quick: packages
	@Tests/sanitizers.sh $(if $(findstring quick,$@),quick,all)

test-arm64 test-arm64-quick: build
	@Tests/arm64/test.sh $(if $(findstring quick,$@),quick,all)

# Decoders behind bars, on a whole ARM machine that is emulated; not part of CI.
test-arm64-system: packages
	@Tests/arm64/system.sh

torture: build
	Tests/torture/torture.py $(BUILD)/slowfast
	Tests/torture/torture.py $(BUILD)/slowfast --plain --kills 0 --pairs 0
	Tests/torture/device.py $(BUILD)/slowfast

torture-quick: build
	Tests/torture/torture.py $(BUILD)/slowfast --kills 0 --pairs 0 --steps 4 --faults 1

# Packages for this machine's Debian, and for the suite of the ARM toolchain; ARCH=amd64 or ARCH=arm64 makes one of them.
deb: $(addprefix deb-,$(or $(ARCH),$(sort $(ARCHITECTURE) arm64)))

deb-amd64 deb-arm64: deb-%: packages
	packaging/deb.sh $* deb

test-deb:
	packaging/test.sh deb/*_amd64.deb "$$(. /etc/os-release && echo $$VERSION_CODENAME)"
	packaging/test.sh deb/*_arm64.deb "$$(Tests/arm64/toolchain.sh suite)"

# Nothing is built for it.
lint: swift
	swift format lint --strict --recursive --parallel Sources Tests Examples Fuzzing Package.swift
	python3 Tests/test_check_imports.py
	Tests/check_imports.py

docs: build
	packaging/docs.sh docs-output

format:
	swift format --in-place --recursive Sources Tests Examples Fuzzing Package.swift

clean:
	rm -rf .build demo-output docs-output deb
