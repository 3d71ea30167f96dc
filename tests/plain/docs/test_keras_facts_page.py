"""The page of what Keras does is what was measured, of every statement."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType

from helpers import keras_facts
from helpers.folders import DOCS, SAVED

KEPT = json.loads((SAVED / "keras_facts.json").read_text(encoding="utf-8"))


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_keras_facts", DOCS / "make_keras_facts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current() -> None:
    assert (DOCS / "keras-facts.md").read_text(encoding="utf-8") == maker().page(), (
        "run: python docs/make_keras_facts.py"
    )


def test_every_statement_was_measured_wherever_one_was() -> None:
    named = {function.name for _, function in keras_facts.facts()}
    assert KEPT
    for where, found in KEPT.items():
        assert found.keys() == named, where


def test_all_hold_with_the_versions_of_the_tests() -> None:
    pinned = keras_facts.present()["versions"]["keras"]
    found = {said for name, one in KEPT.items() if name.split()[0] == pinned for said in one.values()}
    assert found == {"holds"}
