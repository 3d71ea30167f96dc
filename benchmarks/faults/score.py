"""Prints how much of the benchmark Frostline finds on the backend in use, and keeps it by commit.

    KERAS_BACKEND=torch python -m benchmarks.faults.score [--baselines] [--only NAME ...] [--dry]

Writes `scores/<date>-<commit>-<backend>.json`, one file for each commit and backend;
`python docs/make_faults.py` makes `docs/faults.md` of them. With `--baselines` the frameworks' own modes
are run on the same programs and written to `scores/baselines-<backend>.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.faults import programs
from benchmarks.faults.tables import HEADINGS, table, total_rows

SCORES = Path(__file__).parent / "scores"
LIMIT = 120
"""Seconds for one program and its twin; longer counts as not found."""


def main() -> None:
    """Score, print, keep."""
    options = _options()
    logging.disable(logging.NOTSET if options.baselines else logging.WARNING)
    from benchmarks.faults import answers, baselines, cases
    from benchmarks.faults.running import BACKEND

    chosen = {f.name: f for f in programs.every(BACKEND) if not options.only or f.name in options.only}
    if options.baselines:
        found = _each(chosen, lambda name: baselines.evaluate(chosen[name]))
        _keep(
            options,
            SCORES / f"baselines-{BACKEND}.json",
            {"mode": baselines.MODES[BACKEND], "programs": found},
        )
        return
    found = _each(chosen, lambda name: answers.evaluate(chosen[name]))
    from helpers import case_files

    names = [] if options.only else case_files.names()
    found |= {f"tests/cases/{name}": row for name, row in _each(names, cases.evaluate).items()}
    commit = _of_commit("%h")
    result = {
        "commit": commit,
        "committed": _of_commit("%cI"),
        "date": datetime.now().isoformat(timespec="minutes"),
        "backend": BACKEND,
        "programs": found,
    }
    print(f"Frostline at {commit} on {BACKEND}\n")
    print(table(HEADINGS, total_rows(found)))
    if options.only:
        print(json.dumps(found, indent=1))
    _keep(options, SCORES / f"{result['date'][:10]}-{commit}-{BACKEND}.json", result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--baselines", action="store_true", help="the frameworks' own modes in place of Frostline"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these programs; nothing is kept")
    parser.add_argument("--dry", action="store_true", help="keep nothing")
    return parser.parse_args()


def _each(names: Iterable[str], of: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for name in names:
        began = time.time()
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(LIMIT)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = of(name)
        except Exception as error:  # the evaluation itself: counted as not found
            found[name] = _nothing(name, f"{type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.alarm(0)
        print(f"  {name} ({time.time() - began:.1f} s)", flush=True)
    return found


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"longer than {LIMIT} s")


def _nothing(name: str, raised: str) -> dict[str, Any]:
    kinds = {fault.name: fault.kind for fault in programs.every()}
    empty = {"found": False, "noticed": False, "reason": None, "line": None, "layer": None}
    return {"kind": kinds.get(name, "cases"), **empty, "raised": raised, "said": [], "false_alarms": []}


def _of_commit(what: str) -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "show", "-s", "--abbrev=9", f"--format={what}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _keep(options: argparse.Namespace, path: Path, result: dict[str, Any]) -> None:
    if options.only or options.dry:
        return
    SCORES.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
