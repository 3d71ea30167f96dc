"""What is exported, what importing costs, and who may touch private names of Keras.

Which package may import which is held by import-linter: see `[tool.importlinter]` in `pyproject.toml`.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import frostline

HEAVY = {"keras", "tensorflow", "jax", "jaxlib", "torch"}
ROOT = Path(frostline.__file__).parent
RECEIPT = Path(__file__).parents[1] / "saved" / "0.1" / "torch" / "receipt.json"
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
}

PRIVATE = {
    "trainability/apply.py": {"_before": "of another Applied, undone together with this one"},
    "backends/tensorflow/internals.py": dict.fromkeys(
        ("_FallbackException", "_autograph", "_get_function", "_handle_data", "_rng", "_seed"),
        "of TensorFlow, which names no other way",
    ),
    "backends/torch/internals.py": dict.fromkeys(
        (
            *("_base", "_input_metadata", "_saved_rounding_mode", "_saved_self", "_version"),
            *("_DisableTorchDispatch", "_functorch", "_len_torch_dispatch_stack"),
        ),
        "of PyTorch, which names no other way",
    ),
    "resolution/notes.py": {"_parameters": "of torch.nn.Module, which Keras layers are on PyTorch"},
}
"""Private names of others, outside the package `_keras`."""


# Exports ------------------------------------------------------------------------------------------


def test_every_exported_name_resolves() -> None:
    names = set(frostline.__all__) - {"layers"}  # a package that imports Keras
    missing = [name for name in names if getattr(frostline, name, None) is None]
    assert missing == []
    assert frostline.__all__ == sorted(frostline.__all__) == dir(frostline)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"^No frostline attribute Paln$"):
        _ = frostline.Paln


# What importing costs -------------------------------------------------------------------------------


HELP = """
import sys
from frostline.cli.app import main
verbs = ("show", "plan", "init", "audit", "why", "fit", "verify", "demo", "delta")
deltas = (["delta", verb, "--help"] for verb in ("save", "apply", "show", "diff"))
for words in (["--help"], ["--version"], *([verb, "--help"] for verb in verbs), *deltas):
    sys.argv = ["frostline", *words]
    try:
        main()
    except SystemExit as exit:
        assert not exit.code, words
"""
PLANS = """
import frostline as fl
plan = fl.Plan().train("head/**", lr=0.1)
assert fl.Plan.from_data(plan.to_data()) == plan
fl.plan_schema()
"""
RECEIPTS = f"""
import sys
from frostline.cli.app import main
sys.argv = ["frostline", "verify", {str(RECEIPT)!r}]
try:
    main()
except SystemExit as exit:
    assert not exit.code
"""


@pytest.mark.parametrize(
    "code", ["import frostline", HELP, PLANS, RECEIPTS], ids=["import", "help", "plans", "receipts"]
)
def test_neither_keras_nor_a_backend_is_imported(code: str) -> None:
    heavy = HEAVY if code != "import frostline" else HEAVY | {"numpy"}
    report = (
        "\nimport json, sys\nsys.stderr.write(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "frostline" in loaded
    assert loaded & heavy == set()


# Private names --------------------------------------------------------------------------------------


def private_names(file: str) -> Iterator[tuple[str, int]]:
    """Yield the private attributes of others that a file touches, by dot, by `getattr` or by `private`."""
    for node in ast.walk(TREES[file]):
        name, owner = "", None
        if isinstance(node, ast.Attribute):
            name, owner = node.attr, node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "getattr",
            "setattr",
            "hasattr",
            "delattr",
            "private",
        ):
            name, owner = getattr(node.args[1], "value", ""), node.args[0]
        own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
        if isinstance(name, str) and name.startswith("_") and not name.startswith("__") and not own:
            yield name, getattr(node, "lineno", 0)


def private_modules(file: str) -> Iterator[str]:
    """Yield what a file imports of `keras.src`."""
    for node in ast.walk(TREES[file]):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name.startswith("keras.src"))


def test_only_one_package_touches_private_names_of_keras() -> None:
    outside = [file for file in TREES if not file.startswith("_keras/")]
    touched = {(file, name) for file in outside for name, _ in private_names(file)}
    assert touched == {(file, name) for file, names in PRIVATE.items() for name in names}
    assert [(file, name) for file in outside for name in private_modules(file)] == []


def test_the_search_for_private_names_finds_them() -> None:
    found = {name for part in ("layers", "trainers") for name, _ in private_names(f"_keras/{part}.py")}
    assert "_compiled_trainable_state" in found and "_nodes_by_depth" in found
