"""Finding the user's line behind an operation: frames of Keras, the frameworks and Frostline do not count."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from frostline.graph.ir import Where

_LIBRARIES = (
    "frostline",
    "keras",
    "tensorflow",
    "jax",
    "jaxlib",
    "torch",
    "torchvision",
    "numpy",
    "optree",
    "wrapt",
    "absl",
    "optax",
    "flax",
)
"""Whose lines explain nothing to a user. Any other installed package may be the user's own."""

Frame = tuple[str, int, str]
"""File, line and function."""


def run_user_code(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the user's. No line above this in a stack belongs to what it computes."""
    return function(*arguments)


_ENTRY = (__file__, run_user_code.__name__)


def users_line_now() -> Where | None:
    """Return the user's line that is running now, None where only libraries run below Frostline's entry."""
    return users_line(_running())


def users_line(frames: Iterable[Frame]) -> Where | None:
    """Return the first of the user's own lines among frames, given innermost first."""
    for file, line, function in frames:
        if (file, function) == _ENTRY:
            return None
        if is_user_file(file):
            return Where(file, line, function)
    return None


def users_line_of_error(error: BaseException) -> Where | None:
    """Return the innermost of the user's own lines that an error came through."""
    frames = [
        (frame.filename, frame.lineno or 0, frame.name) for frame in traceback.extract_tb(error.__traceback__)
    ]
    return users_line(reversed(frames))


@cache
def is_user_file(file: str) -> bool:
    """Whether a file is neither of the standard library, nor of Keras, a framework or Frostline."""
    if file.startswith("<frozen ") or file == "<__array_function__ internals>":
        return False
    path = str(Path(file).resolve()) if Path(file).exists() else file
    if any(path.startswith(root) for root in _library_roots()):
        return False
    installed = ("site-packages" in path) or ("dist-packages" in path)
    return installed or not path.startswith(_standard_library())


def is_own_class(kind: type) -> bool:
    """Whether a class stands in a file of the user's, and not in an installed package."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    installed = file is not None and ("site-packages" in file or "dist-packages" in file)
    return not installed and (file is None or is_user_file(file))


def _running() -> Iterator[Frame]:
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        yield code.co_filename, frame.f_lineno, code.co_name
        frame = frame.f_back


@cache
def _library_roots() -> tuple[str, ...]:
    roots = []
    for name in _LIBRARIES:
        found = importlib.util.find_spec(name)
        for folder in (found.submodule_search_locations or ()) if found else ():
            roots.append(str(Path(folder).resolve()) + "/")
    return tuple(roots)


@cache
def _standard_library() -> str:
    return str(Path(sysconfig.get_paths()["stdlib"]).resolve()) + "/"
