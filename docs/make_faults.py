"""Writes `faults.md` from the scores in `benchmarks/faults/scores`: `python docs/make_faults.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.faults import programs  # noqa: E402
from benchmarks.faults.sources import collected  # noqa: E402
from benchmarks.faults.tables import HEADINGS, row, share, table, total_rows  # noqa: E402

PAGE = Path(__file__).parent / "faults.md"
SCORES = ROOT / "benchmarks" / "faults" / "scores"

HEAD = """\
# Faults of trainability: what is found, then and now

<!-- Written by docs/make_faults.py from benchmarks/faults/scores. Do not edit. -->

`benchmarks/faults` holds {count} small programs that do not train as they should, each with a mended twin
that does. {drawn} of them re-create published programs, drawn by seed from {listed} that were collected from
DeepLocalize, DeepFD, TheDeepChecker, NeuraLint and AUTOTRAINER (`sources.json`). What each program does was
measured with plain Keras, not taken from what Frostline says; the set was frozen in a commit before the
detection of these kinds was written. Since the first score the programs have been looked at, so that
later scores are not of unseen ones. Headers that plain training showed to be untrue were mended in commits of
their own: six programs are no faults on TensorFlow, where Keras computes cross-entropies from the logits
in front of a softmax, and are left out there since.

- **found**: the weights have the right status, and a finding above a note says why (a note, where a note is
  right).
- **recall**: found of all faults. **precision**: found of found and false alarms.
- **reason**, **line**, **layer**: right of those programs that have one right reason, a marked line, or,
  where no line of the program is at fault, a layer to name.
- **false alarms**: mended twins on which anything above a note is said, or an error comes.
- **raised**: an error came in place of an answer.

`benchmarks/faults/README.md` gives the rules in full. The programs of `tests/cases` are scored beside them.
"""


def page() -> str:
    """Return the page."""
    kept = collected()
    every = programs.every()
    drawn = sum(fault.header["source"] in kept["drawn"] for fault in every)
    head = HEAD.format(count=len(every), drawn=drawn, listed=len(kept["programs"]))
    return "\n".join([head, _now_and_then(), *(_of(backend) for backend in programs.BACKENDS)])


def _scores(backend: str) -> list[dict[str, Any]]:
    paths = sorted(p for p in SCORES.glob(f"*-{backend}.json") if not p.name.startswith("baselines"))
    scores = (json.loads(p.read_text(encoding="utf-8")) for p in paths)
    # An earlier commit may have been scored later.
    return sorted(scores, key=lambda s: (s["committed"], s["date"]))


def _first_and_last(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return scores[:1] + scores[-1:] if len(scores) > 1 else scores


def _now_and_then() -> str:
    rows = []
    for backend in programs.BACKENDS:
        scores = _scores(backend)
        for name, score in zip(
            ("then", "now"), (scores[:1] + scores[-1:] if len(scores) > 1 else scores), strict=False
        ):
            own = [r for r in score["programs"].values() if r["kind"] != "cases"]
            rows.append((backend, f"{name} ({score['date']}, {score['commit']})", *row("", own)[1:]))
    rows += [line for backend in programs.BACKENDS for line in _arms(backend)]
    return f"## All kinds\n\n{table(('backend', 'what', *HEADINGS[1:]), rows)}\n" if rows else ""


def _arms(backend: str) -> list[tuple[str, ...]]:
    """The frameworks' own modes, of which no reason and no place is asked."""
    path = SCORES / f"baselines-{backend}.json"
    if not path.exists():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    arms = {"mode": f"`{kept['mode']}`", "warnings": "plain training: what Keras warns of or raises"}
    return [_arm(backend, arm, name, kept["programs"]) for arm, name in arms.items()]


def _arm(backend: str, arm: str, name: str, found: dict[str, Any]) -> tuple[str, ...]:
    rows = [r for r in found.values() if "itself" in r]
    right = sum(bool(r["itself"][arm]) for r in rows)
    alarms = sum(bool(r["twin"][arm]) for r in rows)
    counts = (str(len(rows)), str(right), share(right, len(rows)), share(right, right + alarms))
    return (backend, name, *counts, "-", "-", "-", str(alarms), "-")


def _of(backend: str) -> str:
    scores = _scores(backend)
    if not scores:
        return f"## By kind, {backend}\n\nNot scored yet.\n"
    parts = [f"## By kind, {backend}\n"]
    for name, score in zip(
        ("Then", "Now"), scores[:1] + scores[-1:] if len(scores) > 1 else scores, strict=False
    ):
        parts.append(f"{name}, {score['date']}, commit {score['commit']}:\n")
        parts.append(table(HEADINGS, total_rows(score["programs"])) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
