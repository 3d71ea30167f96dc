"""The page of answers is what the code prints today."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import keras
import pytest

from helpers.folders import PROJECT

NUMBER = re.compile(r"\b\d+\.\d+(?:e-?\d+)?\b")


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_why", PROJECT / "docs" / "make_why.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the page shows what is printed on JAX")
def test_the_page_of_answers_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)  # places of source are shown from here
    made, there = maker().page(), (PROJECT / "docs" / "why.md").read_text(encoding="utf-8")
    assert NUMBER.sub("#", there) == NUMBER.sub("#", made), "run: KERAS_BACKEND=jax python docs/make_why.py"
    # The last digits differ between machines.
    assert [float(n) for n in NUMBER.findall(there)] == pytest.approx(
        [float(n) for n in NUMBER.findall(made)], rel=1e-3
    )
