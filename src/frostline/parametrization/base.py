"""What a parametrization is: how the value of a weight comes from a frozen base and trained parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from frostline.elements.sets import Elements


class Parametrization(ABC):
    """How a weight is made of a frozen base and trained parts. Derive from it to make your own.

    A parametrization is a value: it knows no weight. It is given tensors and returns tensors, by
    `keras.ops`, so it runs on every backend, inside `jax.jit`, `tf.function` and mixed precision. What it
    computes must have a derivative with respect to the parts.

    Attributes:
        keeps_elements: Whether the trained parts are elements of the weight, each in its place. Then the
            other elements do not change, and constraints and penalties of single elements go on.

    Example:
        A weight that moves by one number, the same for all its elements:

        >>> import keras, numpy as np
        >>> class Shift(Parametrization):
        ...     def start(self, weight):
        ...         return {"shift": keras.ops.zeros((), dtype=weight.dtype)}
        ...     def combine(self, base, parts):
        ...         return base + parts["shift"]
        >>> from frostline.parametrization.install import parametrize
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> shifted = parametrize(model, "head/kernel", Shift())
        >>> [variable.name for variable in model.trainable_variables]
        ['kernel_shift', 'bias']
    """

    keeps_elements: ClassVar[bool] = False

    @abstractmethod
    def start(self, weight: Any) -> Mapping[str, Any]:
        """Return the first values of the parts.

        Args:
            weight: The value of the weight, a tensor of its shape and dtype. It must come out of `combine`
                again, bit by bit, with this value as the base.

        Returns:
            Tensors or arrays by name. A name is made of letters, digits and `_`.
        """

    @abstractmethod
    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        """Return the value of the weight.

        Args:
            base: The frozen base, a tensor of the weight's shape and dtype.
            parts: The present values of the parts, tensors, by name.

        Returns:
            A tensor of the weight's shape and dtype.
        """

    def check(self, shape: tuple[int, ...], dtype: str) -> None:
        """Raise `ParametrizationError` where this cannot be done to a weight of that shape and dtype."""
        return

    def elements(self, shape: tuple[int, ...]) -> Elements | None:
        """Return the elements of a weight of that shape that the parts hold; None where it is not so."""
        return None

    def part_shapes(self, shape: tuple[int, ...], dtype: str) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Return the shape and the dtype of each part for a weight, by name, without making them.

        By default `start` is traced; it must then be made of `keras.ops`.
        """
        import keras

        traced = keras.Operation()
        traced.call = self.start
        parts = traced.compute_output_spec(keras.KerasTensor(shape, dtype))
        return {name: (tuple(part.shape), str(part.dtype)) for name, part in parts.items()}

    def __str__(self) -> str:
        """Return what is trained, in a few words for tables."""
        return type(self).__name__
