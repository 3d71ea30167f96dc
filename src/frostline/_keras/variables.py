"""Variables, and weights that are made of parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.layers import own_statistics, own_weights, whole_weight
from frostline._keras.methods import private


def read_value(variable: Any) -> Any:
    """Return the value of a variable as an array, uncopied where the backend allows; to be read at once.

    Keras's own conversion copies, which took as long as hashing what it copied.

    Args:
        variable: A `keras.Variable`, a variable or tensor of the backend, or a `HeldState`.
    """
    import keras

    if (read := getattr(variable, "read_array", None)) is not None:
        return read()
    value = variable.value if isinstance(variable, keras.Variable) else variable
    value = value.detach() if hasattr(value, "detach") else value
    value = value.read_value() if hasattr(value, "read_value") else value  # as an array, TensorFlow copies it
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError):  # bfloat16 or another device, on PyTorch
        return to_numpy(value)


def to_numpy(value: Any) -> npt.NDArray[Any]:
    """Return a copy of a value as an array, which stays as it is when the variable changes.

    Args:
        value: A `keras.Variable`, or a tensor of the backend; `bfloat16` becomes NumPy's extension type,
            a sparse tensor a dense array. Or a `HeldState`.
    """
    import keras

    if (read := getattr(value, "read_array", None)) is not None:
        return np.array(read())
    copied: npt.NDArray[Any] = keras.ops.convert_to_numpy(value)
    return copied


def dtype_of(variable: Any) -> str:
    """Return the dtype of the numbers that a variable holds.

    On JAX without 64 bits a variable that was made as `float64` says so, and holds `float32`.

    Args:
        variable: A `keras.Variable`, or one whose value is computed.
    """
    import keras

    declared = str(variable.dtype)
    if hasattr(variable, "read_array"):
        return declared
    if keras.backend.backend() != "jax" or not declared.endswith("64"):
        return declared
    made_of = getattr(variable, "combination", None)
    value = private(variable if made_of is None else made_of.base, "_value")
    return declared if value is None else str(keras.backend.standardize_dtype(value.dtype))


def held_tensor(variable: Any) -> Any:
    """Return the tensor that a variable holds; of a parametrized one, that of its base."""
    made_of = getattr(variable, "combination", None)
    return private(variable if made_of is None else made_of.base, "_value")


def same_storage(variable: Any, kind: type) -> Any:
    """Return another variable, of class `kind`, that holds the same tensor; nothing is copied."""
    twin: Any = object.__new__(kind)
    # What TensorFlow's checkpoints note about an object is about that object.
    vars(twin).update((k, v) for k, v in vars(variable).items() if not k.startswith("_self_"))
    return twin


def let_go(variable: Any) -> None:
    """Take the tensor away from a variable whose value is from now on computed.

    Whoever holds the tensor holds it frozen: PyTorch's own loops go by what the tensor says.
    """
    value = private(variable, "_value")
    if hasattr(value, "requires_grad_"):
        value.requires_grad_(False)
    variable._value = None


def hold(variable: Any, other: Any) -> None:
    """Give a variable the tensor that another one holds; nothing is copied."""
    variable._value = private(other, "_value")


def rename_beside(variable: Any, other: Any) -> None:
    """Give a variable a path beside that of another one."""
    above = private(other, "_path").rpartition("/")[0]
    variable._path = f"{above}/{variable.name}" if above else variable.name


def has_value(variable: Any) -> bool:
    """Return whether a variable holds a tensor: one that waits for its initializer does not."""
    return private(variable, "_value") is not None


def track_parts(layer: Any, weight: Any, parts: Iterable[Any], base: Any) -> None:
    """Let a layer own the parts and the base of a weight in the place of the weight itself."""
    own = private(layer, "_trainable_variables")
    place = _place(own, weight)
    _replace_tracked(layer, "trainable_variables", own, place, 1, list(parts))
    statistics = private(layer, "_non_trainable_variables")
    _replace_tracked(layer, "non_trainable_variables", statistics, len(statistics), 0, [base])


def track_whole(layer: Any, weight: Any, parts: Iterable[Any], base: Any) -> None:
    """Undo `track_parts`."""
    parts = list(parts)
    own, statistics = private(layer, "_trainable_variables"), private(layer, "_non_trainable_variables")
    _replace_tracked(layer, "trainable_variables", own, _place(own, parts[0]), len(parts), [weight])
    _replace_tracked(layer, "non_trainable_variables", statistics, _place(statistics, base), 1, [])


def owns(layer: Any, weight: Any) -> bool:
    """Return whether a layer itself created a variable as trainable, or was given it; parametrized or not."""
    return any(v is weight for v in own_weights(layer))


def _place(variables: list[Any], variable: Any) -> int:
    # Not `index`: variables compare element by element.
    return next(n for n, v in enumerate(variables) if v is variable)


def _replace_tracked(
    layer: Any, store: str, tracked: list[Any], place: int, count: int, new: list[Any]
) -> None:
    ids = private(layer, "_tracker").stored_ids[store]
    ids.difference_update(id(v) for v in tracked[place : place + count])
    ids.update(id(v) for v in new)
    tracked[place : place + count] = new


def has_parts(layer: Any) -> bool:
    """Return whether a layer owns parts of weights."""
    return any(whole_weight(v) is not v for v in private(layer, "_trainable_variables"))


@contextmanager
def tracked_whole(layer: Any) -> Iterator[None]:
    """Let a layer own whole weights for a moment, in their old order, as in files and plain models."""
    tracked = [private(layer, "_trainable_variables"), private(layer, "_non_trainable_variables")]
    before = [list(variables) for variables in tracked]
    plain = own_weights(layer), own_statistics(layer)
    try:
        for variables, whole in zip(tracked, plain, strict=True):
            variables[:] = whole
        yield
    finally:
        for variables, parts in zip(tracked, before, strict=True):
            variables[:] = parts
