"""The programs of `tests/cases`, which are part of the benchmark: their own headers, and no twins.

Those whose weights all train are sound programs: they can only cause false alarms.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import keras
from benchmarks.faults.answers import ABOVE_A_NOTE
from keras import ops

import frostline as fl
from helpers import case_files


def _squares(y: Any, predicted: Any) -> Any:
    return ops.mean((y - predicted) ** 2)


def evaluate(name: str) -> dict[str, Any]:
    """The verdict on one case, as `answers.evaluate` gives it."""
    keras.backend.clear_session()
    case = case_files.load(name)
    expected = {n: e[0] for n, e in case.expect.items()}
    faulty = {n: s for n, s in expected.items() if s not in ("trains", "frozen", "partial")}
    blank = {"kind": "cases", "found": False, "noticed": False, "reason": None, "line": None, "layer": None}
    blank |= {"raised": "", "said": [], "false_alarms": [], "sound": not faulty}
    try:
        if hasattr(case.module, "case"):
            answer = fl.explain(*case.module.case())
            got, told, loud = {n: one.status for n, one in answer.items()}, answer, True
        else:
            model, x, y = case.module.model()
            audit = fl.audit(model, x, y, loss=case.option("loss", _squares))
            got, told = dict(audit.statuses), audit.explanations
            loud = any(f.severity in ABOVE_A_NOTE for f in audit.findings)
    except Exception as error:  # as in `answers`
        return blank | {"raised": f"{type(error).__name__}: {str(error)[:200]}"}
    dead = [f"{n}: {s}" for n, s in got.items() if s not in ("trains", "frozen", "partial", "untracked")]
    if not faulty:
        return blank | {"false_alarms": dead}
    right = all(got.get(n) == s for n, s in expected.items())
    cut = {n: told[n].cuts for n, s in faulty.items() if s == "cut" and n in told}
    reasons = [{c.reason for c in cuts} == set(case.expect[n][1:]) for n, cuts in cut.items()]
    lines = [{c.where.line for c in cuts if c.where} == case.lines_for(n) for n, cuts in cut.items()]
    placed = bool(cut) and case.option("PLACED", True)
    return blank | {
        "found": right and loud,
        "noticed": bool(dead),
        "reason": all(reasons) if reasons else None,
        "line": all(lines) if placed else None,
        "said": sorted(set(got.values()) - {"trains", "frozen"}),
    }
