"""Loading models by what a command line names: a `.keras` file, or `module:function`."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
import sysconfig
import traceback
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import frostline
from frostline.errors import FrostlineError, ModelFileError, listed, near

BACKENDS = ("jax", "torch", "tensorflow")
"""In the order in which a newcomer gets them running: by the size of what has to be installed."""


def choose_backend(asked: str | None = None) -> str:
    """Settle Keras's backend before Keras is imported, and return its name.

    Args:
        asked: What the user asked for; else `KERAS_BACKEND`, Keras's own configuration file, or the first of
            `BACKENDS` that is installed.

    Raises:
        FrostlineError: It is unknown, not installed, or Keras already runs on another.
    """
    wanted = asked or os.environ.get("KERAS_BACKEND") or _configured()
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if wanted is None and installed:
        wanted = installed[0]
    if wanted is not None and wanted not in BACKENDS:
        close = near(wanted, BACKENDS, most=1)
        raise FrostlineError(
            f"Keras has no backend {wanted!r}",
            expected=f"one of {', '.join(BACKENDS)}",
            remedy=f"did you mean {close[0]}?" if close else None,
        )
    if wanted not in installed:
        raise FrostlineError(
            f"the backend {wanted!r} is not installed" if wanted else "no backend of Keras is installed",
            received=f"installed: {', '.join(installed) or 'none'}",
            expected=f"one of {', '.join(BACKENDS)}",
            remedy=f"pip install 'frostline[{wanted or 'jax'}]'",
        )
    if "keras" in sys.modules:
        import keras

        if keras.backend.backend() != wanted:
            raise FrostlineError(
                f"Keras already runs on {keras.backend.backend()}",
                received=f"the backend {wanted!r}",
                remedy="set KERAS_BACKEND before Python starts",
            )
    os.environ["KERAS_BACKEND"] = wanted
    if wanted == "tensorflow":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return wanted


def _configured() -> str | None:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        settings = json.loads((home / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    backend = settings.get("backend") if isinstance(settings, dict) else None
    # Keras writes this file by itself, with its default: what is not installed was nobody's choice.
    chosen = isinstance(backend, str) and importlib.util.find_spec(backend) is not None
    return backend if chosen else None


def load_model(
    name: str,
    *,
    backend: str | None = None,
    imports: Iterable[str] = (),
    safe_mode: bool = True,
    folder: Path | None = None,
    compiled: bool = False,
) -> Any:
    """Load a model.

    Args:
        name: Path of a `.keras` file, or `module:function`; the function is called without arguments.
        backend: Keras backend to use.
        imports: Modules to import first, for custom layers.
        safe_mode: Whether to refuse `.keras` files that contain Python code.
        folder: Where modules are looked for besides the installed ones; without it, the current folder.
        compiled: Whether the model comes with the optimizer and loss in its file.

    Returns:
        A `keras.Model`.

    Raises:
        FrostlineError: The backend is not there.
        ModelFileError: There is no such model, or it cannot be loaded; says why and what to do.
    """
    by_function = names_function(name)
    path = Path(name)
    if not by_function:
        require_archive(path)
    choose_backend(backend)
    folder = folder or Path.cwd()
    modules = imported(imports, folder)
    if by_function:
        return _from_function(name, folder)
    return load_archive(path, safe_mode=safe_mode, custom_objects=defined_in(modules), compiled=compiled)


def imported(names: Iterable[str], folder: Path | None = None) -> list[ModuleType]:
    """Import modules by name, installed ones or such in a folder; by default the current one.

    Raises:
        ModelFileError: There is no such module, or it cannot be imported; says why.
    """
    return [_import(name, folder or Path.cwd()) for name in names]


def names_function(name: str) -> bool:
    """Whether a model's name is `module:function` and no file."""
    return Path(name).suffix != ".keras" and ":" in name


def require_archive(path: Path) -> None:
    """Raise `ModelFileError` where a file is not there or is no whole `.keras` archive; without Keras."""
    if not path.exists():
        beside = (
            sorted(p.name for p in path.parent.glob("*.keras") if p.is_file()) if path.parent.is_dir() else []
        )
        close = near(path.name, beside) or beside[:3]
        raise ModelFileError(
            f"there is no model {str(path)!r}",
            expected="a .keras file, or module:function",
            remedy=f"in {str(path.parent)!r} there is {listed(close)}" if close else None,
        )
    if path.is_dir():
        raise ModelFileError(f"{str(path)!r} is a folder", expected="a .keras file, or module:function")
    if path.suffix != ".keras":
        raise ModelFileError(
            f"{str(path)!r} is not a .keras file",
            expected="a file that model.save('name.keras') wrote, or module:function",
            remedy="load it in Python and save it as .keras" if path.suffix in (".h5", ".hdf5") else None,
        )
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelFileError(
            f"{str(path)!r} is truncated or damaged: {error}",
            received=f"{path.stat().st_size:,} bytes" if path.is_file() else "a folder",
            expected="a whole .keras archive",
            remedy="copy or save the model again",
        ) from None
    missing = {"config.json", "model.weights.h5"} - names
    if damaged or missing:
        raise ModelFileError(
            f"{str(path)!r} is not a whole .keras archive",
            received=f"a damaged member {damaged!r}" if damaged else f"no {listed(sorted(missing))} in it",
            remedy="copy or save the model again",
        )


def load_archive(
    path: Path,
    *,
    safe_mode: bool,
    custom_objects: Mapping[str, Any],
    compiled: bool,
    in_python: bool = False,
) -> Any:
    """Load a `.keras` file as Keras does; the settings are those of `keras.saving.load_model`.

    Args:
        path: The file, which is known to be a whole archive.
        safe_mode: Whether to refuse Python code in it.
        custom_objects: Classes and functions by name, where Keras does not know them.
        compiled: Whether it comes with the optimizer and loss in it.
        in_python: Whether the caller mends it in Python, and not on a command line.

    Raises:
        ModelFileError: Keras cannot load it; says why.
    """
    import keras

    text = _config_text(path)
    if "frostline.demo" in text:
        importlib.import_module("frostline.demo.encoder")
    if "frostline.layers" in text:
        importlib.import_module("frostline.layers")
    try:
        # Where only weights are looked at, the saved optimizer and loss, perhaps custom, are not needed.
        return keras.saving.load_model(
            path, safe_mode=safe_mode, custom_objects=dict(custom_objects), compile=compiled
        )
    except Exception as error:
        received, remedy = _reason(error, in_python)
        raise ModelFileError(f"Keras cannot load {str(path)!r}", received=received, remedy=remedy) from error


def defined_in(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """Return the classes and functions that modules define themselves: Keras finds registered ones only."""
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }


def _reason(error: Exception, in_python: bool) -> tuple[str, str]:
    """Say why Keras could not load a file, and how to mend it, from a message of many lines."""
    text = str(error).rpartition("Exception encountered: ")[2].strip()
    unknown = re.match(r"Could not locate (\w+) '([^']+)'", text)
    if unknown:
        home = re.search(r"Full object config: \{'module': '([^']+)'", text)
        known = home is not None and home[1] not in ("builtins", "__main__")
        return (
            f"the {unknown[1]} {unknown[2]!r}, which nothing that was imported defines",
            "import the module that defines it first, or give it in custom_objects"
            if in_python
            else f"name the module that defines it: --import {home[1] if home and known else 'MODULE'}",
        )
    remedy = "the whole error is its cause" if in_python else "load it in Python to see the whole error"
    if "safe_mode" in text or "Lambda" in text:
        unsafe = "pass safe_mode=False" if in_python else "add --unsafe"
        remedy = f"it contains Python code: if you trust it, {unsafe}"
    sentence = text.splitlines()[0].split(". ")[0][:300] if text else ""
    return f"{type(error).__name__}: {sentence}", remedy


def _config_text(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode("utf-8", "replace")


def _from_function(name: str, folder: Path) -> Any:
    import keras

    function = find_function(name, folder)
    model = called(function, name)
    if not isinstance(model, keras.Layer):
        raise ModelFileError(
            f"{name} did not return a Keras model",
            received=f"an object of type {type(model).__name__}",
            expected="a built keras.Model",
        )
    return model


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
