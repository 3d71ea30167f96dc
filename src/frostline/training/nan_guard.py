"""Stopping where the loss or a weight becomes NaN or infinite, and saying which batch did it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from frostline._keras.layers import whole_weight
from frostline._keras.optimizers import optimizer_chain
from frostline._keras.trainers import sync_values
from frostline._keras.variables import read_value, to_numpy
from frostline.errors import NotFiniteError, listed
from frostline.model.inventory import Weight, inventory
from frostline.training.model_callback import ModelCallback
from frostline.verification.digest import is_finite

SPOILT = "the weights are no longer usable: load the model again"
"""What to do about the weights where nothing keeps a better state of them."""


class FiniteGuard(ModelCallback):
    """Notes the first batch after which the loss is NaN or infinite, and raises at the end of that epoch.

    There it looks at the weights too: a finite loss may have an infinite derivative (a square root at zero),
    and the last step of an epoch shows in no loss. Comes before all other callbacks, so that none of them
    saves what training has spoilt. Keras makes the loss of every batch readable in any case, on JAX in a
    thread of its own; looking at it costs nothing.

    Args:
        x: What is trained on, to be searched for the cause.
        y: The targets.
        after_nan: What to do about the weights where training has spoilt them.
        each_step: Whether to look at the weights after every step, since somebody saves them then.
    """

    def __init__(self, x: Any, y: Any, *, after_nan: str = SPOILT, each_step: bool = False) -> None:
        super().__init__()
        self.async_safe = not each_step  # Keras on JAX then does not wait for every step
        self._each_step = each_step
        self._x, self._y, self._after_nan = x, y, after_nan
        self._epoch = 0
        self._bad_batch: int | None = None
        self._checked, self._last_batch = False, 0
        self._spoilt_before: frozenset[int] = frozenset()

    def on_train_begin(self, logs: Any = None) -> None:
        """Note which variables hold NaN or infinity already, as masks do: these are not looked at."""
        self._spoilt_before = frozenset(id(weight.variable) for weight in self._spoilt())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin to count anew."""
        self._epoch, self._bad_batch, self._checked, self._last_batch = epoch, None, False, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the first batch whose loss is not finite, and end the epoch there."""
        self._last_batch = max(batch, self._last_batch)
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss) or self._is_overflow(loss):
            if self._each_step:
                self._require_finite_weights(f"batch {batch + 1}")
            return
        # Batches are looked at in no certain order on JAX.
        self._bad_batch = batch if self._bad_batch is None else min(batch, self._bad_batch)
        self.trained_model.stop_training = True

    def _is_overflow(self, loss: float) -> bool:
        """Whether loss scaling takes care of it: it leaves out steps that overflow."""
        return math.isinf(loss) and len(optimizer_chain(self.trained_model.optimizer)) > 1

    def on_test_begin(self, logs: Any = None) -> None:
        """Raise before a validation that would tell nothing."""
        self._require_finite()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Raise where the loss or a weight became NaN or infinite."""
        self._require_finite()

    def _require_finite(self) -> None:
        if self._checked:
            return
        self._checked = True
        if self._bad_batch is not None:
            sync_values(self.trained_model)
            raise self._error(f"the loss of the model {self.trained_model.name!r} is", self._batches())
        self._require_finite_weights(f"batch {self._last_batch + 1}, or one before it,")

    def _require_finite_weights(self, batches: str) -> None:
        sync_values(self.trained_model)
        # A step that loss scaling leaves out changes no weight.
        spoilt = [w.address for w in self._spoilt() if id(w.variable) not in self._spoilt_before]
        if spoilt:
            what = f"the loss stayed finite, and {listed(spoilt)} in the model {self.trained_model.name!r} "
            are = "is" if len(spoilt) == 1 else "are"
            raise self._error(f"{what}{are}", batches)

    def _spoilt(self) -> list[Weight]:
        """Return the weights and statistics that a step may change and that are not finite now."""
        trained = {id(whole_weight(variable)) for variable in self.trained_model.trainable_variables}
        return [
            weight
            for weight in inventory(self.trained_model).of_role("weight", "statistic")
            if weight.role == "statistic" or id(weight.variable) in trained
            if any(not is_finite(read_value(variable)) for _, variable in weight.targets)
        ]

    def _batches(self) -> str:
        assert self._bad_batch is not None
        together = self.trained_model.steps_per_execution
        if together == 1:
            return f"batch {self._bad_batch + 1}"
        return f"one of the batches {max(self._bad_batch - together + 2, 1)} to {self._bad_batch + 1}"

    def _error(self, what: str, batches: str) -> NotFiniteError:
        causes = [*_not_finite("x", self._x), *_not_finite("y", self._y)]
        when = f"after {batches} of epoch {self._epoch + 1}"
        return NotFiniteError(
            f"{what} NaN or infinite {when}, so training was stopped there",
            received="; ".join(causes) or _unseen(self._x, self._y),
            expected="data without NaN and infinity, and steps that do not diverge",
            remedy=f"{_LEAVE_OUT if causes else _LOOK}; {self._after_nan}",
        )


_LEAVE_OUT = "correct or leave out these samples"
_LOOK = (
    "look at that batch and the one before it, whose step may have spoilt a weight, for a derivative that is "
    "infinite (sqrt or norm at 0); lower the learning rate, or set clipnorm=1.0"
)


def save_between_steps(callbacks: Sequence[Any]) -> bool:
    """Whether a callback saves the model within an epoch, as `ModelCheckpoint(save_freq=100)` does."""
    return any(isinstance(getattr(callback, "save_freq", None), int) for callback in callbacks)


def stops_already(callbacks: Sequence[Any]) -> bool:
    """Whether a callback of the user's takes care of it."""
    return any(isinstance(callback, keras.callbacks.TerminateOnNaN) for callback in callbacks)


def _not_finite(name: str, part: Any) -> Iterator[str]:
    for path, values in keras.tree.flatten_with_path(part):
        where = "/".join((name, *map(str, path)))
        bad = _bad_samples(values)
        if bad is not None and len(bad):
            what = f"{len(bad)} of {len(values)} samples"
            yield f"{where} has NaN or infinity in {what}: {listed(map(str, bad), most=5)}"


def _bad_samples(values: Any) -> Any:
    """Return the numbers of the samples that are not finite; None for what cannot be searched."""
    if keras.ops.is_tensor(values):
        values = to_numpy(values)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fV" or not values.ndim:
        return None
    finite = np.isfinite(values.astype("float32") if values.dtype.kind == "V" else values)
    return np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1))


def _unseen(*parts: Any) -> str:
    flat = [one for part in parts for one in keras.tree.flatten(part) if one is not None]
    kinds = sorted({type(one).__name__ for one in flat if _bad_samples(one) is None and not _is_exact(one)})
    return f"data as {listed(kinds)}, which cannot be searched" if kinds else "data that are all finite"


def _is_exact(values: Any) -> bool:
    """Whether these are integers or the like, which are always finite."""
    return isinstance(values, np.ndarray) and values.dtype.kind in "biuSU"
