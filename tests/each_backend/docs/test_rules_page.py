"""The page of the rules is what their docstrings say."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from helpers.folders import DOCS


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_rules", DOCS / "make_rules.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_rules_is_current() -> None:
    made = maker().page()
    there = (DOCS / "rules.md").read_text(encoding="utf-8")
    assert there == made, "run: python docs/make_rules.py"


def test_every_rule_has_its_section() -> None:
    made = maker().page()
    module = maker()
    for rule in (*module.all_rules(), *module.all_training_rules()):
        assert f"\n## {rule.code} " in made
        assert f"`{rule.name}`, {rule.severity}" in made
