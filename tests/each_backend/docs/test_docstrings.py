"""The examples in docstrings and documents run, on each backend, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

import frostline
from frostline.errors import MissingDataError
from helpers.folders import PROJECT

DOCUMENTS = sorted([PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])
FENCED = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

EXEMPT = {"frostline.demo.minilm", "frostline.demo.lexicon", "frostline.demo.digits"}
"""Their examples need the packages of the extra `demo`."""


def modules() -> list[str]:
    found = pkgutil.walk_packages(frostline.__path__, "frostline.")
    return ["frostline", *(module.name for module in found)]


def examples(name: str) -> Iterator[doctest.DocTest]:
    module = importlib.import_module(name)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        if example.examples:
            yield example


class Failing(doctest.DocTestRunner):
    """Lets an exception through, so that pytest shows it."""

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, exc_info: Any) -> None:
        raise exc_info[1]


@pytest.mark.parametrize("name", modules())
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for example in examples(name):
        keras.utils.set_random_seed(0)
        report: list[str] = []
        try:
            Failing(optionflags=doctest.REPORT_NDIFF).run(example, out=report.append)
        except (ImportError, MissingDataError) as error:
            if name not in EXEMPT:
                raise
            pytest.skip(f"a package of the extra `demo` is absent: {error}")
        assert not report, "".join(report)


def test_examples_are_found() -> None:
    with_examples = [name for name in modules() if any(examples(name))]
    assert len(with_examples) >= 15
    assert set(with_examples) >= EXEMPT


def blocks(document: Path) -> list[str]:
    return FENCED.findall(document.read_text(encoding="utf-8"))


def test_the_readme_has_examples() -> None:
    assert blocks(PROJECT / "README.md")


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if blocks(d)],
    ids=lambda document: document.relative_to(PROJECT).as_posix(),
)
def test_documents(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    keras.utils.set_random_seed(0)
    text = document.read_text(encoding="utf-8")
    for found in FENCED.finditer(text):
        # Empty lines in front let a traceback name the line of the document.
        source = "\n" * text.count("\n", 0, found.start(1)) + found[1]
        exec(compile(source, str(document), "exec"), namespace)
