"""Bringing a source of data to where an interrupted run left it: by reading it again, without training.

`model.fit` itself reads, so that shuffles, prefetching, hooks of a `PyDataset` and batches that an epoch left
for the next are exactly as in the first run. The steps do nothing, and callbacks hear of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from frostline._keras.methods import replace_method, restore_method


def must_be_read_again(x: Any, y: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether the data that an epoch sees depends on more than the random state at its beginning.

    That of arrays does not: Keras draws their order anew for each epoch, on TensorFlow from the global seed
    alone, and from 3.16 on from a count of epochs, which `epochs_gone_by` sets. But with `steps_per_epoch` an
    epoch goes on where the one before it stopped. Nor does that of a source with a true attribute
    `order_by_epoch`, which draws its order from the number of the epoch.
    """
    if arguments.get("steps_per_epoch") is not None:
        return True
    sources = keras.tree.flatten((x, y, arguments.get("sample_weight")))
    sources = [s for s in sources if s is not None and not getattr(s, "order_by_epoch", False)]
    return not all(keras.ops.is_tensor(s) or hasattr(s, "__array__") for s in sources)


class SilentCallbackList(keras.callbacks.CallbackList):  # type: ignore[misc]  # Keras ships no types
    """Callbacks that hear of no epoch before a certain one.

    Args:
        callbacks: The callbacks.
        first: The index of the first epoch that they hear of.
        opened: Called before they do.
        **more: As for `keras.callbacks.CallbackList`.
    """

    def __init__(self, callbacks: Any, *, first: int, opened: Callable[[], None], **more: Any) -> None:
        self._first = first
        self._opened = opened
        self._silent = False
        self._steps: int | None = None
        super().__init__(callbacks, add_history=True, **more)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Open at the first epoch that counts."""
        self._silent = epoch < self._first
        if epoch == self._first:
            # Only Keras's iterator knows how many there are, and it has just been through.
            self.set_params({**self.params, "steps": self._steps})
            self._opened()
        self._pass_on("on_epoch_begin", epoch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the steps of an epoch."""
        self._steps = batch + 1
        self._pass_on("on_train_batch_end", batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Pass it on, if open."""
        self._pass_on("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Pass it on, if open."""
        self._pass_on("on_train_batch_begin", batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Pass it on, if open."""
        self._pass_on("on_test_begin", logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Pass it on, if open."""
        self._pass_on("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Pass it on, if open."""
        self._pass_on("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Pass it on, if open."""
        self._pass_on("on_test_batch_end", batch, logs)

    def _pass_on(self, moment: str, *arguments: Any) -> None:
        if not self._silent:
            getattr(super(), moment)(*arguments)


@contextmanager
def steps_do_nothing(model: Any) -> Iterator[Callable[[], None]]:
    """Let training and test steps take their data and do nothing, until the function given is called."""
    results = "get_metrics_result"
    # `fit` makes these functions only where there are none: it takes ours for those of an earlier call.
    model.train_function = model.test_function = _step(model.steps_per_execution)
    # Metrics that have seen no batch have no result.
    replace_method(model, results, lambda original: _no_results)
    active = True

    def end() -> None:
        nonlocal active
        if active:
            active = False
            restore_method(model, results)
            # `fit` is within its loop, where it makes a missing test function, but no training function.
            model.test_function = None
            model.make_train_function(force=True)

    try:
        yield end
    finally:
        end()


def _no_results() -> dict[str, Any]:
    return {}


def _step(batches: int) -> Callable[..., Any]:
    """Return a step for the active backend, in the form in which `fit` calls it there.

    On TensorFlow and JAX it gets the iterator and draws `steps_per_execution` batches by itself, fewer at the
    end of the data; on PyTorch it gets them.
    """

    def draw(iterator: Iterator[Any]) -> dict[str, Any]:
        next(iterator)
        for _ in range(batches - 1):
            next(iterator, None)
        return {}

    if keras.backend.backend() == "jax":
        return lambda state, iterator: (draw(iterator), state)
    if keras.backend.backend() == "torch":
        return lambda data: {}
    return draw
