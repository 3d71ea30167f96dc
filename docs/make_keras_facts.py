"""Writes `keras-facts.md` from what the statements about Keras came to: `python docs/make_keras_facts.py`."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "keras-facts.md"
KEPT = ROOT / "tests" / "saved" / "keras_facts.json"
TESTS = ROOT / "tests" / "each_backend"
BACKENDS = {"jax": "JAX", "torch": "PyTorch", "tensorflow": "TensorFlow"}
HOLDS = "holds"

HEAD = """\
# What Keras does

<!-- Written by docs/make_keras_facts.py from tests/saved/keras_facts.json. Do not edit. -->

Each line is a test that calls Keras alone (`test_keras_...` in `tests/each_backend`), and was measured: on
each backend it says what that backend does, so one sentence may name three behaviours. "yes" means that
Keras of that version does what the sentence says, on the backends in the heading. Where one of them does
something else, it is named, and what it did stands below. With the versions of `constraints.txt` all hold
on all three, whatever the heading: `make keras-facts` says so, and `make test` asks whether it did.

`make test-versions` runs them with the others.

"""


def page() -> str:
    """Return the page."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    versions = list(dict.fromkeys(name.split()[0] for name in kept))
    rows = [["what Keras does", *(f"{one} ({_ran_on(kept, one)})" for one in versions)]]
    for name, sentence in sorted(_facts().items(), key=lambda one: one[1].lower()):
        rows.append([sentence, *(_cell(kept, version, name) for version in versions)])
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return HEAD + "".join(f"| {' | '.join(line)} |\n" for line in lines) + _others(kept)


def _ran_on(kept: dict[str, Any], version: str) -> str:
    return ", ".join(shown for backend, shown in BACKENDS.items() if f"{version} {backend}" in kept)


def _facts() -> dict[str, str]:
    """Every statement, by the name of its function, in the words of its docstring."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_keras_"):
                found[node.name] = _sentence(node)
    return found


def _sentence(function: ast.FunctionDef) -> str:
    title = function.name.removeprefix("test_keras_").replace("_", " ")
    said = (ast.get_docstring(function) or "").partition("\n\n")[0]
    said = re.sub(r"^(?:Beyond the list|The contrast): ", "", " ".join(said.split())).replace("|", "\\|")
    return f"{title}: {said}" if said else title


def _cell(kept: dict[str, Any], version: str, name: str) -> str:
    """Whether a statement holds, in one word where it is the same on all backends that were run."""
    found = {
        shown: kept[f"{version} {backend}"].get(name)
        for backend, shown in BACKENDS.items()
        if f"{version} {backend}" in kept
    }
    ran = {shown: said for shown, said in found.items() if said is not None}
    if not ran:
        return "not run"
    wrong = [shown for shown, said in ran.items() if said != HOLDS]
    return "yes" if not wrong else f"not on {', '.join(wrong)}"


def _others(kept: dict[str, Any]) -> str:
    """What came instead, each thing once, with where it came."""
    places: dict[tuple[str, str], Counter[str]] = {}
    for where, found in kept.items():
        for name, said in found.items():
            if said != HOLDS:
                places.setdefault((name, said), Counter())[where] += 1
    if not places:
        return ""
    lines = []
    for (name, said), where in places.items():
        words = said.replace("`", "'")
        lines.append(f"- {name.removeprefix('test_keras_')} ({', '.join(where)}): `{words}`\n")
    return "\n## What came instead\n\n" + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
