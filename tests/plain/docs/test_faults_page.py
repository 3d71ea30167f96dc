"""The page of the faults is what the kept scores say."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from helpers.folders import DOCS


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_faults", DOCS / "make_faults.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_faults_is_current() -> None:
    there = (DOCS / "faults.md").read_text(encoding="utf-8")
    assert there == maker().page(), "run: python docs/make_faults.py"
