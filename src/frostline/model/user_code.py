"""The one gate through which code of the user's is imported and called.

Only what a command line or a run config names. Such code may do what a program may; what it must not do is
spoil the answer of the command that runs it: end it with exit code 0, leave it in another folder, silence its
warnings, or let a module of the same folder stand for one of a library's. What it prints goes to the error
stream, see `frostline.render.results`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import frostline
from frostline.errors import FrostlineError, ModelFileError, listed, near, text_of


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
    with running(f"the module {name!r} cannot be imported", folder):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.split(".")[0] and error.name != name:
                raise
    scripts = [p.stem for p in folder.glob("*.py")]
    close = near(name, scripts)
    raise ModelFileError(
        f"there is no module {name!r}",
        received=f"looked in {folder} and in the installed packages",
        remedy=f"did you mean {listed(close)}?" if close else None,
    )


def called(function: Callable[..., Any], name: str, **arguments: Any) -> Any:
    """Call a function of the user's.

    Raises:
        ModelFileError: It fails, or ends the program; says the line of its file.
    """
    with running(f"{name} failed"):
        return function(**arguments)


@contextmanager
def running(what: str, folder: Path | None = None) -> Iterator[None]:
    """Run code of the user's, and put back what it changed that others rely on.

    Args:
        what: What has happened where it fails, for the message.
        folder: Where it may import modules from before all others.

    Raises:
        ModelFileError: It fails, or ends the program.
        KeyboardInterrupt: The user stopped it.
    """
    try:
        with _put_back(), _imports_from(folder):
            yield
    except (FrostlineError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise failure(what, error) from error


def failure(what: str, error: BaseException) -> ModelFileError:
    """Return the error for code of the user's that failed; it names the line of the user's own file."""
    received = f"{type(error).__name__}: {text_of(error)}{place_in_users_code(error)}"
    if isinstance(error, Exception):
        return ModelFileError(what, received=received)
    ends = isinstance(error, SystemExit)
    return ModelFileError(
        what,
        received=received,
        expected="code that returns, or fails with an Exception",
        remedy="put what ends the program under if __name__ == '__main__':" if ends else None,
    )


def place_in_users_code(error: BaseException) -> str:
    """Name the line of the user's own file that failed, instead of a traceback; empty where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    others = ("<", str(Path(frostline.__file__).parent), sysconfig.get_path("stdlib"))
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(others)]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


_added: set[str] = set()
"""Folders that were put on Python's path here, and not by whoever started the program."""


@contextmanager
def _imports_from(folder: Path | None) -> Iterator[None]:
    """Let modules of a folder come first, as they do for a script in it; afterwards last.

    A library that imports something later must not get a file that lies beside the user's data.
    """
    entry = str(folder)
    if folder is None or (entry in sys.path and entry not in _added):
        yield
        return
    _added.add(entry)
    _move(entry, 0)
    try:
        yield
    finally:
        _move(entry, len(sys.path))


def _move(entry: str, place: int) -> None:
    while entry in sys.path:
        sys.path.remove(entry)
    sys.path.insert(place, entry)


@contextmanager
def _put_back() -> Iterator[None]:
    """Put back the folder, command line, streams, permissions, what Ctrl-C does, and which warnings show."""
    mask = os.umask(0o077)
    os.umask(mask)
    folder, words, streams = Path.cwd(), [*sys.argv], (sys.stdout, sys.stderr)
    own_thread = threading.current_thread() is threading.main_thread()
    stops = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            # Or what is written next could not be read by the user.
            os.umask(mask)
            sys.argv[:], (sys.stdout, sys.stderr) = words, streams
            if own_thread and stops is not None:
                signal.signal(signal.SIGINT, stops)
            # Somebody may have removed the folder; whoever needs a file in it will say so.
            with suppress(OSError):
                os.chdir(folder)
