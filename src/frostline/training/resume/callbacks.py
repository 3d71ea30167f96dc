"""What callbacks remember from epoch to epoch, and the callback that writes it down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from frostline.files.tensor_file import Array
from frostline.training.model_callback import ModelCallback
from frostline.training.resume.identity import plain

_REMEMBERED = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
}
"""Public attributes of Keras's callbacks that one epoch leaves for the next."""


class CheckpointCallback(ModelCallback):
    """Comes after all other callbacks of a training, so that what it sees is where an epoch ended.

    Args:
        begin: Called when all other callbacks know that training begins.
        record: Called with the index of the epoch that comes next, and whether training stops before it.
    """

    def __init__(self, begin: Callable[[], None], record: Callable[[int, bool], None]) -> None:
        super().__init__()
        self._begin = begin
        self._record = record

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record."""
        self._record(epoch + 1, bool(self.trained_model.stop_training))


@dataclass(frozen=True, slots=True)
class CallbackStates:
    """The callbacks of a run whose states its checkpoints hold.

    Attributes:
        callbacks: The user's and Frostline's.
        history: The `keras.callbacks.History` of the run: the first among them, else one beside them.
    """

    callbacks: tuple[Any, ...]
    history: Any

    @classmethod
    def of(cls, callbacks: Iterable[Any]) -> CallbackStates:
        """Return the states of callbacks."""
        callbacks = tuple(callbacks)
        given = (c for c in callbacks if isinstance(c, keras.callbacks.History))
        return cls(callbacks, next(given, None) or keras.callbacks.History())

    @property
    def with_history(self) -> list[Any]:
        """The callbacks, the history among them."""
        among = any(callback is self.history for callback in self.callbacks)
        return [*self.callbacks] if among else [*self.callbacks, self.history]

    def capture(self, places: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what callbacks remember.

        Args:
            places: Where in `model.get_weights()` the weights stand that may change in the run, by address.

        Returns:
            The history and a record for each callback as JSON has it, and arrays by name.
        """
        records: list[dict[str, Any]] = []
        arrays: dict[str, Array] = {}
        for number, callback in enumerate(self.callbacks):
            record: dict[str, Any] = {"class": type(callback).__name__}
            if hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict"):
                record["own"] = plain(callback.state_dict())
            else:
                record["attributes"] = {
                    name: plain(getattr(callback, name)) for name in _attributes(callback)
                }
                best = getattr(callback, "best_weights", None)
                if "best_epoch" in record["attributes"] and best is not None:
                    record["best_weights"] = number
                    arrays |= {f"{number}/{a}": np.asarray(best[place]) for a, place in places.items()}
            records.append(record)
        history = self.history
        state = {
            "history": plain(history.history),
            # Keras makes the list when training begins.
            "epochs": list(getattr(history, "epoch", ())),
            "callbacks": records,
        }
        return state, arrays

    def restore_history(self, state: Mapping[str, Any]) -> None:
        """Give the history back what `capture` saw of it."""
        self.history.history = {name: list(values) for name, values in state["history"].items()}
        self.history.epoch = list(state["epochs"])

    def restore(
        self,
        state: Mapping[str, Any],
        arrays: Mapping[str, Array],
        places: Mapping[str, int],
        weights: Sequence[Array],
    ) -> None:
        """Give history and callbacks back what they remembered, once they know that training begins.

        Args:
            state: What `capture` returned.
            arrays: The same.
            places: As for `capture`.
            weights: What `model.get_weights()` returns now.
        """
        self.restore_history(state)
        for record, callback in self._of_records(state["callbacks"]):
            if "own" in record:
                callback.load_state_dict(record["own"])
            for name, value in record.get("attributes", {}).items():
                setattr(callback, name, value)
            if "best_weights" in record:
                callback.best_weights = list(weights)
                for address, place in places.items():
                    callback.best_weights[place] = arrays[f"{record['best_weights']}/{address}"]

    def append_to_logs(self) -> None:
        """Let loggers go on with the files that they wrote, where they would begin them anew."""
        for callback in self.callbacks:
            if isinstance(callback, keras.callbacks.CSVLogger):
                callback.append = True

    def _of_records(self, records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Any]]:
        """Yield each record with its callback: the first of a class has what the first of that class left."""
        left = list(self.callbacks)
        for record in records:
            callback = next((c for c in left if type(c).__name__ == record["class"]), None)
            if callback is not None:
                left.remove(callback)
                yield record, callback


def _attributes(callback: Any) -> tuple[str, ...]:
    kinds = {kind.__name__ for kind in type(callback).__mro__ if kind.__module__.startswith("keras.")}
    return tuple(name for kind, names in _REMEMBERED.items() if kind in kinds for name in names)
