"""What is exported, what importing costs, and which module may import which."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import frostline

HEAVY = {"keras", "tensorflow", "jax", "jaxlib", "torch"}
BACKENDS = HEAVY - {"keras"}
ROOT = Path(frostline.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("_version", "aligning", "documents", "elements", "files", "globs", "initializers", "locking", "render"),
    ("documentfile", "elementsets", "digesting"),
    ("_keras",),
    ("address",),
    ("groups", "parking"),
    ("optimizer",),
    ("parametrization",),
    ("graph",),
    ("remedies",),
    ("explanation",),
    ("diagnosis",),
    ("explaining",),
    ("select",),
    ("plan",),
    ("schedule",),
    ("plandata",),
    ("maskfile",),
    ("planfile", "memory", "notes", "newrows", "rebuilding"),
    ("growing",),
    ("deciding",),
    ("decision",),
    ("resolution",),
    ("presets", "modes"),
    ("applying", "layers", "starter"),
    ("merging", "partly"),
    ("fingerprinting", "custom_loop"),
    ("verification",),
    ("receipt",),
    ("auditing",),
    ("training",),
    ("models", "progress"),
    ("saving",),
    ("delta",),
    ("runs",),
    ("demo",),
    ("cli",),
)
"""From low to high. A module imports from the layers below its own; packages also from themselves."""

RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

UPWARDS = {
    ("plan", "planfile"): "Plan.load and Plan.save",
    ("plan", "resolution"): "Plan.resolve",
    ("schedule", "planfile"): "Schedule.load and Schedule.save",
    ("models", "layers"): "a saved model needs the classes of its layers",
    ("models", "demo"): "a model of the demo needs the classes of its layers",
}
"""The only imports against the order; each is deferred, or for types alone."""

DEFERRING = {"cli"}
"""May import inside functions, so that `--help` is quick. Nobody else needs to."""

KERAS_AT_TOP = {
    "parametrization/combined.py",
    "graph/tensorflow_recording.py",
    "graph/from_torch.py",
    "graph/torch_frames.py",
    "graph/torch_recorder.py",
    "graph/watching.py",
    "training/finite.py",
    "training/flags.py",
    "training/phases.py",
    "progress.py",
    "runs/batches.py",
    "runs/estimate.py",
    "runs/execute.py",
    "runs/records.py",
    "training/recorder.py",
    "training/rereading.py",
    "training/restoring.py",
    "training/resuming.py",
}
"""Files, besides the demo's and the layers, that need Keras's classes to be read at all."""

WHOLE = {"demo"}
"""May `import frostline` as its users do."""

BACKEND_FILES = {
    "auditing/step_on_jax.py",
    "auditing/step_on_tensorflow.py",
    "auditing/step_on_torch.py",
    "custom_loop/on_jax.py",
    "custom_loop/on_tensorflow.py",
    "graph/from_jax.py",
    "graph/from_tensorflow.py",
    "graph/from_torch.py",
    "graph/jax_evidence.py",
    "graph/jax_walk.py",
    "graph/tensorflow_asking.py",
    "graph/tensorflow_gradients.py",
    "graph/tensorflow_internals.py",
    "graph/tensorflow_measuring.py",
    "graph/tensorflow_operations.py",
    "graph/tensorflow_recording.py",
    "graph/torch_autograd.py",
    "graph/torch_frames.py",
    "graph/torch_functions.py",
    "graph/torch_graph.py",
    "graph/torch_internals.py",
    "graph/torch_originals.py",
    "graph/torch_recorder.py",
    "graph/torch_values.py",
    "parametrization/lookup_torch.py",
    "training/random_torch.py",
}
"""Files that may import a backend."""

PRIVATE = {
    "applying.py": {"_before": "of another Applied, undone together with this one"},
    "graph/tensorflow_internals.py": dict.fromkeys(
        ("_autograph", "_get_function", "_handle_data", "_rng", "_seed"),
        "of TensorFlow, which names no other way",
    ),
    "graph/torch_internals.py": dict.fromkeys(
        ("_base", "_input_metadata", "_saved_rounding_mode", "_saved_self", "_version"),
        "of PyTorch, which names no other way",
    ),
    "notes.py": {"_parameters": "of torch.nn.Module, which Keras layers are on PyTorch"},
}
"""Private names of others, outside the package `_keras`."""

FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


# Exports ------------------------------------------------------------------------------------------


def test_every_exported_name_resolves() -> None:
    names = set(frostline.__all__) - set(frostline._PACKAGES)  # those import Keras
    missing = [name for name in names if getattr(frostline, name, None) is None]
    assert missing == []


def test_the_three_lists_of_exports_agree() -> None:
    assert frostline.__all__ == sorted(frostline.__all__)
    assert set(frostline.__all__) == {*frostline._EXPORTS, *frostline._PACKAGES, "__version__"}
    assert dir(frostline) == frostline.__all__

    typed = {}
    for statement in tree_of("__init__.py").body:
        if is_for_types(statement):
            for node in ast.walk(statement):
                if isinstance(node, ast.ImportFrom):
                    module = (node.module or "").removeprefix("frostline.")
                    typed.update({alias.name: module for alias in node.names})
    assert typed == frostline._EXPORTS | dict.fromkeys(frostline._PACKAGES, "frostline")


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"^module 'frostline' has no attribute 'Paln'$"):
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


@pytest.mark.parametrize("code", ["import frostline", HELP, PLANS], ids=["import", "help", "plans"])
def test_neither_keras_nor_a_backend_is_imported(code: str) -> None:
    report = (
        "\nimport json, sys\nsys.stderr.write(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr))
    assert "frostline" in loaded
    assert loaded & HEAVY == set()


# Which module imports which -------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One module that another imports."""

    module: str
    deferred: bool


def tree_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def part_of(file: str) -> str:
    """`training/loop.py` is part of `training`."""
    return file.split("/")[0].removesuffix(".py")


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_of(file: str) -> list[Import]:
    return list(_imports(tree_of(file), deferred=False))


def _imports(node: ast.AST, *, deferred: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, deferred) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        inside = (ROOT.parent / (node.module or "").replace(".", "/")).is_dir()
        for alias in node.names:
            yield Import(f"{node.module}.{alias.name}" if inside else str(node.module), deferred)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield Import(str(getattr(node.args[0], "value", "")), True)
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, deferred=deferred or function or is_for_types(node))


def test_every_module_has_its_layer() -> None:
    parts = {part_of(file) for file in FILES} - {"__init__"}
    assert parts == set(RANK)


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_imports_run_one_way(file: str) -> None:
    own = part_of(file)
    for found in imports_of(file):
        if found.module.split(".")[0] != "frostline":
            continue
        if found.module == "frostline":
            assert own in WHOLE, f"{file} imports the whole of frostline"
            continue
        other = found.module.split(".")[1]
        if other == own:
            assert "/" in file
        elif (own, other) in UPWARDS:
            assert found.deferred, f"{file} imports {found.module} at its top"
        else:
            assert RANK[other] < RANK[own], f"{file} imports {found.module}, from a layer not below it"
            assert not found.deferred or own in DEFERRING, f"{file} hides its import of {found.module}"


def test_every_exception_to_the_order_is_needed() -> None:
    used = {
        (part_of(file), found.module.split(".")[1])
        for file in FILES
        for found in imports_of(file)
        if found.module.startswith("frostline.")
    }
    assert set(UPWARDS) <= used


@pytest.mark.parametrize("file", FILES)
def test_backends_and_keras_are_imported_where_allowed(file: str) -> None:
    for found in imports_of(file):
        top = found.module.split(".")[0]
        assert top not in BACKENDS or file in BACKEND_FILES, f"{file} imports {found.module}"
        at_top = top == "keras" and not found.deferred
        assert not at_top or part_of(file) in ("demo", "layers") or file in KERAS_AT_TOP, (
            f"{file} imports Keras at its top"
        )


# Private names --------------------------------------------------------------------------------------


def private_names(file: str) -> Iterator[tuple[str, int]]:
    """Yield the private attributes of others that a file reads or sets, by dot or by `getattr`."""
    for node in ast.walk(tree_of(file)):
        name, owner = "", None
        if isinstance(node, ast.Attribute):
            name, owner = node.attr, node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "getattr",
            "setattr",
            "hasattr",
            "delattr",
        ):
            name, owner = getattr(node.args[1], "value", ""), node.args[0]
        own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
        if isinstance(name, str) and name.startswith("_") and not name.startswith("__") and not own:
            yield name, getattr(node, "lineno", 0)


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("_keras/")])
def test_only_one_package_touches_private_names_of_keras(file: str) -> None:
    allowed = PRIVATE.get(file, {})
    strange = [f"line {line}: {name}" for name, line in private_names(file) if name not in allowed]
    assert strange == []


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("_keras/")])
def test_only_one_package_imports_private_modules_of_keras(file: str) -> None:
    assert [i.module for i in imports_of(file) if i.module.startswith("keras.src")] == []


def test_the_search_for_private_names_finds_them() -> None:
    found = {name for part in ("layers", "trainers") for name, _ in private_names(f"_keras/{part}.py")}
    assert {"_layers", "_compiled_trainable_state", "_nodes_by_depth"} - found == {"_layers"}


def test_every_allowed_private_name_is_needed() -> None:
    used = {
        (file, name) for file in FILES if not file.startswith("_keras/") for name, _ in private_names(file)
    }
    assert {(file, name) for file, names in PRIVATE.items() for name in names} <= used
