"""Ways in beside the gates: what opens a file, runs code or writes to a terminal anywhere else.

    python tests/helpers/ways_in.py

Files are read in `frostline.files`, the user's code runs in `frostline.model.user_code`, text reaches a
terminal by `frostline.render` and the command line. Ruff forbids functions of modules (`banned-api` in
`pyproject.toml`) and `print`; methods and builtins, which it does not follow, are found here.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src" / "frostline"

CALLS = {"open", "exec", "eval", "compile", "__import__", "print", "input", "breakpoint"}
"""Builtins."""
METHODS = {
    *("open", "fdopen", "read_text", "read_bytes", "update_mmap", "mmap", "memmap"),
    *("load_file", "load_all", "safe_load", "full_load", "unsafe_load", "fromfile", "loadtxt", "genfromtxt"),
    *("imread", "load_weights", "load_img"),
    *("NpzFile", "DataSource", "JSONDecoder", "raw_decode", "get_data", "get_single_data"),
    *("read_csv", "read_pickle", "read_file", "GFile", "load_checkpoint", "unpack_archive"),
    *("model_from_json", "get_file", "image_dataset_from_directory"),
    *(
        "execv",
        "execve",
        "execvp",
        "execvpe",
        "execl",
        "execlp",
        "spawnl",
        "spawnv",
        "posix_spawn",
        "startfile",
    ),
    *("create_subprocess_exec", "create_subprocess_shell", "resolve_name"),
    *("import_module", "run_path", "run_module", "exec_module", "load_module", "system", "popen", "Popen"),
}
"""Of whatever they are called on: who reads `x.load(y)` need not know what `x` is."""
LOADS = {"load", "loads", "load_model"}
LIBRARIES = {
    *("np", "numpy", "json", "yaml", "torch", "tf", "jnp", "keras", "safetensors", "saving", "models"),
    *("jit", "hub", "saved_model", "builtins", "rich"),
}
"""Whose `load`, `loads` and `load_model` read files; others of these names are Frostline's own."""
MODULES = {
    *(
        "pickle",
        "marshal",
        "shelve",
        "dill",
        "cloudpickle",
        "joblib",
        "runpy",
        "code",
        "ctypes",
        "subprocess",
    ),
    *(
        "zipfile",
        "tarfile",
        "gzip",
        "bz2",
        "lzma",
        "h5py",
        "mmap",
        *("multiprocessing", "pydoc", "fileinput", "zipimport", "plistlib", "dbm", "pty", "cffi"),
        *("urllib", "requests", "httpx", "socket", "http", "ftplib", "pandas", "orjson", "ruamel", "toml"),
        "sqlite3",
        "csv",
        "zlib",
        "xml",
        "tomllib",
        "configparser",
    ),
}

STREAMS = {"stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"}
"""What is written to them goes by `frostline.render`, what is read from them by `frostline.files`."""

GATES = {
    "files/": "the gate for files",
    "model/user_code.py": "the gate for the user's code",
    "demo/": "reads data and models of packages that were installed, whose versions are pinned",
}
ALLOWED = {
    "before_keras.py": {"exec_module": "of Keras, by the loader that Python found for it"},
    "model/loading.py": {
        "load_model": "Keras's own, of an archive that the gate has looked over",
        "import_module": "of names that stand in a table here",
    },
    "runs/run_log.py": {
        "open": "to append to the log of a run that has its folder for itself",
    },
    "render/documents.py": {"csv": "to write"},
    "runs/guess.py": {"csv": "to split one line that the gate has read"},
    "data/csv_table.py": {"csv": "to split lines that the gate has read"},
    "parametrization/arguments.py": {
        "zlib": "to pack a mask into a plan, and to unpack no more than its shape"
    },
    "cli/ending.py": {"stderr": "the last words of a process, once rendered"},
    "model/syntax.py": {
        "compile": "code that was loaded already, to find its place in its file; it is not run"
    },
    "saving/model_file.py": {"zipfile": "to add members to an archive that Keras has just written"},
    "training/resume/checkpoint.py": {"open": "of a folder, to bring the names in it to the disk"},
    "plan/matching.py": {"subprocess": "this Python, to match a pattern that may have to be ended"},
    "render/results.py": {"open": "of the output that the process has, under another number"},
    "backends/dispatch.py": {"import_module": "of a backend, by a name that stands in a table"},
    "backends/private.py": {"import_module": "of a part of a backend that stands in the code"},
    "diagnostics/rules/__init__.py": {"import_module": "of the rules beside it"},
    "diagnostics/training_rules/__init__.py": {"import_module": "of the rules beside it"},
}
"""By file, the names that it may use all the same, and why."""


def ways_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of whatever opens, loads, runs or prints in some code."""
    tree = ast.parse(source)
    own = {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}
    own |= {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for used in (node.func, *node.args, *(one.value for one in node.keywords)):
                # Handed on, it opens as well: `map(Path.read_text, paths)`, `read = open`.
                yield from _named(used, set() if used is node.func else own)
            yield from _by_name(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.Return) and node.value:
            yield from _named(node.value, own)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            strange = {name.split(".")[0] for name in names} & MODULES
            if isinstance(node, ast.ImportFrom) and not names[0].startswith("frostline"):
                strange |= {alias.name for alias in node.names} & (METHODS | LOADS | STREAMS | {"open"})
            yield from ((node.lineno, name) for name in sorted(strange))


def _named(used: ast.expr, own: set[str]) -> Iterator[tuple[int, str]]:
    """Yield a way in that an expression is; names of the code's own are none."""
    if isinstance(used, ast.Name) and used.id in CALLS - own:
        yield used.lineno, used.id
    elif isinstance(used, ast.Attribute) and (
        used.attr in METHODS or (used.attr in (LOADS | CALLS) and _is_library(used.value))
    ):
        yield used.lineno, used.attr
    elif isinstance(used, ast.Attribute) and (stream := _stream(used.value)):
        yield used.lineno, stream


def _by_name(call: ast.Call) -> Iterator[tuple[int, str]]:
    """Yield what `getattr` gets by a name that stands in the code."""
    if isinstance(call.func, ast.Name) and call.func.id == "getattr" and len(call.args) > 1:
        name = call.args[1]
        if isinstance(name, ast.Constant) and name.value in METHODS | LOADS | CALLS:
            yield call.lineno, str(name.value)


def _is_library(owner: ast.expr) -> bool:
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return name in LIBRARIES


def _stream(owner: ast.expr) -> str | None:
    """Return which stream of the process something is a part of: `sys.stdout.buffer` of `stdout`."""
    if not isinstance(owner, ast.Attribute):
        return None
    of_sys = isinstance(owner.value, ast.Name) and owner.value.id == "sys"
    return owner.attr if of_sys and owner.attr in STREAMS else _stream(owner.value)


def found(root: Path = ROOT) -> Iterator[tuple[str, int, str]]:
    """Yield the file, the line and the name of every way in outside of the gates."""
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root).as_posix()
        if not file.startswith(tuple(GATES)):
            for line, name in ways_in(path.read_text(encoding="utf-8")):
                yield file, line, name


def complaints() -> list[str]:
    """Say what is not allowed, and what is allowed and not there."""
    every = list(found())
    wrong = [
        f"src/frostline/{file}:{line}: {name} outside of the gates: frostline.files, model/user_code, render"
        for file, line, name in every
        if name not in ALLOWED.get(file, {})
    ]
    used = {(file, name) for file, _, name in every}
    stale = [(file, name) for file, names in ALLOWED.items() for name in names if (file, name) not in used]
    return wrong + [
        f"{file} does not use {name}: take it out of {Path(__file__).name}" for file, name in stale
    ]


if __name__ == "__main__":
    said = complaints()
    sys.stdout.writelines(f"{line}\n" for line in said)
    sys.exit(bool(said))
