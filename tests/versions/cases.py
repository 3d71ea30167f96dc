"""Which versions are tried, and where the results stand.

A lower bound is the oldest version that passes; an upper one stands where a next minor version broke things
before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "saved" / "versions.json"

BACKENDS = ("jax", "torch", "tensorflow")
NIGHTLY = "keras-nightly"

KERAS = ("3.13.0", "3.13.1", "3.13.2", "3.14.0", "3.14.1", "3.15.0", "3.15.1", NIGHTLY)
"""Every version of the range, and the nightly of the next one."""

ON_ALL_BACKENDS = ("3.13.0", "3.15.1", NIGHTLY)
"""The ends of the range, and what comes next."""


OF_FACTS = ("3.13.2", "3.14.1", "3.15.1", NIGHTLY)
"""The last of each minor version: what it does is measured on all backends."""


@dataclass(frozen=True)
class Install:
    """What a user does in an environment of their own, with no constraints file.

    Attributes:
        python: The minor version of Python.
        extra: What stands in brackets behind the wheel.
        pins: What is installed before, by exact version.
    """

    python: str
    extra: str
    pins: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How the results call it."""
        return " ".join((self.python, self.extra, *self.pins))


INSTALLS = (
    Install("3.11", "jax"),
    Install("3.12", "jax"),
    Install("3.13", "jax"),
    Install("3.12", "jax", ("jax==0.11.2",)),
    Install("3.11", "torch", ("torch==2.13.0",)),
    Install("3.11", "tensorflow"),
)


def results() -> dict[str, Any]:
    """What was found, as it stands in the file."""
    if not RESULTS.exists():
        return {"keras": {}, "installs": {}}
    return dict(json.loads(RESULTS.read_text(encoding="utf-8")))


def keep(kind: str, name: str, found: dict[str, Any]) -> None:
    """Put the result of one case into the file, in the place of an earlier one."""
    held = results()
    held[kind] = dict(sorted({**held[kind], name: found}.items()))
    RESULTS.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
