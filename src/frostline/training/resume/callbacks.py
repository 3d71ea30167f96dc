"""What callbacks remember from epoch to epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.training.resume.identity import plain

Array = npt.NDArray[Any]

_REMEMBERED = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
}
"""Public attributes of Keras's callbacks that one epoch leaves for the next."""


def capture(
    callbacks: Iterable[Any], places: Mapping[str, int]
) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """Return what callbacks remember.

    Args:
        callbacks: The callbacks.
        places: Where in `model.get_weights()` the weights stand that may change in the run, by address.

    Returns:
        A record for each callback as JSON has it, and arrays by name.
    """
    records: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    for number, callback in enumerate(callbacks):
        record: dict[str, Any] = {"class": type(callback).__name__}
        if hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict"):
            record["own"] = plain(callback.state_dict())
        else:
            record["attributes"] = {name: plain(getattr(callback, name)) for name in _attributes(callback)}
            best = getattr(callback, "best_weights", None)
            if "best_epoch" in record["attributes"] and best is not None:
                record["best_weights"] = number
                arrays |= {f"{number}/{a}": np.asarray(best[place]) for a, place in places.items()}
        records.append(record)
    return records, arrays


def restore(
    callbacks: Sequence[Any],
    records: Iterable[Mapping[str, Any]],
    arrays: Mapping[str, Array],
    places: Mapping[str, int],
    weights: Sequence[Array],
) -> None:
    """Give callbacks back what they remembered: the first of a class what the first of that class did.

    Args:
        callbacks: The callbacks, after they were told that training begins.
        records: What `capture` returned.
        arrays: The same.
        places: As for `capture`.
        weights: What `model.get_weights()` returns now.
    """
    left = list(callbacks)
    for record in records:
        callback = next((c for c in left if type(c).__name__ == record["class"]), None)
        if callback is None:
            continue
        left.remove(callback)
        if "own" in record:
            callback.load_state_dict(record["own"])
        for name, value in record.get("attributes", {}).items():
            setattr(callback, name, value)
        if "best_weights" in record:
            callback.best_weights = list(weights)
            for address, place in places.items():
                callback.best_weights[place] = arrays[f"{record['best_weights']}/{address}"]


def append_to_logs(callbacks: Iterable[Any]) -> None:
    """Let loggers go on with the files that they wrote, where they would begin them anew."""
    import keras

    for callback in callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            callback.append = True


def _attributes(callback: Any) -> tuple[str, ...]:
    kinds = {kind.__name__ for kind in type(callback).__mro__ if kind.__module__.startswith("keras.")}
    return tuple(name for kind, names in _REMEMBERED.items() if kind in kinds for name in names)
