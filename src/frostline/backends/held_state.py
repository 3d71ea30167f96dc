"""State of a layer that is no `keras.Variable`: what a backend's own modules and variables hold.

A PyTorch module has buffers, a layer on TensorFlow may hold a `tf.Variable` of its own. Keras neither counts
nor trains them, and training may move them all the same. Each is a `HeldState` here, read and assigned as a
variable is. Knows no backend; the rooms find them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

HeldRole = Literal["statistic", "seed", "state"]


class HeldState(ABC):
    """One piece of state that is no `keras.Variable`, read and assigned like one.

    Args:
        holder: The object that holds it now.
        name: Its name in that object.
        role: What it is for.
    """

    may_change_shape: ClassVar[bool] = False
    """Whether a value of another shape may come in its place, and whether it may be missing."""

    trainable = property(lambda self: False, lambda self, flag: None, doc="False: no optimizer updates it.")

    def __init__(self, holder: Any, name: str, role: HeldRole = "statistic") -> None:
        self.holder, self.name, self.role = holder, name, role

    def is_same(self, other: HeldState) -> bool:
        """Whether another one stands for the same place."""
        return self.holder is other.holder and (type(self), self.name) == (type(other), other.name)

    @property
    def key(self) -> int:
        """What tells its memory from all else: two names of one tensor have one key."""
        return id(self)

    @property
    @abstractmethod
    def value(self) -> Any:
        """Its value now, as a tensor of the backend or an array."""

    @abstractmethod
    def assign(self, value: Any) -> None:
        """Write a value of the same shape over it, in its place."""

    @abstractmethod
    def read_array(self) -> npt.NDArray[Any]:
        """Return its value as an array, uncopied where that is possible; to be read at once."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return tuple(self.read_array().shape)

    @property
    def dtype(self) -> str:
        """The dtype of the array."""
        return self.read_array().dtype.name

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.read_array(), dtype=dtype)


@dataclass(frozen=True, slots=True)
class InnerModule:
    """A module of the backend's own inside a Keras layer, which can run in inference mode by itself.

    Attributes:
        path: The names on the way to it from the layer, joined by `/`; empty for what the layer wraps itself.
        types: Class names, base classes included.
        follows: The path of the module whose mode is also its own; None where it decides for itself.
        handle: The module.
    """

    path: str
    types: frozenset[str]
    follows: str | None
    handle: Any = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a layer holds beside its Keras variables.

    Attributes:
        states: Pieces of state, each with its name from the layer down (`0/running_mean`); one of several
            names stands there more than once.
        names: The names from the layer down of tensors that Keras variables of the layer hold, by the
            tensor's id.
        modules: The modules inside the layer.
        trainable: The ids of those of these tensors that can train.
        refused: What of the layer's state cannot be held, one phrase each.
    """

    states: tuple[tuple[str, HeldState], ...] = ()
    names: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    modules: tuple[InnerModule, ...] = ()
    refused: tuple[str, ...] = ()
    trainable: frozenset[int] = frozenset()


NOTHING = Holdings()


def joined(*parts: str) -> str:
    """Return a path of the parts that are not empty."""
    return "/".join(part for part in parts if part)


def class_names_of(kind: type, bases: Iterable[type]) -> frozenset[str]:
    """Return the names of a class and those above it, up to and without some bases."""
    names = []
    for cls in kind.__mro__:
        if cls in bases:
            break
        names.append(cls.__name__)
    return frozenset(names or [kind.__name__])
