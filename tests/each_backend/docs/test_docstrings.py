"""The examples in docstrings and documents run, on each backend, and print what they say.

Those that need no Keras run in `tests/plain/docs/test_docstrings.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import pytest

from frostline.errors import MissingDataError
from helpers import docstrings
from helpers.folders import PROJECT

DOCUMENTS = sorted([PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])
FENCED = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def parameters() -> list[Any]:
    """The modules with examples; the demo's models are the same on each backend."""
    return [
        pytest.param(name, marks=() if name.startswith("frostline.demo.") else pytest.mark.every_backend)
        for name in docstrings.with_examples()
        if name not in docstrings.WITHOUT_KERAS
    ]


@pytest.mark.parametrize("name", parameters())
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for example in docstrings.examples(name):
        keras.utils.set_random_seed(0)
        try:
            docstrings.run(example)
        except (ImportError, MissingDataError) as error:
            if name not in docstrings.EXEMPT:
                raise
            pytest.skip(f"a package of the extra `demo` is absent: {error}")


def test_examples_are_found() -> None:
    found = set(docstrings.with_examples())
    assert len(found) >= 15
    assert found >= docstrings.EXEMPT | docstrings.WITHOUT_KERAS
    assert {name for name in found if not any(docstrings.examples(name))} == set()


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
