"""The next step of a training: which batch it takes, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import keras

from frostline.training.watch.batches import SAMPLES, Batch, batch_of


class NextStep:
    """Stands around the training function of a model for one call.

    The training function gets its batch as it is on PyTorch, and an iterator of them on JAX: one is taken and
    put back in front. TensorFlow draws it inside of a compiled function, where nobody sees it.

    Attributes:
        kept: The first samples of a batch; None until there are some.
    """

    def __init__(self) -> None:
        self.kept: Batch | None = None
        self._model: Any = None

    @staticmethod
    def shows_batches() -> bool:
        """Whether the batch of a step can be seen."""
        return keras.backend.backend() in ("torch", "jax")

    def watch(self, model: Any, *, keep: bool, after: Callable[[Any], None] | None) -> None:
        """Begin to watch a model whose training function is made.

        Args:
            model: The model.
            keep: Whether to keep its batch.
            after: Gets what the training function returned. It must not wait for the device.
        """
        function = getattr(model, "train_function", None)
        if function is None or not (keep or after):
            return
        self.end()
        self._model = model
        model.train_function = self._once(
            model.train_function, keep=keep and self.shows_batches(), after=after
        )

    def end(self) -> None:
        """Leave the training function as it was."""
        function = getattr(self._model, "train_function", None)
        if (plain := getattr(function, "frostline_stood_around", None)) is not None:
            self._model.train_function = plain

    def _once(
        self, function: Callable[..., Any], *, keep: bool, after: Callable[[Any], None] | None
    ) -> Callable[..., Any]:
        def once(*arguments: Any, **named: Any) -> Any:
            self.end()
            *state, source = arguments
            result = function(*state, self._seen(source) if keep else source, **named)
            if after is not None:
                after(result)
            return result

        once.frostline_stood_around = function  # type: ignore[attr-defined]
        # Whoever takes off what watches steps takes this off with it.
        once.frostline_unwatched = getattr(function, "frostline_unwatched", function)  # type: ignore[attr-defined]
        return once

    def _seen(self, source: Any) -> Any:
        if keras.backend.backend() == "jax":
            return self._put_back(iter(source))
        self._keep(source[0] if isinstance(source, list) and source else source)
        return source

    def _put_back(self, source: Iterator[Any]) -> Iterator[Any]:
        batch = next(source)
        self._keep(batch)
        return chain([batch], source)

    def _keep(self, batch: Any) -> None:
        self.kept = batch_of(self._model, keras.utils.unpack_x_y_sample_weight(batch), SAMPLES)
