"""When statements of Keras's own behaviour run: where they, or the versions that they are about, are new.

A `test_keras_...` calls Keras alone, so no change to Frostline can break it. `keras_facts_checked.json` in
`tests/saved` names the versions with which all of them passed on each backend, and a digest of the tests.
`make keras-facts` runs them all, and where they pass it writes that file by running this one.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from helpers.folders import PROJECT, SAVED, TESTS

CHECKED = SAVED / "keras_facts_checked.json"
PREFIX = "test_keras_"
PACKAGES = ("keras", "numpy", "jax", "jaxlib", "tensorflow-cpu", "torch")
ALWAYS = "FROSTLINE_KERAS_FACTS"
"""Set this variable to run them whatever the file says; `make test-all` runs them always."""

SKIPPED = (
    "what Keras does was checked with these versions of it; `make keras-facts` runs it, and so does "
    f"{ALWAYS}=1 in the environment of pytest"
)


def facts() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield every statement about Keras with its file, a path below `tests`."""
    for path in sorted((TESTS / "each_backend").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body if PREFIX in text else ():
            if isinstance(node, ast.FunctionDef) and node.name.startswith(PREFIX):
                yield path.relative_to(TESTS).as_posix(), node


def code_of(function: ast.FunctionDef) -> str:
    """Its code, without the docstring, comments and layout."""
    described = ast.get_docstring(function) is not None
    return ast.unparse(
        ast.FunctionDef(**{**vars(function), "body": function.body[1:] if described else function.body})
    )


def present() -> dict[str, Any]:
    """The versions that `constraints.txt` names, and the digest of the facts."""
    constraints = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", constraints, re.MULTILINE))
    code = "\n".join(sorted(code_of(function) for _, function in facts()))
    return {
        "versions": {name: pinned[name] for name in PACKAGES},
        "facts": hashlib.sha256(code.encode()).hexdigest(),
    }


def are_due() -> bool:
    """Whether they are to run: asked for, or not checked as they are now with the versions of now."""
    if ALWAYS in os.environ or "FROSTLINE_EXAMPLES" in os.environ or not CHECKED.exists():
        return True
    return bool(json.loads(CHECKED.read_text(encoding="utf-8")) != present())


if __name__ == "__main__":
    CHECKED.write_text(json.dumps(present(), indent=2) + "\n", encoding="utf-8")
