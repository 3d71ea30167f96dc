"""How many bytes an optimizer keeps for a set of weights, found by building it without allocating."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from frostline._keras.optimizers import optimizer_chain
from frostline.errors import OptimizerError, listed, near
from frostline.model.inventory import itemsize


@dataclass(slots=True)
class _Slot:
    """Stands for an optimizer variable while memory is counted: a shape and a dtype, no values."""

    shape: tuple[int, ...]
    dtype: str

    def assign(self, value: Any) -> None:
        """Take a value and forget it."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * itemsize(self.dtype)


def slot_bytes(optimizer: Any, variables: Sequence[Any]) -> int:
    """Return the bytes of the slots that an optimizer would keep for these variables.

    Args:
        optimizer: A `keras.optimizers.Optimizer`, whose own state stays as it is, or a name such as `"adam"`.
        variables: The `keras.Variable`s it would update.

    Raises:
        OptimizerError: The optimizer has no configuration to make a copy from.

    Example:
        >>> import keras, numpy as np
        >>> slot_bytes("adam", [keras.Variable(np.zeros((10, 10), "float32"))])
        800
    """
    import keras

    optimizer = find_optimizer(optimizer)
    try:
        copy = type(optimizer).from_config(optimizer.get_config())
    except Exception as error:
        raise OptimizerError(
            f"cannot estimate the memory of {type(optimizer).__name__}",
            received=f"{type(error).__name__}: {error}",
            expected="an optimizer that from_config(get_config()) copies",
        ) from error
    if not variables:
        return 0
    slots: list[_Slot] = []

    def add_variable(shape: Any, initializer: Any = "zeros", dtype: Any = None, **_: Any) -> _Slot:
        slots.append(_Slot(tuple(shape), str(dtype or keras.backend.floatx())))
        return slots[-1]

    for part in optimizer_chain(copy):
        object.__setattr__(part, "add_variable", add_variable)
    copy.build(list(variables))
    return sum(slot.nbytes for slot in slots if slot.shape)


def find_optimizer(of: Any) -> Any:
    """Return an optimizer as it is, or a new one by its name.

    Raises:
        OptimizerError: Keras has none of that name.
    """
    import keras

    if isinstance(of, keras.optimizers.Optimizer):
        return of
    try:
        return keras.optimizers.get(of)
    except (ValueError, TypeError, KeyError):
        kinds = {n.lower() for n, cls in vars(keras.optimizers).items() if isinstance(cls, type)}
        close = near(str(of).lower(), kinds - {"optimizer"})
        raise OptimizerError(
            f"Keras has no optimizer {of!r}",
            remedy=f"did you mean {listed(close)}?" if close else "write adam, adamw, sgd, rmsprop or lion",
        ) from None
