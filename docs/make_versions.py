"""Writes `versions.md` from what `make test-versions` found: `python docs/make_versions.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "versions.md"
RESULTS = ROOT / "tests" / "saved" / "versions.json"
BACKENDS = {"jax": "JAX", "torch": "PyTorch", "tensorflow": "TensorFlow"}

HEAD = """\
# Versions that were tried

<!-- Written by docs/make_versions.py from tests/saved/versions.json. Do not edit. -->

`make test-versions` runs a program, `tests/versions/smoke.py`, that uses every name of `frostline` and
every verb of its command line at least once, and among the rest what a version of Keras once broke in
silence: runs that go on after an interruption to the same numbers, exclusions from weight decay in saved
models, recurrent models under the audit, the check before training and `fl.why`. It fails where it leaves a
public name out. Each cell says how many of its steps passed.

All tests run on the versions in `constraints.txt` alone; the smoke is what stands behind the others.
"""

OF_KERAS = """
## Keras

One version after the other beside the same backends. `make test-versions` tries the ends of the range and
the nightly of the next version on all three, the rest on JAX; "-" was not run.

"""

OF_INSTALLS = """
## Installed as users do

An environment of its own for each, with no constraints file: `pip install` of the wheel with the extra,
behind what the column "before it" names; then README's programs as they stand there, with no backend
chosen, then the smoke.

"""

OF_FAILURES = """
## What failed

"""

TAIL = """
Nothing was run on Python 3.14; `pip install --dry-run --python-version 3.14` of the wheel with `[jax]` finds
all that it asks for. PyTorch's and TensorFlow's lower bounds are the one version that was tried.
What is asked for in `pyproject.toml` ends where these tables do.
"""


def page() -> str:
    """Return the page."""
    held = json.loads(RESULTS.read_text(encoding="utf-8"))
    return (
        HEAD
        + OF_KERAS
        + _table_of_keras(held["keras"])
        + OF_INSTALLS
        + _table_of_installs(held["installs"])
        + _failures(held)
        + TAIL
    )


def _table_of_keras(held: dict[str, Any]) -> str:
    asked = list(dict.fromkeys(name.split()[0] for name in held))
    rows = [["Keras", *(f"{shown} {_version(held, name)}" for name, shown in BACKENDS.items())]]
    for version in asked:
        cells = [held.get(f"{version} {backend}") for backend in BACKENDS]
        rows.append([_keras_of(version, cells), *map(_cell, cells)])
    return _table(rows)


def _keras_of(asked: str, cells: list[Any]) -> str:
    """The version; behind the name of a package that is called otherwise."""
    found = next(cell["keras"] for cell in cells if cell)
    return found if found == asked else f"{found} ({asked})"


def _version(held: dict[str, Any], backend: str) -> str:
    return " ".join(sorted({one[backend] for one in held.values() if one["backend"] == backend}))


def _table_of_installs(held: dict[str, Any]) -> str:
    rows = [["Python", "extra", "before it", "got", "README", "smoke"]]
    for name, found in held.items():
        _, extra, *pins = name.split()
        backend = found["backend"]
        got = f"Keras {found['keras']}, {BACKENDS[backend]} {found[backend]}, NumPy {found['numpy']}"
        rows.append([found["python"], extra, ", ".join(pins), got, found["readme"], _cell(found)])
    return _table(rows)


def _failures(held: dict[str, Any]) -> str:
    every = {**held["keras"], **held["installs"]}
    lines = [
        f"- {name}, {step}: {_plain(said)}\n"
        for name, one in every.items()
        for step, said in one["failed"].items()
    ]
    return OF_FAILURES + "".join(lines) if lines else ""


def _plain(said: str) -> str:
    """As code, without what colors a terminal."""
    words = re.sub(r"\x1b\[[0-9;]*m", "", said).replace("`", "'")
    return f"`{words}`"


def _cell(found: Any) -> str:
    return f"{found['passed']} of {found['steps']}" if found else "-"


def _table(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
