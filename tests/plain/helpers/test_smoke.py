"""The smoke that versions are tried with cannot leave a public name or a verb out without saying so."""

from __future__ import annotations

import ast
import importlib.util
from types import ModuleType
from typing import Any

import pytest

from helpers import public_names
from helpers.folders import TESTS

VERSIONS = TESTS / "versions"


@pytest.fixture
def used() -> ModuleType:
    spec = importlib.util.spec_from_file_location("used", VERSIONS / "used.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Made:
    """Public."""


class Below(Made):
    """Not public: one of its base's kind."""


def library() -> Any:
    module, inner = ModuleType("library"), ModuleType("library.inner")
    vars(inner).update(__all__=["Made"], Made=Made)
    names: dict[str, Any] = {
        "make": lambda: [Below()],
        "fail": _fail,
        "Made": Made,
        "number": 3,
        "inner": inner,
    }
    vars(module).update(names, __all__=list(names))
    return module


def _fail() -> None:
    raise ValueError("failed")


def test_what_was_not_used_is_named(used: ModuleType) -> None:
    assert used.Used(library()).left_out() == ["make", "fail", "Made", "number", "inner.Made"]


def test_a_function_counts_when_it_returned(used: ModuleType) -> None:
    stand_in = used.Used(library())
    assert stand_in.make is not None  # looking is not using
    with pytest.raises(ValueError, match="failed"):
        stand_in.fail()
    assert {"make", "fail"} <= set(stand_in.left_out())
    stand_in.make()
    assert "make" not in stand_in.left_out()


@pytest.mark.parametrize("nest", [lambda one: one, lambda one: [1, (one,)], lambda one: {"a": [one]}])
def test_a_class_counts_when_a_step_returned_one(nest: Any, used: ModuleType) -> None:
    stand_in = used.Used(library())
    assert stand_in.Made is Made
    assert "Made" in stand_in.left_out()
    stand_in.note(nest(Below()))
    assert stand_in.left_out() == ["make", "fail", "number"]


def test_every_verb_stands_in_the_smoke() -> None:
    """Running it says so too, after minutes."""
    tree = ast.parse((VERSIONS / "verbs.py").read_text(encoding="utf-8"))
    words = {
        tuple(one.value for one in node.args[:2] if isinstance(one, ast.Constant))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "frostline"
    }
    verbs = [tuple(name.split()[1:]) for name in public_names.commands()]
    leaves = [verb for verb in verbs if verb and not any(other[:-1] == verb for other in verbs)]
    assert leaves
    for verb in leaves:
        assert any(called[: len(verb)] == verb for called in words), f"frostline {' '.join(verb)}"
