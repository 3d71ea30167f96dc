"""What must hold before a weight is parametrized; each failure says how to fix it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import uncast
from frostline._keras.variables import has_value, to_numpy
from frostline.elements.sets import Elements, Grid
from frostline.errors import ParametrizationError, listed, near
from frostline.model.inventory import Inventory, LayerNode, Weight
from frostline.parametrization.base import Parametrization

_NAME = re.compile(r"[A-Za-z0-9_]+")


def find_weight(inventory: Inventory, address: Any) -> Weight:
    """Return the weight at an address.

    Raises:
        ParametrizationError: There is none, or it was never made to be trained.
    """
    if not isinstance(address, str):
        raise ParametrizationError(
            "the address of a weight must be a string",
            received=f"an object of type {type(address).__name__}",
            expected="such as 'tokens/embeddings'",
        )
    weight = inventory.by_address.get(address)
    if weight is None:
        close = near(address, [a for w in inventory.of_role("weight") for a in w.addresses])
        raise ParametrizationError(
            f"the model {inventory.model_name!r} has no weight {address!r}",
            expected="the address of one weight, not a pattern",
            remedy=f"did you mean {listed(close)}?"
            if close
            else "see frostline.inventory(model) for the addresses",
        )
    if weight.role != "weight":
        raise ParametrizationError(
            f"{address!r} is not a weight that an optimizer trains",
            received=f"a variable of the kind {weight.role!r}",
            expected="a weight made by add_weight(trainable=True)",
        )
    return weight


def require_possible(
    weight: Weight, holders: Sequence[LayerNode], how: Any, *, instead: bool = False
) -> None:
    """Check that a weight can be parametrized in this way.

    Args:
        weight: The weight.
        holders: The layers that hold it.
        how: The parametrization.
        instead: Whether one that the weight has already is taken away before.

    Raises:
        ParametrizationError: It cannot.
    """
    if not isinstance(how, Parametrization):
        raise ParametrizationError(
            "this is not a parametrization",
            received=_described(how),
            expected="one object such as Rows(slice(10, None)), Mask(array) or LowRank(rank=8)",
            remedy="name all elements in one Index or Mask: a weight has one parametrization"
            if isinstance(how, list | tuple)
            else None,
        )
    combination = getattr(weight.variable, "combination", None)
    if combination is not None and not instead:
        raise ParametrizationError(
            f"{weight.address!r} is parametrized already",
            received=f"{how}, on top of {combination.how}",
            expected="a plain weight: parametrizations are not nested",
            remedy="remove the first one, or combine both in one Index or Mask",
        )
    quantized = [node.address for node in holders if node.quantized]
    if quantized:
        raise ParametrizationError(
            f"{weight.address!r} belongs to a quantized layer, whose numbers do not train",
            received=f"{quantized[0]!r}, quantized as {_mode(holders, quantized[0])!r}",
            remedy="parametrize first, merge after training, then quantize; "
            "or use the layer's own enable_lora",
        )
    if "float" not in weight.dtype:
        raise ParametrizationError(
            f"{weight.address!r} holds whole numbers, which do not train",
            received=f"dtype {weight.dtype}",
            expected="a dtype of floating-point numbers",
        )
    if not has_value(weight.storage):
        raise ParametrizationError(
            f"{weight.address!r} has no value yet",
            remedy="parametrize outside of a stateless scope, after the model is built",
        )
    how.check(weight.shape, weight.dtype)
    _require_constraint_kept(weight, how)


def _require_constraint_kept(weight: Weight, how: Parametrization) -> None:
    """Check that the weight's constraint can be kept by moving the trained elements alone."""
    constraint = getattr(weight.variable, "constraint", None)
    if constraint is None or _acts_on_part(constraint, how.elements(weight.shape)):
        return
    together = "which combines trained and frozen elements"
    apart = "on the weight and not on its parts"
    raise ParametrizationError(
        f"the constraint of {weight.address!r} cannot be combined with {how}",
        received=f"the constraint {type(constraint).__name__}, {together if how.keeps_elements else apart}",
        expected="NonNeg, or a norm along axes that the trained elements have in full",
        remedy="build the layer without the constraint",
    )


def _acts_on_part(constraint: Any, elements: Elements | None) -> bool:
    if elements is None:
        return False
    kinds = keras.constraints
    if isinstance(constraint, kinds.NonNeg):
        return True
    if not isinstance(elements, Grid):
        return False
    if not isinstance(constraint, kinds.MaxNorm | kinds.UnitNorm | kinds.MinMaxNorm):
        return not elements.places
    axes = constraint.axis if isinstance(constraint.axis, list | tuple) else [constraint.axis]
    rank = len(elements.shape)
    return elements.places.keys().isdisjoint(axis % rank for axis in axes)


def first_values(weight: Weight, how: Parametrization) -> dict[str, Any]:
    """Return the first values of the parts, as NumPy arrays of their own, by name.

    Raises:
        ParametrizationError: The parametrization does not give back the weight that it was given.
    """
    with uncast():
        value = keras.ops.stop_gradient(weight.variable.value)
        parts = how.start(value)
        if not isinstance(parts, Mapping) or not parts or not all(map(_is_name, parts)):
            raise ParametrizationError(
                f"{type(how).__name__}.start must return the parts by name",
                received=_described(parts),
                expected="a dict with at least one part; names of letters, digits and _",
            )
        arrays = {name: to_numpy(part) for name, part in parts.items()}
        whole = {name: array.dtype.name for name, array in arrays.items() if not _is_floating(array)}
        if whole:
            raise ParametrizationError(
                f"{type(how).__name__}.start must return floating-point numbers, which alone can train",
                received=listed(f"{name}: {dtype}" for name, dtype in whole.items()),
            )
        if not how.keeps_elements:
            _require_same(weight, how, how.combine(value, dict(parts)))
    return arrays


def _require_same(weight: Weight, how: Parametrization, combined: Any) -> None:
    name = type(how).__name__
    if not hasattr(combined, "shape") or not hasattr(combined, "dtype"):
        raise ParametrizationError(
            f"{name}.combine must return a tensor like the weight", received=_described(combined)
        )
    shape = tuple(int(n) for n in combined.shape)
    dtype = str(keras.backend.standardize_dtype(combined.dtype))
    if (shape, dtype) != (weight.shape, weight.dtype):
        raise ParametrizationError(
            f"{name}.combine must return a tensor like the weight",
            received=f"shape {shape}, dtype {dtype}",
            expected=f"shape {weight.shape}, dtype {weight.dtype}",
        )
    before, now = weight.numpy(), to_numpy(combined)
    differing = int(np.sum(~((before == now) | (np.isnan(before) & np.isnan(now)))))
    if differing:
        raise ParametrizationError(
            f"{name} would change {weight.address!r} before any training",
            received=f"{differing} of {before.size} elements that combine does not give back",
            expected="with the parts that start returns, combine returns the weight itself",
        )


def _is_floating(array: Any) -> bool:
    return bool(keras.backend.is_float_dtype(array.dtype.name))


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _described(thing: Any) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__} itself"
    if isinstance(thing, Mapping):
        return f"the names {listed(map(repr, thing))}" if thing else "no part"
    if isinstance(thing, list | tuple):
        return f"{len(thing)} things: {listed(map(str, thing))}"
    return f"an object of type {type(thing).__name__}"


def _mode(holders: Sequence[LayerNode], address: str) -> Any:
    return next(node.layer.quantization_mode for node in holders if node.address == address)
