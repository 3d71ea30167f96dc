"""The choice of Keras's backend, made before Keras is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from frostline.errors import FrostlineError, near
from frostline.files.json_text import parsed_json
from frostline.files.reading import read_text

BACKENDS = ("jax", "torch", "tensorflow")
"""In the order in which a newcomer gets them running: by the size of what has to be installed."""


def choose_backend(name: str | None = None) -> str:
    """Settle Keras's backend before Keras is imported, and return its name.

    Args:
        name: What the user asked for; else `KERAS_BACKEND`, Keras's own configuration file, or the first of
            `BACKENDS` that is installed.

    Raises:
        FrostlineError: It is unknown, not installed, or Keras already runs on another.
    """
    wanted = name or os.environ.get("KERAS_BACKEND") or _configured()
    installed = [known for known in BACKENDS if importlib.util.find_spec(known) is not None]
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
        settings = parsed_json(read_text(home / "keras.json", FrostlineError, "settings of Keras"))
    except (FrostlineError, ValueError):
        return None
    backend = settings.get("backend") if isinstance(settings, dict) else None
    # Keras writes this file by itself, with its default: what is not installed was nobody's choice.
    chosen = isinstance(backend, str) and importlib.util.find_spec(backend) is not None
    return backend if chosen else None
