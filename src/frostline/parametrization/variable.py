"""The variable of a parametrized weight: its value is computed from a frozen base and trained parts.

The variable object that the layer made stays the one object that layers, plans and users hold; it changes
its class, as modules do in `torch.nn.utils.parametrize`. So no attribute of any layer is touched, tied
weights stay tied, and taking the parametrization off leaves no trace. Two variables of their own stand
behind it, which the layer tracks: the base, which takes over the tensor, and the parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from frostline._keras.calls import uncast
from frostline._keras.variables import hold, let_go, rename_beside, same_storage
from frostline.parametrization.base import Parametrization
from frostline.parametrization.keras_tools import counting

_SPARSE_GRADIENTS = keras.backend.backend() == "tensorflow"


@dataclass(slots=True, eq=False)
class Combination:
    """What a parametrized weight is made of.

    Attributes:
        how: The parametrization.
        base: The variable of the frozen values.
        parts: The trained variables, by name.
        flag: Whether the weight trains once it is plain again: as before, or as somebody said since.
        by_plan: Whether a plan put it there, which then takes it away again.
        path: How layers compute with it: `lookup`, `columns` or `general`.
    """

    how: Parametrization
    base: Any
    parts: Mapping[str, Any]
    flag: bool
    by_plan: bool = False
    path: str = "general"

    def frozen(self) -> Any:
        """Return the value of the base, cut from differentiation, in the dtype that is asked for now."""
        return ops.stop_gradient(self.base.value)

    def part(self, name: str) -> Any:
        """Return the value of a part, for computing with it.

        On TensorFlow a reshape makes its gradient dense. Keras's optimizers there square the entries of a
        sparse one each on its own, which is wrong where a row was looked up more than once.
        """
        part = self.parts[name]
        return ops.reshape(part.value, part.shape) if _SPARSE_GRADIENTS else part.value

    def value(self, values: Mapping[str, Any] | None = None) -> Any:
        """Return the value of the weight, in its own dtype; with other values of parts, if given."""
        with uncast():
            parts = {name: self.part(name) for name in self.parts}
            return self.how.combine(self.frozen(), parts | dict(values or {}))


class FrozenBase(keras.Variable):  # type: ignore[misc]
    """The frozen values of a parametrized weight. Its flag cannot be set, so nobody trains it by mistake."""

    @property
    def trainable(self) -> bool:
        """Always False."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Do nothing: `model.trainable = True` and loops over `model.weights` mean weights."""

    @property
    def shape(self) -> Any:
        """That of the weight; while a summary counts, one axis of the elements that no part holds."""
        shape = super().shape
        if not counting.get():
            return shape
        elements = self.frostline_weight.combination.how.elements(tuple(shape))
        return shape if elements is None else (math.prod(shape) - elements.count,)


class CombinedVariable(keras.Variable):  # type: ignore[misc]
    """A weight whose value is computed. Made by a change of class, never by its constructor."""

    combination: Combination

    @property
    def value(self) -> Any:
        """The present value, in the dtype that the layer computes in."""
        return self._maybe_autocast(self.combination.value())

    @property
    def trainable(self) -> bool:
        """Whether the parts train."""
        return any(part.trainable for part in self.combination.parts.values())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.combination.flag = bool(value)
        for part in self.combination.parts.values():
            part.trainable = value

    def assign(self, value: Any) -> Any:
        """Set the whole weight; the parts start anew from it."""
        value = self.combination.base.assign(value)
        for name, start in self.combination.how.start(value).items():
            self.combination.parts[name].assign(start)
        return value

    # TensorFlow saves and exports the base and the parts; the weight itself holds no resource.

    def _serialize_to_tensors(self) -> dict[str, Any]:
        return {}

    def _restore_from_tensors(self, restored_tensors: Mapping[str, Any]) -> None:
        return None

    def _copy_trackable_to_cpu(self, object_map: Any) -> None:
        return None

    def _export_to_saved_model_graph(self, *args: Any, **kwargs: Any) -> list[Any]:
        return []

    def _write_object_proto(self, proto: Any, options: Any) -> None:
        return None


def split(weight: Any, how: Parametrization, values: Mapping[str, Any]) -> Combination:
    """Make the base and the parts for a variable, without changing it.

    Args:
        weight: The variable.
        how: The parametrization.
        values: The first values of the parts, NumPy arrays, by name.
    """
    base = same_storage(weight, FrozenBase)
    base.regularizer = base.constraint = None
    parts = {name: _part(weight, name, array) for name, array in values.items()}
    combination = Combination(how, base, parts, bool(weight.trainable))
    first = next(iter(parts))
    for name, part in parts.items():
        part.regularizer = _penalty(weight.regularizer, combination, name) if name == first else None
        part.constraint = weight.constraint
    return combination


def become_combined(weight: Any, combination: Combination) -> None:
    """Let a variable compute its value from now on."""
    weight.combination = combination
    weight.__class__ = CombinedVariable
    elements = combination.how.elements(tuple(int(n) for n in weight.shape))
    for part in combination.parts.values():
        # What the slots of an optimizer belong to, still known when the weight is plain again.
        part.frostline_elements = elements
    for variable in (combination.base, *combination.parts.values()):
        variable.frostline_weight = weight
    let_go(weight)


def become_plain(weight: Any, kind: type) -> None:
    """Let a variable hold its value again: that of the base."""
    combination = weight.combination
    hold(weight, combination.base)
    weight.__class__ = kind
    del weight.combination
    weight.trainable = combination.flag


def _part(weight: Any, name: str, array: Any) -> Any:
    part = keras.Variable(
        array, dtype=array.dtype.name, name=f"{weight.name}_{name}", aggregation=weight.aggregation
    )
    rename_beside(part, weight)
    return part


class _OfTheWhole(keras.regularizers.Regularizer):  # type: ignore[misc]  # Keras ships no types
    """The penalty of a whole weight, as one of its parts: Keras before 3.15 takes no plain function.

    It stands in no file: layers write the regularizer that they were given.
    """

    def __init__(self, of_weight: Callable[[Any], Any], combination: Combination, part: str) -> None:
        self._of_weight, self._combination, self._part = of_weight, combination, part

    def __call__(self, value: Any) -> Any:
        value = value.value if isinstance(value, keras.Variable) else value
        return self._of_weight(self._combination.value({self._part: value}))


_ELEMENTWISE_PENALTIES = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def _penalty(
    regularizer: Callable[[Any], Any] | None, combination: Combination, name: str
) -> Callable[[Any], Any] | None:
    """Return what a regularizer of the weight means for a part.

    A sum over elements is taken over the trained ones, since the share of frozen ones is a constant. All
    else is the penalty of the whole weight.
    """
    if regularizer is None:
        return None
    if combination.how.keeps_elements and type(regularizer) in _ELEMENTWISE_PENALTIES:
        return regularizer

    return _OfTheWhole(regularizer, combination, name)
