"""Names of losses that are none of Keras's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline._keras.calls import user_loss
from frostline.errors import AuditError, listed, near


def require_known_losses(model: Any, loss: Any = None) -> None:
    """Raise where a loss is named, here or in `compile`, that Keras does not have.

    Args:
        model: A Keras model.
        loss: The loss in place of the compiled one.

    Raises:
        AuditError: Keras has none of that name.
    """
    for name in _names(user_loss(model) if loss is None else loss):
        try:
            keras.losses.get(name)
        except ValueError as error:
            close = near(name, _known())
            raise AuditError(
                f"Keras has no loss {name!r}",
                received=f"loss={name!r}",
                expected="the name of one of Keras's losses, or a function of targets and predictions",
                remedy=f"did you mean {listed(map(repr, close))}?" if close else "see keras.losses",
            ) from error


def _names(losses: Any) -> Iterator[str]:
    if isinstance(losses, str):
        yield losses
    elif isinstance(losses, dict):
        yield from (name for one in losses.values() for name in _names(one))
    elif isinstance(losses, list | tuple):
        yield from (name for one in losses for name in _names(one))


def _known() -> list[str]:
    names = (name for name in dir(keras.losses) if not name.startswith("_") and name not in _NO_LOSSES)
    return sorted({*names, *_SHORT})


_NO_LOSSES = ("Loss", "deserialize", "get", "serialize")
_SHORT = ("bce", "kld", "mae", "mape", "mse", "msle")
