"""Nothing is drawn, printed or warned of but by `render`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import frostline

ROOT = Path(frostline.__file__).parent
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT / "render"]
MODULES = {"rich.text", "rich.markup", "rich.padding", "rich.table", "rich.panel", "rich.markdown", "rich"}
CALLS = {"print", "Console", "warnings.warn", "typer.echo", "typer.secho", "sys.stdout.write", "Text"}
ALLOWED = {("cli/app.py", "typer.echo")}
"""The version, of our own."""


def others_ways(tree: ast.AST) -> set[str]:
    """Return what a file imports and calls that shows text without the gate."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found.add(node.module)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            found.add(ast.unparse(node.func))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_other_way(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = others_ways(ast.parse(path.read_text(encoding="utf-8")))
    assert {way for way in found if (name, way) not in ALLOWED} == set()


def test_other_ways_would_be_found() -> None:
    code = "from rich.text import Text\nimport warnings\nText('a')\nprint('b')\nwarnings.warn('c')\n"
    assert others_ways(ast.parse(code)) == {"rich.text", "Text", "print", "warnings.warn"}
