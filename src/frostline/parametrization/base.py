"""What a parametrization is: how the value of a weight comes from a frozen base and trained parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Self

import numpy as np

from frostline.elements.sets import Elements
from frostline.errors import ParametrizationError


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

    def get_config(self) -> dict[str, Any]:
        """Return the settings by argument, as files hold them: what JSON knows.

        By default the fields of a dataclass.

        Raises:
            ParametrizationError: The class takes arguments, and nothing says which it was given.
        """
        if is_dataclass(self):
            return {field.name: getattr(self, field.name) for field in fields(self) if field.init}
        if type(self).__init__ is object.__init__:
            return {}
        raise ParametrizationError(
            f"{type(self).__name__} does not return its settings",
            expected="a dataclass, or a method get_config",
            remedy="let get_config return the arguments of __init__ by name",
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make one of the settings that `get_config` returned."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parametrization) and same_settings(self, other)

    def __hash__(self) -> int:
        return hash(type(self))  # few are ever compared

    def __str__(self) -> str:
        """Return what is trained, in a few words for tables."""
        return type(self).__name__


def same_settings(one: Parametrization, other: Parametrization) -> bool:
    """Whether two parametrizations are of one class and have the same settings.

    Those of a class that does not return its settings are the same where they are one object.
    """
    if one is other or type(one) is not type(other):
        return one is other
    try:
        return bool(_as_in_json(one.get_config()) == _as_in_json(other.get_config()))
    except ParametrizationError:
        return False


def _as_in_json(value: Any) -> Any:
    """Return settings with lists for tuples, which JSON does not tell apart."""
    if isinstance(value, Mapping):
        return {name: _as_in_json(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_as_in_json(one) for one in value] if isinstance(value, list | tuple) else value
