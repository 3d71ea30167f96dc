"""The choice of Keras's backend, made before Keras is imported."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from importlib.machinery import NamespaceLoader
from pathlib import Path

from frostline.errors import FrostlineError, MissingBackendError, near
from frostline.files.json_text import parsed_json
from frostline.files.reading import read_text

BACKENDS = ("jax", "torch", "tensorflow")
"""In the order in which a newcomer gets them running: by the size of what has to be installed."""

log = logging.getLogger("frostline")


def choose_backend(name: str | None = None) -> str:
    """Settle Keras's backend before Keras is imported, and return its name.

    Args:
        name: What the user asked for; else `KERAS_BACKEND`, Keras's own configuration file, or the first of
            `BACKENDS` that is installed.

    Raises:
        FrostlineError: It is unknown, not installed, or Keras already runs on another.
    """
    wanted = name or os.environ.get("KERAS_BACKEND") or _choice_of_keras()
    installed = _installed()
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
        raise _not_installed(wanted)
    if "keras" in sys.modules:
        import keras

        if keras.backend.backend() != wanted:
            raise FrostlineError(
                f"Keras already runs on {keras.backend.backend()}",
                received=f"the backend {wanted!r}",
                remedy="set KERAS_BACKEND before Python starts",
            )
    return _set(wanted)


def settle_backend() -> str | None:
    """Where Keras would take a backend that is not installed, and nobody asked for it, choose one that is.

    What stands in `KERAS_BACKEND` stays, and so does what Keras takes by itself, wherever that is there: the
    backend of its configuration file, else TensorFlow.

    Returns:
        What was chosen here; None where the choice was made already.

    Raises:
        MissingBackendError: None is installed, or not the one in `KERAS_BACKEND`.
    """
    if asked := os.environ.get("KERAS_BACKEND"):
        if asked in BACKENDS and not _is_installed(asked):
            raise _not_installed(asked)
        return None
    if _choice_of_keras() is not None:
        return None
    installed = _installed()
    if not installed:
        raise _not_installed(None)
    return _set(installed[0])


def tell(chosen: str) -> None:
    """Say once which backend Keras runs on, where nobody but Frostline chose it."""
    among = _installed()
    which = f"the first of those installed ({', '.join(among)})" if len(among) > 1 else "the one installed"
    log.warning(
        "no backend was chosen for Keras, so it runs on %s, %s; KERAS_BACKEND=%s keeps that choice",
        *(chosen, which, chosen),
    )


def missing_backend(problem: ModuleNotFoundError, *, again: bool) -> MissingBackendError | None:
    """Return the error that says why Keras could not be imported; None where that was not a missing backend.

    Args:
        problem: What its import ended in.
        again: Whether an earlier import of Keras had failed, and left behind which backend it looked for.
    """
    if problem.name not in BACKENDS or _is_installed(problem.name):
        return None
    if not again:
        return _not_installed(problem.name)
    return MissingBackendError(
        f"Keras was imported before Frostline, looked for {problem.name!r}, and does not choose again",
        received=f"installed: {', '.join(_installed()) or 'none'}",
        remedy="start Python again, and import frostline before keras, or set KERAS_BACKEND before both",
    )


def _set(backend: str) -> str:
    os.environ["KERAS_BACKEND"] = backend
    if backend == "tensorflow":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return backend


def _installed() -> list[str]:
    return [known for known in BACKENDS if _is_installed(known)]


def _is_installed(name: str) -> bool:
    """Whether a package is there; a folder without code in it, such as uninstalling leaves, is not one."""
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except ImportError:
        return False
    except ValueError:
        return name in sys.modules  # made by hand, as stand-ins in tests are
    return spec is not None and not isinstance(spec.loader, NamespaceLoader | None)


def _not_installed(wanted: str | None) -> MissingBackendError:
    installed = _installed()
    instead = f", or set KERAS_BACKEND={installed[0]}" if installed else ""
    return MissingBackendError(
        f"the backend {wanted!r} is not installed" if wanted else "no backend of Keras is installed",
        received=f"installed: {', '.join(installed) or 'none'}",
        expected=f"one of {', '.join(BACKENDS)}",
        remedy=f"pip install 'frostline[{wanted or 'jax'}]'{instead}",
    )


def _choice_of_keras() -> str | None:
    """Return what Keras runs on when it is told nothing; None where that is not installed."""
    try:
        text = read_text(_settings_file(), FrostlineError, "settings of Keras")
        settings = parsed_json(text, keys_once=False)  # as Keras reads it
    except (FrostlineError, ValueError):
        settings = None
    backend = settings.get("backend") if isinstance(settings, dict) else None
    # Keras writes this file by itself, with its default: where that is not installed, it was nobody's choice.
    chosen = backend if isinstance(backend, str) else "tensorflow"
    return chosen if _is_installed(chosen) else None


def _settings_file() -> Path:
    """Where Keras looks for its settings."""
    # As Keras does it; `Path.home` raises where there is none.
    home = os.path.expanduser("~")  # noqa: PTH111
    own = Path(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME", own)), "keras.json")  # noqa: PTH111
