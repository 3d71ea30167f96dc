"""Stopping where the loss or a weight becomes NaN or infinite, and saying which batch did it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from frostline._keras.optimizers import optimizer_chain
from frostline._keras.trainers import reader_of_steps, sync_values
from frostline._keras.variables import to_numpy
from frostline.backends.dispatch import finite_check
from frostline.errors import NotFiniteError, listed
from frostline.training.finite_state import FiniteState
from frostline.training.model_callback import ModelCallback

SPOILT = "the weights are no longer usable: load the model again"
"""What to do about the weights where nothing keeps a better state of them."""


class FiniteGuard(ModelCallback):
    """Notes the first step after which the loss or a weight is NaN or infinite, and raises at the end of it.

    A finite loss may have an infinite derivative (a square root at zero), whose step spoils the weights.
    After each step the device says whether what moves is finite, which is read at the end of an epoch and
    every `_READ_EVERY` steps. At the end of an epoch, slots of the optimizer are looked at too.

    Comes before all other callbacks, so that none of them saves what training has spoilt. Keras makes the
    loss of every batch readable in any case, on JAX in a thread of its own; looking at it costs nothing.

    Args:
        x: What is trained on, to be searched for the cause.
        y: The targets.
        state: Knows what was finite at the start.
        after_nan: What to do about the weights where training has spoilt them.
        each_step: Whether to read after every step, since somebody saves the weights then.
        operation: Names the operation whose derivative was not finite, given the number of the batch from 0;
            None while nobody can.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        state: FiniteState,
        *,
        after_nan: str = SPOILT,
        each_step: bool = False,
        operation: Callable[[int], str | None] | None = None,
    ) -> None:
        super().__init__()
        self.async_safe = not each_step  # Keras on JAX then does not wait for every step
        self._each_step = each_step
        self._x, self._y, self._after_nan = x, y, after_nan
        self._state, self._operation = state, operation
        self._epoch = 0
        self._bad_batch: int | None = None
        self._checked, self._last_batch = False, 0
        self._flags: list[Any] = []
        self._steps = 0  # executions of the training function in this epoch
        self._bad_step: int | None = None
        self._unseen_steps = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Note what holds NaN or infinity already, as masks do: these elements are not looked at."""
        self._state.note_start()

    def on_phase_begin(self, phase: Any) -> None:
        """Note the same of what begins to train."""
        self._state.note_start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin to count anew."""
        self._epoch, self._bad_batch, self._checked, self._last_batch = epoch, None, False, 0
        self._flags, self._steps, self._bad_step, self._unseen_steps = [], 0, None, False

    def begin_steps(self) -> Callable[[Any], None]:
        """Return what is called with the result of each step: it asks the device, and does not wait."""
        read: Any = None
        check = finite_check()

        def look(result: Any) -> None:
            nonlocal read
            read = read or reader_of_steps(self.trained_model, self._state.watched())
            values = read(result)
            if values:
                self._flags.append(check.all_finite(values))
            self._unseen_steps |= values is None
            self._steps += 1
            if len(self._flags) >= _READ_EVERY:
                self._read_flags()

        return look

    def _read_flags(self) -> None:
        """Wait for what the device said of the last steps; the first that spoilt something ends the epoch."""
        finite, first = finite_check().read(self._flags), self._steps - len(self._flags)
        self._flags = []
        if self._bad_step is None and not all(finite):
            self._bad_step = first + finite.index(False)
            self.trained_model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the first batch whose loss is not finite, and end the epoch there."""
        self._last_batch = max(batch, self._last_batch)
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss) or self._is_overflow(loss):
            if self._each_step:
                self._require_finite_steps()
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
        self._require_finite_steps()
        if self._bad_batch is not None:
            sync_values(self.trained_model)
            raise self._error(f"the loss of the model {self.trained_model.name!r} is", self._batches())
        if spoilt := self._state.spoilt():
            raise self._spoilt_error(spoilt, f"batch {self._last_batch + 1}, or one before it,")

    def _require_finite_steps(self) -> None:
        """Raise where a step has spoilt what was finite, before a loss showed it."""
        self._read_flags()
        if self._bad_step is None:
            return
        together = self.trained_model.steps_per_execution
        last = (self._bad_step + 1) * together - 1
        if self._bad_batch is not None and self._bad_batch <= last:
            return
        first, last = self._bad_step * together, min(last, max(self._last_batch, self._bad_step * together))
        named = f"batch {last + 1}" if first == last else f"one of the batches {first + 1} to {last + 1}"
        raise self._spoilt_error(self._state.spoilt(), named, last)

    def _spoilt_error(self, spoilt: Sequence[str], batches: str, batch: int | None = None) -> NotFiniteError:
        name = self.trained_model.name
        what = f"the loss stayed finite, and {listed(spoilt) or 'a weight'} in the model {name!r} "
        are = "are" if len(spoilt) > 1 else "is"
        operation = self._operation(batch) if self._operation is not None and batch is not None else None
        return self._error(f"{what}{are}", batches, operation, seen=batch is not None)

    def _batches(self) -> str:
        assert self._bad_batch is not None
        together = self.trained_model.steps_per_execution
        if together == 1:
            return f"batch {self._bad_batch + 1}"
        return f"one of the batches {max(self._bad_batch - together + 2, 1)} to {self._bad_batch + 1}"

    def _error(
        self, what: str, batches: str, operation: str | None = None, *, seen: bool = False
    ) -> NotFiniteError:
        causes = [*([operation] if operation else []), *_not_finite("x", self._x), *_not_finite("y", self._y)]
        when = f"after {batches} of epoch {self._epoch + 1}"
        return NotFiniteError(
            f"{what} NaN or infinite {when}, so training was stopped there",
            received="; ".join(causes) or _unseen(self._x, self._y),
            expected="data without NaN and infinity"
            if causes
            else f"{'finite gradients, and ' if seen else ''}steps that do not diverge",
            remedy=f"{_LEAVE_OUT if causes else _LOOK_THERE if seen else _LOOK}; {self._after_nan}",
        )


_LEAVE_OUT = "correct or leave out these samples"
_READ_EVERY = 100
"""Steps between two looks at what the device says: each waits for it."""

# A finite loss with weights that are not: its derivative is the likelier cause.
_LOOK_THERE = (
    "look at that batch for a derivative that is infinite (sqrt or norm at 0): fl.audit of the model before "
    "it names the operation; where there is none, lower the learning rate, or set clipnorm=1.0"
)
_LOOK = (
    "lower the learning rate, or set clipnorm=1.0; where that does not help, look at that batch and the one "
    "before it, whose step may have spoilt a weight, for a derivative that is infinite (sqrt or norm at 0)"
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
