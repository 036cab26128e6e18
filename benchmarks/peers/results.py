"""What was measured: a journal that a later run continues, and the table made of it."""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One process of one contestant."""

    size: str
    workload: str
    contestant: str
    ours: bool
    round: int
    seconds: list[float] = field(default_factory=list)
    units: int = 1
    products: int | None = None
    bytes: int | None = None
    peak_bytes: int | None = None
    note: str = ""
    limits: dict[str, float] | None = None  # of the machine, where the process measured them
    error: str | None = None

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.size, self.workload, self.contestant, self.round


class Journal:
    """One JSON object a line; the last one with a key counts, a line that a crash cut short does not."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[tuple, Row] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    row = Row(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                self.rows[row.key] = row

    def has(self, key: tuple) -> bool:
        return key in self.rows and self.rows[key].error is None

    def add(self, row: Row) -> None:
        self.rows[row.key] = row
        cut = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with open(self.path, "a") as file:
            file.write(("\n" if cut else "") + json.dumps(asdict(row)) + "\n")
            file.flush()
            os.fsync(file.fileno())


def summary(journal: Journal, size: str, workloads: list[str], names: list[tuple[str, str]]) -> list[dict]:
    """For each workload its contestants in order, with medians over the rounds. `ratio` is time over that of ours in the same round; for the
    same number of multiply-adds, where a contestant runs fewer."""
    entries = []
    for workload in workloads:
        base: dict[int, float] = {}
        work: int | None = None
        for name in (name for where, name in names if where == workload):
            rows = [row for row in journal.rows.values() if (row.size, row.workload, row.contestant) == (size, workload, name)]
            good = sorted((row for row in rows if row.error is None), key=lambda row: row.round)
            entry = {"workload": workload, "contestant": name, "rounds": len(good)}
            entries.append(entry)
            if not good:
                entry["error"] = rows[0].error if rows else "not run"
                continue
            times = {row.round: statistics.median(row.seconds) for row in good}
            if good[0].ours and not base:
                base, work = times, good[0].products
            seconds, last = statistics.median(times.values()), good[-1]
            share = last.products / work if last.products and work else 1.0
            ratios = [time / share / base[number] for number, time in times.items() if number in base]
            entry |= {
                "seconds": seconds, "fastest": min(times.values()), "slowest": max(times.values()), "rate": last.units / seconds,
                "products": last.products and last.products / seconds / 1e9, "bytes": last.bytes and last.bytes / seconds / 1e9,
                "ratio": statistics.median(ratios) if ratios else None, "peak_bytes": max(row.peak_bytes or 0 for row in good),
                "note": last.note}
    return entries


def limits(journal: Journal, size: str) -> dict[str, list[float]]:
    """Everything that was measured of the machine beside the contestants."""
    found: dict[str, list[float]] = {}
    for row in journal.rows.values():
        if row.size == size and row.error is None:
            for name, value in (row.limits or {}).items():
                found.setdefault(name, []).append(value)
    return found


def table(entries: list[dict], machine: str, found: dict[str, list[float]]) -> str:
    """Markdown."""
    lines = [machine, ""]
    words = {"products": "int8 multiply-adds, GMAC/s", "float_products": "float multiply-adds, GMAC/s", "bytes": "reading memory, GB/s"}
    if found:
        lines += ["| limit of the machine, measured beside | median | least | most |", "|---|---|---|---|"]
        lines += [
            f"| {words.get(name, name)} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |"
            for name, values in found.items()]
    for workload in dict.fromkeys(entry["workload"] for entry in entries):
        unit = "frames/s" if workload == "tower" or "frames" in workload else "tokens/s"
        lines += ["", f"| {workload} | seconds | least–most | {unit} | GMAC/s | GB/s | × time of ours | peak, GiB | |", "|---" * 9 + "|"]
        for entry in (entry for entry in entries if entry["workload"] == workload):
            if "error" in entry:
                lines.append(f"| {entry['contestant']} | | | | | | | | {entry['error']} |")
                continue
            lines.append(
                f"| {entry['contestant']} | {digits(entry['seconds'])} | {digits(entry['fastest'])}–{digits(entry['slowest'])} "
                f"| {digits(entry['rate'])} "
                f"| {number(entry['products'], 0)} | {number(entry['bytes'], 1)} | {number(entry['ratio'], 2)} "
                f"| {number(entry['peak_bytes'] / 2**30, 2)} | {entry['note']} |")
    return "\n".join(lines) + "\n"


def digits(value: float) -> str:
    """Three of them."""
    return f"{value:#.3g}".rstrip(".")


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
