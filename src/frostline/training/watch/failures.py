"""Looks that fail: training goes on, and somebody is told what to report."""

from __future__ import annotations

import traceback
from pathlib import Path

import keras

import frostline
from frostline.backends.private import version_of
from frostline.errors import text_of
from frostline.render.foreign import warn

_HERE = str(Path(frostline.__file__).parent)


def text_of_failure(error: Exception) -> str:
    """Say in one line what an error said, and where in Frostline it came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(_HERE)]
    place = f", in {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    text = "; ".join(line.strip() for line in text_of(error).splitlines() if line.strip())
    return f"{type(error).__name__}: {text[:500]}{place}"


def warn_of(what: str) -> None:
    """Warn that something was not looked at, with what a report of it needs."""
    backend = keras.backend.backend()
    warn(
        f"the training is not watched any more in part: {what}. It goes on undisturbed. Please report this "
        f"line with the program: Frostline {frostline.__version__}, Keras {keras.__version__}, {backend} "
        f"{version_of(backend)}",
        stacklevel=3,
    )
