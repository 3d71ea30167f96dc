"""The page of versions is what was found, and what is promised elsewhere is no more than that."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from types import ModuleType
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from frostline._keras.methods import TRIED_ON
from helpers.folders import DOCS, PROJECT

SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def loaded(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.rpartition("/")[2][:-3], PROJECT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where dataclasses look for their types
    spec.loader.exec_module(module)
    return module


CASES = loaded("tests/versions/cases.py")
FOUND: dict[str, Any] = CASES.results()


def bounds(package: str) -> Requirement:
    """What is asked for of a package, wherever it stands."""
    extras = [one for several in SETTINGS["optional-dependencies"].values() for one in several]
    every = map(Requirement, [*SETTINGS["dependencies"], *extras])
    return next(one for one in every if one.name == package)


def pinned(package: str) -> Version:
    """The version that all tests run with."""
    text = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{package}(?:-cpu)?==(\S+)", text, re.MULTILINE)
    assert found is not None
    return Version(found[1])


def tried(package: str) -> set[Version]:
    """The versions of a package that passed everything."""
    every = (*FOUND["keras"].values(), *FOUND["installs"].values())
    return {Version(one[package]) for one in every if package in one and not one["failed"]}


def test_the_page_is_current() -> None:
    made = loaded("docs/make_versions.py").page()
    assert (DOCS / "versions.md").read_text(encoding="utf-8") == made, "run: python docs/make_versions.py"


def test_what_was_tried_is_what_make_test_versions_tries() -> None:
    keras = {f"{version} {backend}" for version in CASES.KERAS for backend in CASES.BACKENDS}
    assert FOUND["keras"].keys() <= keras
    assert FOUND["installs"].keys() <= {one.name for one in CASES.INSTALLS}
    for one in (*FOUND["keras"].values(), *FOUND["installs"].values()):
        assert "everything public is used" not in one["failed"]


def test_bounds_are_what_was_tried() -> None:
    for package in ("keras", "jax", "torch", "tensorflow"):
        asked = bounds(package).specifier
        lower = next(Version(one.version) for one in asked if one.operator == ">=")
        # What is in constraints.txt passes all tests, so it need not pass the smoke.
        passed = {one for one in {*tried(package), pinned(package)} if not one.is_prerelease}
        assert asked.contains(min(passed)), (package, passed)
        assert (lower.major, lower.minor) == (min(passed).major, min(passed).minor), (package, lower)
        for upper in (Version(one.version) for one in asked if one.operator == "<"):
            below = (upper.major, upper.minor - 1)
            assert below in {(one.major, one.minor) for one in passed}, (package, upper)


def test_what_messages_call_tried_was_tried() -> None:
    assert set(map(Version, TRIED_ON)) <= {*tried("keras"), pinned("keras")}


def test_classifiers_name_the_versions_of_python_that_were_tried() -> None:
    named = {
        found[1]
        for one in SETTINGS["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one))
    }
    assert named == {f"{one.major}.{one.minor}" for one in tried("python")}
