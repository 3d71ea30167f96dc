"""Flags that a callback changes by hand while `fit` runs.

Keras ignores them on TensorFlow, obeys or raises on PyTorch, and on JAX loses values or puts them into other
layers. Here they are set back before Keras sees them, and the training stops with an error that says what to
do, on every backend alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from frostline.errors import TrainingError, listed
from frostline.trainability import apply as applying


class FlagGuard(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Comes after all other callbacks and sees whether one of them changed a flag between epochs."""

    def set_model(self, model: Any) -> None:
        """Keep the model: on JAX `self.model` writes values into it, by flags that may be wrong."""
        super().set_model(model)
        self._held = model

    def check(self) -> None:
        """Set changed flags back, and raise `TrainingError` where there were any."""
        changed = applying.put_flags_right(self._held)
        if changed:
            raise TrainingError(
                f"a callback changed trainable flags of the model {self._held.name!r} while it was trained",
                received=f"changed flags of {listed(changed)}; they are as the plan has them again",
                remedy="call frostline.apply(model, plan) in the callback, or give fit a Schedule",
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Check."""
        self.check()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Check."""
        self.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check."""
        self.check()


class StepwiseFlagGuard(FlagGuard):
    """The same between steps, for trainings whose callbacks look at steps in any case."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Check."""
        self.check()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check."""
        self.check()


def guarded(callbacks: Any) -> list[Any]:
    """Return the callbacks of a training with a guard behind them.

    Args:
        callbacks: What the user gave to `fit`: None, a callback, a list of them, or a `CallbackList`.

    Returns:
        The callbacks and the guard; nothing where there are no callbacks.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    every = [callback for callback in keras.tree.flatten(callbacks) if callback is not None]
    if not every:
        return []
    return [*every, StepwiseFlagGuard() if _look_at_steps(every) else FlagGuard()]


def _look_at_steps(callbacks: Sequence[Any]) -> bool:
    base = keras.callbacks.Callback
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    # What Keras may call from another thread, when it suits it, does not change flags.
    callbacks = [c for c in callbacks if not getattr(c, "async_safe", False)]
    # A LambdaCallback holds functions of its own in place of methods.
    methods = ((getattr(getattr(c, name), "__func__", None), name) for c in callbacks for name in names)
    return any(method is not getattr(base, name) for method, name in methods)
