"""Keeping NaN out of best weights and checkpoints where a training goes on with it, as its user asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from frostline._keras.methods import replace_method, restore_method
from frostline.errors import listed
from frostline.render.foreign import warn
from frostline.training.finite_state import FiniteState
from frostline.training.model_callback import ModelCallback

_BY = ""


def keeps_values(callbacks: Iterable[Any]) -> bool:
    """Whether one of the callbacks keeps values of weights, in memory or in a file."""
    kinds = (keras.callbacks.ModelCheckpoint, keras.callbacks.EarlyStopping)
    return any(isinstance(callback, kinds) for callback in callbacks)


class GoodValues(ModelCallback):
    """Lets no `ModelCheckpoint` write and no `EarlyStopping` remember weights that became NaN or infinite.

    For trainings that do not stop there; comes before the callbacks concerned. What they kept before stays.

    Args:
        state: Knows what was finite at the start.
        callbacks: All callbacks.
    """

    def __init__(self, state: FiniteState, callbacks: Sequence[Any]) -> None:
        super().__init__()
        self._state, self._callbacks = state, tuple(callbacks)
        self._told = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to stand between the callbacks and the weights."""
        self._state.note_start()
        for callback in self._callbacks:
            if isinstance(callback, keras.callbacks.ModelCheckpoint):
                replace_method(callback, "on_epoch_end", self._unless_spoilt, by=_BY)
                if isinstance(callback.save_freq, int):
                    replace_method(callback, "on_train_batch_end", self._unless_spoilt, by=_BY)
            elif isinstance(callback, keras.callbacks.EarlyStopping) and callback.restore_best_weights:
                replace_method(callback, "on_epoch_end", self._never_the_best(callback), by=_BY)

    def on_phase_begin(self, phase: Any) -> None:
        """Note what begins to train."""
        self._state.note_start()

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the callbacks as they were."""
        for callback in self._callbacks:
            for name in ("on_epoch_end", "on_train_batch_end"):
                restore_method(callback, name, by=_BY)

    def _unless_spoilt(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(number: int, logs: Any = None) -> Any:
            return None if self._is_spoilt() else original(number, logs)

        return call

    def _never_the_best(self, callback: Any) -> Callable[..., Any]:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(epoch: int, logs: Any = None) -> Any:
                if not self._is_spoilt():
                    return original(epoch, logs)
                if callback.best_weights is None:
                    return None  # it would take the first that it sees
                # An epoch without improvement: patience counts on.
                return original(epoch, {**(logs or {}), callback.monitor: math.nan})

            return call

        return make

    def _is_spoilt(self) -> bool:
        spoilt = self._state.spoilt()
        if spoilt and not self._told:
            self._told = True
            warn(
                f"{listed(spoilt)} became NaN or infinite: from here on no checkpoint and no best weights "
                "are kept; those from before stay",
                stacklevel=2,
            )
        return bool(spoilt)
