"""The one gate through which code of the user's is imported and called."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import frostline
from frostline.errors import FrostlineError, ModelFileError, listed, near


def imported(names: Iterable[str], folder: Path | None = None) -> list[ModuleType]:
    """Import modules by name, installed ones or such in a folder; by default the current one.

    Raises:
        ModelFileError: There is no such module, or it cannot be imported; says why.
    """
    return [_import(name, folder or Path.cwd()) for name in names]


def defined_in(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """Return the classes and functions that modules define themselves: Keras finds registered ones only."""
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }


def names_function(name: str) -> bool:
    """Whether a model's name is `module:function` and no file."""
    return Path(name).suffix != ".keras" and ":" in name


def find_function(name: str, folder: Path, *, wanted: str = "a .keras file, or module:function") -> Any:
    """Import what `module:function` names.

    Args:
        name: The name.
        folder: Where modules are looked for besides the installed ones.
        wanted: What the name should have been, for the message.

    Raises:
        ModelFileError: There is no such module or function, or it cannot be imported; says why.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ModelFileError(f"{name!r} names no function", expected=wanted)
    module = _import(module_name, folder)
    function = getattr(module, function_name, None)
    if not callable(function):
        callables = [n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_")]
        close = near(function_name, callables)
        raise ModelFileError(
            f"the module {module_name!r} has no function {function_name!r}",
            remedy=f"did you mean {listed(f'{module_name}:{n}' for n in close)}?" if close else None,
        )
    return function


def _import(name: str, folder: Path) -> Any:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0] and error.name != name:
            raise _user_error(f"the module {name!r} cannot be imported", error) from error
        scripts = [p.stem for p in folder.glob("*.py")]
        close = near(name, scripts)
        raise ModelFileError(
            f"there is no module {name!r}",
            received=f"looked in {folder} and in the installed packages",
            remedy=f"did you mean {listed(close)}?" if close else None,
        ) from None
    except Exception as error:
        raise _user_error(f"the module {name!r} cannot be imported", error) from error


def called(function: Callable[..., Any], name: str, **arguments: Any) -> Any:
    """Call a function of the user's; where it fails, raise `ModelFileError` with the line of its file."""
    try:
        return function(**arguments)
    except FrostlineError:
        raise
    except Exception as error:
        raise _user_error(f"{name} failed", error) from error


def _user_error(what: str, error: Exception) -> ModelFileError:
    """Name the line of the user's own file that failed, instead of a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    others = ("<", str(Path(frostline.__file__).parent), sysconfig.get_path("stdlib"))
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(others)]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return ModelFileError(what, received=f"{type(error).__name__}: {error}{place}")
