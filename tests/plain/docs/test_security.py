"""Every test that `docs/security.md` names is there, and every threat that is held names one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/.]+)?(?:::(\w+))?`")


def named() -> Iterator[tuple[str, str]]:
    """Yield the files and tests that the page names; a test without a file is of the one before it."""
    file = ""
    for match in NAMED.finditer(PAGE):
        if match[1] or match[2]:
            file = match[1] or file
            yield file, match[2] or ""


@pytest.mark.parametrize(("file", "test"), sorted(set(named())))
def test_a_test_that_is_named_is_there(file: str, test: str) -> None:
    path = ROOT / file
    assert path.exists()
    if test:
        names = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert test in names


def test_the_page_names_tests() -> None:
    assert len({test for _, test in named() if test}) > 30


def test_every_threat_names_a_test_or_says_that_it_is_not_held() -> None:
    rows = [line for line in PAGE.split("\n") if re.match(r"\| (?!threat|---)", line)]
    assert len(rows) > 20
    assert [row for row in rows if "`tests/" not in row and "Not held" not in row] == []


def test_the_front_page_leads_there() -> None:
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text() and "SECURITY.md" in (
        ROOT / "README.md"
    ).read_text(encoding="utf-8")
