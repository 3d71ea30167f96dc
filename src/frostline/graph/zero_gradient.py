"""The operations at which a gradient becomes zero on its way back, unit by unit.

Beside `first`, each backend's module `not_finite` has `zeroing(computation) -> list[Zeroing]`, which is asked
only where a weight gets a gradient of zeros, or one for few of its units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from frostline.graph.ir import Where

Array = npt.NDArray[Any]

Factor = Literal["", "weight", "data", "compile"]
"""What a factor of zero is: the result of an operation, a weight, data, or an argument of `compile`."""


@dataclass(frozen=True, slots=True)
class Zeroing:
    """An operation that was given a gradient and handed back zeros.

    Attributes:
        operation: The operation.
        layer: Address of the layer that it runs in, None outside of any.
        where: The user's line.
        weights: Names of the weights behind the operand that got the zeros.
        off: For how many units, along the last axis, it handed back zeros for every sample.
        units: How many units there are.
        rows: How many samples, and places in them, it was asked about; 0 where units of the result are not
            those of the operand.
        cancels: Whether it handed back the negative of what came back to the operand on other ways.
        is_whole: Whether no unit was left a gradient; those that are not off were given none.
        adds_up: Whether what it hands back adds up to zero over the samples, and is not zero for each.
        zeros_from: What made the zeros that it multiplied by, where an operand is nothing else: an operation,
            or the name of what it began with.
        factor: What that is.
        lost_below: The size of the largest number that it was given, where that is so small that rounding may
            have taken what was left of it; else 0.
        dtype: The dtype in which it handed it back.
        switches: Whether the values of the units decide which are off, as in an activation, and no mask.
    """

    operation: str
    layer: str | None
    where: Where | None
    weights: frozenset[str]
    off: int = 1
    units: int = 1
    rows: int = 0
    cancels: bool = False
    is_whole: bool = True
    adds_up: bool = False
    zeros_from: str = ""
    factor: Factor = ""
    lost_below: float = 0.0
    dtype: str = ""
    switches: bool = False

    def without(self, weights: frozenset[str]) -> Zeroing | None:
        """Return the same for the other weights; None where it took all from none of them."""
        left = self.weights - weights
        if not self.is_whole or left == self.weights:
            return self
        return replace(self, weights=left) if left else None

    @property
    def is_balance(self) -> bool:
        """Whether nothing was taken away: what came back has both signs, and adds up to zero."""
        return self.cancels or self.adds_up

    @property
    def only_moves(self) -> bool:
        """Whether the operation only puts values together or apart."""
        return self.operation in _MOVES

    @property
    def may_multiply(self) -> bool:
        """Whether an operand of nothing but zeros explains it."""
        return self.is_whole and not self.adds_up and self.operation in _PRODUCTS

    def multiplying(self, zeros: Zeros) -> Zeroing:
        """Return the same of a product with zeros."""
        return replace(self, off=1, units=1, rows=0, zeros_from=zeros.name, factor=zeros.factor)

    @property
    def fact(self) -> str:
        """What happened, in half a sentence."""
        if self.cancels:
            return f"what comes back over {self.operation} cancels what comes back beside it"
        if self.adds_up:
            return f"what comes back over {self.operation} adds up to zero over the samples"
        if self.factor == "compile":
            return f"{self.operation} hands back zeros: {self.zeros_from} of compile() has a zero for it"
        if self.factor:
            return f"{self.operation} hands back zeros: {self.zeros_from} is zero in every element"
        if self.zeros_from:
            return f"{self.operation} hands back zeros, given nothing but zeros by {self.zeros_from}"
        choice = ", a choice or a mask," if self.operation in _CHOICES else ""
        plain = f"{self.operation}{choice} hands back zeros"
        if self.rows and self.units > 1:
            plain += f" for {self.off} of {self.units} units, for every sample"
        if self.lost_below:
            least = _LEAST[self.dtype][0]
            plain += (
                f": at most {self.lost_below:.0e} came back, it vanishes: {self.dtype} ends at {least:.0e}"
            )
        return plain


@dataclass(frozen=True, slots=True)
class Zeros:
    """Where values that are nothing but zeros began.

    Attributes:
        name: The operation that made them, with its layer; or the name of a weight or of data.
        factor: What it is.
    """

    name: str
    factor: Factor = ""

    @classmethod
    def made_by(cls, operation: str, layer: str | None) -> Zeros:
        """Return those that an operation made."""
        return cls(f"{operation} in layer {layer!r}" if layer else operation)


def factors(operation: str, operands: Sequence[Any]) -> Sequence[Any]:
    """Return the operands of a product that it multiplies by: one that it adds to the product is none."""
    return operands[:2] if operation in _ADDING else operands


def begins_before(operation: str, operands: Sequence[Any], zeros: Sequence[Any]) -> bool:
    """Whether zeros that an operation made began with its first operand of zeros.

    Args:
        operation: The operation.
        operands: All its operands that hold numbers.
        zeros: Those that are nothing but zeros.
    """
    if not zeros:
        return False
    # Of several, any may have made them, unless it is a product, or a sum of zeros alone.
    return (
        len(operands) == 1 or operation in _PRODUCTS or (operation in _SUMS and len(zeros) == len(operands))
    )


def uneven(shape: tuple[int, ...]) -> Array:
    """Return factors for a gradient, by which terms that cancel do so no more."""
    return np.random.default_rng(0).uniform(0.5, 1.5, shape)


_CHOICES = {"where", "select", "select_n", "selectv2", "masked_fill", "cond"}
_MOVES = {
    *("stack", "unstack", "pack", "unpack", "concatenate", "concat", "cat", "split", "pad", "transpose"),
    *("slice", "strided_slice", "getitem", "dynamic_slice", "gather", "squeeze", "reshape"),
}
_PRODUCTS = {
    "matmul",
    "multiply",
    "einsum",
    "dot",
    "dot_general",
    "tensordot",
    "linear",
    "conv",
    "conv_general_dilated",
    "convolution",
    "conv1d",
    "conv2d",
    "conv3d",
    "layer_norm",
    "group_norm",
}
_ADDING = {"linear", "conv1d", "conv2d", "conv3d", "layer_norm", "group_norm"}
_SUMS = {"add", "subtract"}
_LEAST = {
    "float16": (float(np.finfo("float16").smallest_subnormal), 6e-5),
    # Some processors take all below the smallest normal number for zero, and means divide by thousands.
    "float32": (float(np.finfo("float32").smallest_subnormal), 1e-34),
}
"""Of each dtype the least number that it holds, and below what a gradient may end at zero by rounding."""


def zeroing_at(
    operation: str,
    received: Array,
    given: Array,
    place: tuple[str | None, Where | None],
    weights: frozenset[str],
    dtype: str = "",
    values: Iterable[Array] = (),
) -> Zeroing | None:
    """Return what an operation did to a gradient, if it took it away from a unit for every sample.

    Args:
        operation: The operation.
        received: The gradient that it was given, by its result.
        given: The one that it handed back, by one of its operands.
        place: Its layer and the user's line.
        weights: Names of the weights behind that operand.
        dtype: The dtype in which it handed it back.
        values: What that operand holds, then what it was made from, unit by unit, as far back as is known.
    """
    if not received.any():
        return None
    most = float(np.abs(received).max())
    lost = most if dtype in _LEAST and most < _LEAST[dtype][1] else 0.0
    if received.shape != given.shape or given.ndim < 2:
        summed = _is_broadcast(given.shape, received.shape)
        if given.any():
            return None
        return Zeroing(operation, *place, weights, adds_up=summed and not lost, lost_below=lost, dtype=dtype)
    units = given.shape[-1]
    # A unit that was given nothing is another operation's.
    off = np.asarray(received.reshape(-1, units).any(0) & ~given.reshape(-1, units).any(0))
    if not off.any():
        return None
    count = int(off.sum())
    return Zeroing(
        operation,
        *place,
        weights,
        count,
        units,
        given.size // units,
        is_whole=not given.any(),
        lost_below=lost,
        dtype=dtype,
        switches=bool(given.any()) and _switched(operation, received, given, off, values),
    )


_ALIKE = 0.01
"""Within what part of itself a masked score stays the number that masks it."""

_MASKING = 1e3
"""From what size on units that all hold one number may be masked by it."""

_STRAY = 0.01
"""What part of elements may be on the wrong side of a threshold: a gradient may also end in rounding."""


def _switched(operation: str, received: Array, given: Array, off: Array, values: Iterable[Array]) -> bool:
    """Whether values on one side of a threshold got zeros, and those on the other did not.

    Where units hold nothing but zeros, what these were made from says why: an activation, or a product with
    a mask.
    """
    held = next((one for one in values if one.shape == given.shape and one[..., off].any()), None)
    if held is None:
        return operation not in _CHOOSING and not _is_product(operation)
    if not np.isfinite(held).all() or _is_masked(held[..., off]):
        return False
    if operation in _CHOOSING or (operation == "exp" and not held.max(axis=-1).any()):
        return False  # what is left of a softmax by hand, once the largest is taken off
    lost, kept = held[(received != 0) & (given == 0)], held[given != 0]
    outside = _share_within(lost, kept) <= _STRAY
    return outside or _share_within(kept, lost) <= _STRAY


def _is_masked(values: Array) -> bool:
    size = np.abs(values)
    return bool(size.min() >= _MASKING and np.ptp(values) <= _ALIKE * size.max())


def _is_product(operation: str) -> bool:
    return operation in _PRODUCTS or operation in _CHOICES


def _share_within(values: Array, others: Array) -> float:
    """Return what share of values lies between the least and the largest of others."""
    return float(np.mean((values >= others.min()) & (values <= others.max())))


_CHOOSING = {"softmax", "log_softmax"}
"""What shares out among its units: one gets nothing where others get all."""


def _is_broadcast(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether arrays of the one shape are repeated to the other, so that their gradients are added up."""
    if len(shape) > len(to) or shape == to:
        return False
    return all(own in (1, other) for own, other in zip(reversed(shape), reversed(to), strict=False))
