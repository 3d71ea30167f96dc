"""Where code comes from: the user's own, or a package that was installed; and what it reads from outside.

The code of Python's own library, of Keras, of the backends and of this package is known by its name. All else
is looked at.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from types import CodeType
from typing import Any

from frostline.model.syntax import attributes_read, globals_read, imports_made

LIBRARIES = {
    *("keras", "tensorflow", "jax", "jaxlib", "torch", "numpy", "scipy", "ml_dtypes", "optree", "frostline"),
    *("h5py", "absl", "keras_hub", "flax", "optax", "torchvision", "sklearn", "pandas", "PIL"),
}
"""Installed packages whose functions and classes are known by their names."""

_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")


def is_library(module: str | None) -> bool:
    """Whether a module's code is known by its name."""
    top = (module or "builtins").partition(".")[0]
    return top in LIBRARIES or top in sys.stdlib_module_names


def is_own(module: str | None) -> bool:
    """Whether a module is the user's: neither a library that is known, nor any other installed package."""
    return not is_library(module) and not _INSTALLED.search(file_of(module) or "")


def attribute(value: Any, name: str) -> Any:
    """Return an attribute of an object of unknown kind, or None."""
    try:
        return getattr(value, name, None)
    except Exception:
        # A `__getattr__` of anybody's may raise anything for a name that it does not expect. Attributes are
        # asked for to tell what kind of object it is; one that fails is described as any other object.
        return None


def file_of(module: str | None) -> str | None:
    """Return the file of a module that is loaded."""
    file: str | None = attribute(sys.modules.get(module or ""), "__file__")
    return file


def own_imports(code: CodeType, package: str) -> list[tuple[str, str]]:
    """Return the user's modules that code imports when it runs, each with its file."""
    found = {}
    for name in sorted(imports_made(code, package)):
        file = None if is_library(name) else file_of(name) or _file_to_import(name)
        if file is not None and not _INSTALLED.search(file):
            found[name] = file
    return list(found.items())


def read_outside(code: CodeType, names: Mapping[str, Any]) -> list[str]:
    """Say what code reads that is not part of the program: its environment, files."""
    wanted, read = globals_read(code), attributes_read(code)
    used = [names[name] for name in wanted if name in names]
    through_os = {"environ", "getenv"} & read and any(one is os for one in used)
    found = []
    if through_os or any(one is os.environ or one is os.getenv for one in used):
        found.append("the environment variables that it reads")
    if ("open" in wanted and "open" not in names) or _READS_FILES & read:
        found.append("the files that it reads")
    return found


_READS_FILES = frozenset(
    {"read_text", "read_bytes", "loadtxt", "genfromtxt", "read_csv", "imread", "read_file"}
)
"""Methods and functions that read files, by name."""


def _file_to_import(name: str) -> str | None:
    """Return the file of a module that is not imported yet, and do not import it."""
    path: Any = None
    parts = name.split(".")
    spec = None
    for number in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: number + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations or ()
    return spec.origin if spec is not None and spec.has_location else None
