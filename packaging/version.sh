#!/usr/bin/env bash
# Prints the one version: that of the library, the command, the packages, and of the program that a model file names.
set -euo pipefail
cd "$(dirname "$0")/.."
sed -n 's/.*current = "\([0-9]*\.[0-9]*\.[0-9]*\)".*/\1/p' Sources/*/SlowFastVersion.swift | grep .
