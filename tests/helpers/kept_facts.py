"""Keeps what statements about Keras came to, by version and backend, for `docs/make_keras_facts.py`.

    FROSTLINE_KEEP_FACTS=1 FROSTLINE_KERAS_FACTS=1 KERAS_BACKEND=jax pytest tests/each_backend -k test_keras_

A fact is one function, whatever its cases; it holds where all of them pass.
"""

from __future__ import annotations

import json
import os
from typing import Any

import keras
import pytest

from helpers.folders import SAVED
from helpers.keras_facts import PREFIX

KEPT = SAVED / "keras_facts.json"
ASKED = "FROSTLINE_KEEP_FACTS"
HOLDS = "holds"


class Keeper:
    """For pytest: notes the outcome of each statement about Keras, and writes them at the end of the run."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if not name.startswith(PREFIX) or report.skipped:
            return
        if report.failed:
            self._found[name] = _said(report)
        elif report.when == "call":
            self._found.setdefault(name, HOLDS)

    def pytest_sessionfinish(self) -> None:
        held = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
        held[f"{keras.__version__} {keras.backend.backend()}"] = dict(sorted(self._found.items()))
        KEPT.write_text(json.dumps(dict(sorted(held.items())), indent=1) + "\n", encoding="utf-8")


def _said(report: Any) -> str:
    """The line that says what came instead."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return " ".join(str(crash.message if crash else report.longrepr).split())[:200]


def keep(config: pytest.Config) -> None:
    """Keep the facts of this run, where that was asked for."""
    if ASKED in os.environ:
        config.pluginmanager.register(Keeper())
