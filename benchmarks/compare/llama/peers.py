"""Lets the files here use those of benchmarks/peers."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(BENCHMARKS / "peers"), str(BENCHMARKS)]
