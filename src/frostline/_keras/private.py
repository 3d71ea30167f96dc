"""The versions of Keras that were tried, and private attributes looked up with a clear error."""

from __future__ import annotations

from typing import Any

from frostline.errors import UnsupportedKerasError

TRIED_ON = ("3.15.1",)


def private(owner: Any, name: str) -> Any:
    """Return a private attribute, or say which version of Keras lacks it."""
    try:
        return getattr(owner, name)
    except AttributeError:
        import keras

        raise UnsupportedKerasError(
            f"{type(owner).__name__} has no attribute {name!r}",
            received=f"Keras {keras.__version__}",
            expected=f"a version Frostline was tried on: {', '.join(TRIED_ON)}",
            remedy=f"pip install 'keras=={TRIED_ON[-1]}'",
        ) from None
