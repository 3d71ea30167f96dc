"""Statements about Keras are left out of `make test` only where nothing that they depend on has changed."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from helpers import keras_facts

FROSTLINE = {"fl", "frostline", "frostline_fit", "Plan", "Phase", "Schedule"}


def test_none_of_them_calls_frostline() -> None:
    """Its file may: beside each fact stands what Frostline does there."""
    found = list(keras_facts.facts())
    assert len(found) >= 49
    for file, function in found:
        named = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert named & FROSTLINE == set(), f"{file}: {function.name} tests Frostline, so give it another name"


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that says that all was checked as it is now."""
    for name in (keras_facts.ALWAYS, "FROSTLINE_EXAMPLES"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "checked.json"
    path.write_text(json.dumps(keras_facts.present()), encoding="utf-8")
    monkeypatch.setattr(keras_facts, "CHECKED", path)
    return path


def test_what_was_checked_is_not_due(checked: Path) -> None:
    assert not keras_facts.are_due()


@pytest.mark.parametrize("name", [keras_facts.ALWAYS, "FROSTLINE_EXAMPLES"])
def test_they_are_due_when_asked_for(name: str, checked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert keras_facts.are_due()


@pytest.mark.parametrize("package", keras_facts.PACKAGES)
def test_they_are_due_with_another_version(package: str, checked: Path) -> None:
    data = json.loads(checked.read_text(encoding="utf-8"))
    data["versions"][package] = "0.0"
    checked.write_text(json.dumps(data), encoding="utf-8")
    assert keras_facts.are_due()


def test_they_are_due_where_one_was_changed(checked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, *others = keras_facts.facts()
    changed = ast.parse(f"def {one[1].name}():\n    assert 1 + 1 == 2").body[0]
    assert isinstance(changed, ast.FunctionDef)
    monkeypatch.setattr(keras_facts, "facts", lambda: iter([(one[0], changed), *others]))
    assert keras_facts.are_due()


def test_they_are_due_where_nothing_was_ever_checked(checked: Path) -> None:
    checked.unlink()
    assert keras_facts.are_due()


def test_words_about_them_may_change() -> None:
    one, other = (
        ast.parse(f'def test():\n    """{words}"""\n    return 1').body[0] for words in ("A.", "Other words.")
    )
    assert isinstance(one, ast.FunctionDef) and isinstance(other, ast.FunctionDef)
    assert keras_facts.code_of(one) == keras_facts.code_of(other)
