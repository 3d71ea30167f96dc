"""The examples in docstrings: which modules have some, and how they are run."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import frostline

WITHOUT_KERAS = frozenset(
    f"frostline.{name}"
    for name in (
        *("demo.lexicon", "demo.locate", "errors", "graph.flow", "graph.ir", "parametrization.selections"),
        *("plan.globs", "plan.plan", "plan.schedule", "plan.selectors"),
    )
)
"""Modules whose examples never load Keras: `tests/plain` runs them, once for all backends."""

EXEMPT = frozenset(f"frostline.demo.{name}" for name in ("digits", "lexicon", "minilm"))
"""Their examples need the packages of the extra `demo`."""


def with_examples() -> list[str]:
    """The names of the modules that have examples, found without importing them."""
    root = Path(frostline.__file__).parent
    found = (path for path in sorted(root.rglob("*.py")) if ">>>" in path.read_text(encoding="utf-8"))
    parts = (path.relative_to(root.parent).with_suffix("").parts for path in found)
    return [".".join(part for part in one if part != "__init__") for one in parts]


def examples(name: str) -> Iterator[doctest.DocTest]:
    """Yield the examples of each docstring of a module."""
    module = importlib.import_module(name)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        if example.examples:
            yield example


class _Failing(doctest.DocTestRunner):
    """Lets an exception through, so that pytest shows it."""

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, exc_info: Any) -> None:
        raise exc_info[1]


def run(example: doctest.DocTest) -> None:
    """Run the examples of one docstring; fail with what they print, where that is not what they say."""
    report: list[str] = []
    _Failing(optionflags=doctest.REPORT_NDIFF).run(example, out=report.append)
    assert not report, "".join(report)
