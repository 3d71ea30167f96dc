"""Loading models by what a command line names: a `.keras` file, or `module:function`."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frostline._keras.layers import variables_limited
from frostline.backend_choice import choose_backend
from frostline.errors import ModelFileError, listed
from frostline.files.archive import Archive, opened_archive
from frostline.files.hdf5 import elements_of_plain_hdf5
from frostline.files.json_text import parsed_json
from frostline.files.limits import DamagedError, UnreadableError, most_elements
from frostline.files.reading import kind_of, size_of
from frostline.files.similar import similar_files
from frostline.model.foreign_models import foreign_model
from frostline.model.user_code import called, defined_in, find_function, imported, names_function

_OWN_MODULES = (
    "frostline.demo.embedding",
    "frostline.demo.transformer",
    "frostline.layers.fixed_bias_dense",
    "frostline.layers.fixed_transform",
    "frostline.layers.frozen_statistics",
    "frostline.layers.gradient_scale",
    "frostline.layers.hybrid",
    "frostline.layers.pretrained_embedding",
    "frostline.layers.stop_gradient",
    "frostline.layers.straight_through",
    "frostline.layers.trainable_tensor",
)
"""Those whose classes archives hold, as `.keras` files spell them; none of them may be moved."""


_WEIGHTS = "model.weights.h5"


def load_named_model(
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


def require_archive(path: Path) -> None:
    """Raise `ModelFileError` where a file is not there or is not a whole `.keras` archive; without Keras."""
    kind = kind_of(path)
    if kind is None:
        raise ModelFileError(
            f"there is no model {str(path)!r}",
            expected="a .keras file, or module:function",
            remedy=similar_files(path, ".keras"),
        )
    if kind == "folder":
        raise ModelFileError(f"{str(path)!r} is a folder", expected="a .keras file, or module:function")
    if path.suffix != ".keras":
        raise ModelFileError(
            f"{str(path)!r} is not a .keras file",
            expected="a file that model.save('name.keras') wrote, or module:function",
            remedy="load it in Python and save it as .keras" if path.suffix in (".h5", ".hdf5") else None,
        )
    with opened_model(path) as archive:
        if missing := sorted({"config.json", _WEIGHTS} - set(archive.names)):
            raise ModelFileError(
                f"{str(path)!r} is not a whole .keras archive",
                received=f"no {listed(missing)} in it",
                remedy="copy or save the model again",
            )
        archive.require_whole()
        for name in {"config.json", "metadata.json"} & set(archive.names):
            parsed_json(archive.read(name))


@contextmanager
def opened_model(path: Path) -> Iterator[Archive]:
    """Open a `.keras` archive to read members of it; what cannot be read is a `ModelFileError`.

    Raises:
        ModelFileError: It is not an archive, or damaged, or has a trap in it.
    """
    try:
        with opened_archive(path, ModelFileError, "model") as archive:
            yield archive
    except (DamagedError, json.JSONDecodeError) as problem:
        raise ModelFileError(
            f"{str(path)!r} is truncated or damaged: {problem}",
            received=f"{size_of(path):,} bytes",
            expected="a whole .keras archive",
            remedy="copy or save the model again",
        ) from None
    except UnreadableError as problem:
        raise ModelFileError(
            f"{str(path)!r} is not a .keras archive that can be read",
            received=f"{problem}; {size_of(path):,} bytes",
            expected="what model.save('name.keras') wrote",
            remedy="copy or save the model again",
        ) from None


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

    most = most_elements(_elements_in(path))
    _import_own_classes(path)
    with variables_limited(most) as beyond:
        try:
            # Where only weights are looked at, the saved optimizer and loss, perhaps custom, are not needed.
            model = keras.saving.load_model(
                path, safe_mode=safe_mode, custom_objects=dict(custom_objects), compile=compiled
            )
        except Exception as error:
            if not beyond:
                received, remedy = _reason(error, in_python)
                raise ModelFileError(
                    f"Keras cannot load {str(path)!r}", received=received, remedy=remedy
                ) from error
    if beyond:
        raise ModelFileError(
            f"the layers in {str(path)!r} are far larger than the weights in it",
            received=beyond[0],
            expected=f"at most {most:,} numbers in all, after those that the file holds",
            remedy="build the model in Python and load its weights, if such sizes are meant",
        )
    return model


def _elements_in(path: Path) -> int:
    """Count the weights in it; refuse those that unpack to far more than the file, or are in other files."""
    with opened_model(path) as archive, archive.member(_WEIGHTS) as weights:
        return elements_of_plain_hdf5(weights, archive.size(_WEIGHTS))


def _reason(error: Exception, in_python: bool) -> tuple[str, str]:
    """Say why Keras could not load a file, and how to fix it, from a message of many lines."""
    text = str(error).rpartition("Exception encountered: ")[2].strip()
    unknown = re.match(r"Could not locate (\w+) '([^']+)'", text)
    if unknown:
        home = re.search(r"Full object config: \{'module': '([^']+)'", text)
        known = home is not None and home[1] not in ("builtins", "__main__")
        return (
            f"the {unknown[1]} {unknown[2]!r}, which nothing that was imported defines",
            "import the module that defines it first, or give it in custom_objects"
            if in_python
            else f"name the module that defines it: --import {home[1] if home and known else 'MODULE'}"
            + (", as the file says; it runs that module's code: only if you trust both" if known else ""),
        )
    remedy = "see the chained Keras error above" if in_python else "load it in Python to see the full error"
    if "safe_mode" in text or "Lambda" in text:
        unsafe = "pass safe_mode=False" if in_python else "add --unsafe"
        remedy = f"it contains Python code: if you trust it, {unsafe}"
    sentence = text.splitlines()[0].split(". ")[0][:300] if text else ""
    return f"{type(error).__name__}: {sentence}", remedy


def _import_own_classes(path: Path) -> None:
    """Import those of Frostline's modules that an archive names, which registers their classes with Keras.

    By names that stand here, and never by one from the archive: a file must not choose what is imported.
    """
    with opened_model(path) as archive:
        config = archive.read("config.json").decode("utf-8", "replace")
    for name in _OWN_MODULES:
        if f'"{name}"' in config:
            importlib.import_module(name)


def _from_function(name: str, folder: Path) -> Any:
    import keras

    function = find_function(name, folder)
    model = called(function, name)
    if not isinstance(model, keras.Layer):
        raise ModelFileError(
            f"{name} did not return a Keras model",
            received=f"an object of type {type(model).__name__}",
            expected="a built keras.Model",
            remedy=foreign.remedy if (foreign := foreign_model(model)) else None,
        )
    return model
