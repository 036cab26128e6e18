"""How a worker times what it runs, and the one line of JSON that it ends with."""

from __future__ import annotations

import json
import time
from typing import Callable


def time_runs(body: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of `repeats` runs, after one that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        body()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def report(seconds: list[float], units: int, products: int | None = None, bytes_read: int | None = None, note: str = "") -> None:
    """`units`, `products` (multiply-adds) and `bytes_read` are those of one run."""
    print(json.dumps({"seconds": seconds, "units": units, "products": products, "bytes": bytes_read, "note": note}), flush=True)
