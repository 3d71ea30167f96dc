"""The one guard for what Frostline reads of JAX, PyTorch and TensorFlow behind their public names.

A name that is missing in a version of a backend is said by name, and never turns a check off in silence.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from frostline.errors import UnsupportedBackendError

TRIED_ON = {"jax": ("0.10.2", "0.11.2", "0.12.0.1"), "tensorflow": ("2.21.0",), "torch": ("2.13.0",)}
"""The versions of each backend that Frostline was tried on, the one of all its tests first."""

_NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
_HERE = str(Path(__file__).parent)


def private(owner: Any, name: str) -> Any:
    """Return an attribute that the backend does not promise to keep, or say which version lacks it."""
    try:
        return getattr(owner, name)
    except AttributeError:
        raise missing(f"{_named(owner)} has no attribute {name!r}") from None


def entry(holder: Mapping[str, Any], name: str, of: str) -> Any:
    """Return an entry of a table of the backend's, or say which version lacks it.

    Args:
        holder: The table.
        name: The entry.
        of: Whose table it is.
    """
    try:
        return holder[name]
    except KeyError:
        raise missing(f"{of} has no parameter {name!r}") from None


def module(name: str) -> Any:
    """Return a module of the backend's that it does not promise to keep, or say which version lacks it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise missing(f"there is no module {name!r}") from None


def missing(what: str) -> UnsupportedBackendError:
    """Return the error that says what a version of the backend lacks."""
    backend = keras.backend.backend()
    tried = TRIED_ON.get(backend, ())
    return UnsupportedBackendError(
        what,
        received=f"{_NAMES.get(backend, backend)} {version_of(backend)}",
        expected=f"a version Frostline was tried on: {', '.join(tried) or 'none of this backend'}",
        remedy=f"pip install '{backend}=={tried[0]}'" if tried else None,
    )


@contextmanager
def failures_named() -> Iterator[None]:
    """Turn what fails in Frostline's own reading of the backend into an error that names the version.

    What is raised by the code of users, of Keras or of the backend itself is theirs, and passes.
    """
    try:
        yield
    except (AttributeError, KeyError, ImportError) as error:
        if not _raised_here(error):
            raise
        raise missing(
            f"Frostline cannot read what {_NAMES.get(keras.backend.backend(), 'the backend')} holds: "
            f"{type(error).__name__}: {error}"
        ) from error


def _raised_here(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_HERE)


def _named(owner: Any) -> str:
    return str(getattr(owner, "__name__", None) or type(owner).__name__)


def version_of(backend: str) -> str:
    """Return the version of a backend that is installed."""
    return str(getattr(importlib.import_module(backend), "__version__", "of an unknown version"))
