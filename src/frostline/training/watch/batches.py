"""A batch of the training data to look at again and again, without taking one from training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import keras

from frostline.diagnostics.preflight import first_samples, fixed_batch_size

SAMPLES = 32
"""How many samples are looked at."""

MORE_SAMPLES = 256
"""On how many a unit must be out of use to be called dead alone."""


def batch_of(model: Any, data: tuple[Any, Any, Any], most: int) -> tuple[Any, Any, Any] | None:
    """Return the first samples of arrays, of tensors or of a PyDataset; None of any other source."""
    if data[0] is None:
        return None
    fixed = fixed_batch_size(model)
    return first_samples(*data, most=fixed or most)


class PassingBatch:
    """Keeps the first samples of the first batch that training takes, where that can be seen.

    The training function gets its batch as it is on PyTorch, and an iterator of them on JAX: one is taken and
    put back in front. TensorFlow draws it inside of a compiled function, where nobody sees it.
    """

    def __init__(self) -> None:
        self.kept: tuple[Any, Any, Any] | None = None
        self._model: Any = None

    def watch(self, model: Any) -> bool:
        """Begin to watch a model whose training function is made; say whether that is possible."""
        backend = keras.backend.backend()
        if backend not in ("torch", "jax") or getattr(model, "train_function", None) is None:
            return False
        self._model = model
        model.train_function = self._keeping(model.train_function, backend)
        return True

    def end(self) -> None:
        """Leave the training function as it was."""
        function = getattr(self._model, "train_function", None)
        if (plain := getattr(function, "frostline_passing", None)) is not None:
            self._model.train_function = plain

    def _keeping(self, function: Callable[..., Any], backend: str) -> Callable[..., Any]:
        def first(*arguments: Any, **named: Any) -> Any:
            self.end()
            *state, source = arguments
            if backend == "jax":
                source = self._put_back(iter(source))
            else:
                self._keep(source[0] if isinstance(source, list) and source else source)
            return function(*state, source, **named)

        first.frostline_passing = function  # type: ignore[attr-defined]
        # Whoever takes off what watches steps takes this off with it.
        first.frostline_unwatched = getattr(function, "frostline_unwatched", function)  # type: ignore[attr-defined]
        return first

    def _put_back(self, source: Iterator[Any]) -> Iterator[Any]:
        batch = next(source)
        self._keep(batch)
        return chain([batch], source)

    def _keep(self, batch: Any) -> None:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        self.kept = first_samples(x, y, weight, most=fixed_batch_size(self._model) or SAMPLES)
