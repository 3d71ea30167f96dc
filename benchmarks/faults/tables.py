"""Counts and tables of scores. Needs no Keras."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.faults.programs import KINDS

HEADINGS = (
    "kind",
    "faults",
    "found",
    "recall",
    "precision",
    "reason",
    "line",
    "layer",
    "false alarms",
    "raised",
)


def total_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each kind, one for all programs, and one for `tests/cases`."""
    own = {n: r for n, r in found.items() if r["kind"] != "cases"}
    rows = [row(kind, [r for r in own.values() if r["kind"] == kind]) for kind in KINDS]
    rows.append(row("all", list(own.values())))
    rows.append(row("tests/cases", [r for r in found.values() if r["kind"] == "cases"]))
    return [r for r in rows if r[1] != "0"]


def row(name: str, results: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The counts of some results."""
    faults = [r for r in results if not r.get("sound")]
    right = sum(r["found"] for r in faults)
    alarms = sum(bool(r["false_alarms"]) for r in results)
    return (
        name,
        str(len(faults)),
        str(right),
        share(right, len(faults)),
        share(right, right + alarms),
        *(_part(faults, key) for key in ("reason", "line", "layer")),
        str(alarms),
        str(sum(bool(r["raised"]) for r in results)),
    )


def _part(faults: Sequence[dict[str, Any]], key: str) -> str:
    """Right ones of those that have a right one: what is not found has none right."""
    asked = [r for r in faults if r[key] is not None]
    return f"{sum(r[key] for r in asked)}/{len(asked)}" if asked else "-"


def share(part: int, whole: int) -> str:
    """A share in percent; `-` of nothing."""
    return f"{part / whole:.0%}" if whole else "-"


def table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, in columns that a terminal shows straight."""
    lines = [tuple(headings), *map(tuple, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    shown = [f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |" for line in lines]
    return "\n".join([shown[0], f"| {' | '.join('-' * w for w in widths)} |", *shown[1:]])
