"""The next steps of a training: which batch the first takes, and what the first two begin and end with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import keras

from frostline.training.watch.batches import SAMPLES, Batch, batch_of


@dataclass(frozen=True, slots=True)
class Notes:
    """What to call at the next two steps. None of it must wait for the device.

    Attributes:
        before_first: Gets what the training function is called with.
        after_first: Gets what it returned.
        before_second: Gets what it is called with then.
        after_second: Gets what it returned then.
    """

    before_first: Callable[[Any], None]
    after_first: Callable[[Any], None]
    before_second: Callable[[Any], None]
    after_second: Callable[[Any], None]


class NextStep:
    """Stands around the training function of a model for one call, or for two.

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

    def watch(self, model: Any, *, keep: bool, notes: Notes) -> bool:
        """Begin to watch a model whose training function is made.

        Args:
            model: The model.
            keep: Whether to keep its batch.
            notes: What to call at its next two steps.

        Returns:
            Whether there is such a function.
        """
        function = getattr(model, "train_function", None)
        if function is None:
            return False
        self.end()
        self._model = model
        keeps = keep and self.shows_batches()
        model.train_function = self._stand_around(model.train_function, keep=keeps, notes=notes)
        return True

    def end(self) -> None:
        """Leave the training function as it was."""
        function = getattr(self._model, "train_function", None)
        if (plain := getattr(function, "frostline_stood_around", None)) is not None:
            self._model.train_function = plain

    def _stand_around(self, function: Callable[..., Any], *, keep: bool, notes: Notes) -> Callable[..., Any]:
        around = iter(((notes.before_first, notes.after_first), (notes.before_second, notes.after_second)))
        calls = 0

        def stood_around(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                self.end()
            before, after = next(around, (_nothing, _nothing))
            before(arguments)
            *state, source = arguments
            result = function(*state, self._seen(source) if keep and calls == 1 else source, **named)
            after(result)
            return result

        stood_around.frostline_stood_around = function  # type: ignore[attr-defined]
        # Whoever takes off what watches steps takes this off with it.
        stood_around.frostline_unwatched = getattr(function, "frostline_unwatched", function)  # type: ignore[attr-defined]
        return stood_around

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


def _nothing(given: Any) -> None:
    """Note nothing."""
