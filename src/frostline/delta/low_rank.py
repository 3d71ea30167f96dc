"""Adapters of low rank in the layout of PyTorch and PEFT, and in that of Keras.

A PyTorch Linear has a weight `[out, in]`, a Keras Dense a kernel `[in, out]`, and the kernels of an
EinsumDense (those of attention) have several axes for inputs or outputs, in an order of their own. As a
matrix of all inputs by all outputs they are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from frostline.errors import DeltaError
from frostline.files.tensor_file import Array
from frostline.model.inventory import Inventory, Weight


@dataclass(frozen=True, slots=True)
class Matrix:
    """How a weight is a matrix of inputs by outputs.

    Attributes:
        shape: The shape of the weight. Its last axis is one of outputs.
        inputs: Which of its axes are inputs; the others are outputs.
        embedding: Whether it is a table whose rows are looked up.
    """

    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    embedding: bool = False

    def to_torch(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Return `A` and `B` as PyTorch holds them, `[rank, in]` and `[out, rank]`.

        Args:
            a: `A` of a `LowRank`: the shape of the weight with the rank in place of its last axis.
            b: `B`, of shape `(rank, last axis)`.
        """
        rank, last = b.shape
        rows, columns = self.torch_shape
        groups = columns // last
        # One `B` for all groups of outputs, such as heads: as one matrix it stands once for each of them.
        wide = a.transpose(self._order).reshape(rows, groups * rank)
        tall = np.zeros((groups * rank, groups * last), b.dtype)
        for n in range(groups):
            tall[n * rank : (n + 1) * rank, n * last : (n + 1) * last] = b
        return np.ascontiguousarray(wide.T), np.ascontiguousarray(tall.T)

    def from_torch(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Return `A` and `B` as a `LowRank` holds them, the reverse of `to_torch`.

        Where outputs have several axes, or the rank is more than the weight can have, they are found by a
        singular value decomposition, exact but for rounding; the rank is then what it comes to, and both are
        float64.
        """
        rank, last = a.shape[0], self.shape[-1]
        if len(self.inputs) == len(self.shape) - 1 and rank <= min(a.shape[1], last):
            return a.T.reshape(*self.shape[:-1], rank).copy(), b.T.copy()
        update = a.T.astype("float64") @ b.T.astype("float64")
        as_held = update.reshape([self.shape[axis] for axis in self._order]).transpose(
            np.argsort(self._order)
        )
        u, s, v = np.linalg.svd(as_held.reshape(-1, last), full_matrices=False)
        noise = 1e-13 if a.dtype == np.float64 else 1e-6
        found = max(1, int(np.sum(s > s[0] * noise)))
        root = np.sqrt(s[:found])
        first, second = (u[:, :found] * root), (root[:, None] * v[:found])
        return first.reshape(*self.shape[:-1], found), second

    @property
    def torch_shape(self) -> tuple[int, int]:
        """The shape of the weight as a matrix `[in, out]`."""
        rows = math.prod(self.shape[axis] for axis in self.inputs)
        return rows, math.prod(self.shape) // max(1, rows)

    @property
    def _order(self) -> tuple[int, ...]:
        """The axes of the weight, those of inputs first."""
        return (*self.inputs, *(axis for axis in range(len(self.shape)) if axis not in self.inputs))


def matrix_of(weight: Weight, inventory: Inventory) -> Matrix:
    """Return how a weight of a model is a matrix.

    Raises:
        DeltaError: It is not that of a Dense, EinsumDense or Embedding layer.
    """
    layer = inventory.layer_by_address[weight.layer].layer
    if getattr(layer, "embeddings", None) is weight.variable:
        return Matrix(weight.shape, (0,), True)
    if getattr(layer, "kernel", None) is weight.variable:
        if isinstance(layer, keras.layers.Dense):
            return Matrix(weight.shape, (0,))
        if isinstance(layer, keras.layers.EinsumDense):
            return Matrix(weight.shape, _inputs_of(layer, weight))
    raise _unknown(weight.address, f"a weight of the layer {type(layer).__name__}")


def matrix_of_shape(address: str, shape: tuple[int, ...]) -> Matrix:
    """Return how a weight is a matrix, as far as its shape alone tells.

    Raises:
        DeltaError: It has more than two axes.
    """
    if len(shape) != 2:
        raise DeltaError(
            f"cannot determine the input axes of {address!r} without its layer",
            received=f"a delta with a weight of shape {shape}",
            remedy="load the delta on its base, parametrized alike, and export that model",
        )
    return Matrix(shape, (0,), address.endswith("/embeddings"))


def _inputs_of(layer: Any, weight: Weight) -> tuple[int, ...]:
    operands, _, made = layer.equation.replace(" ", "").partition("->")
    taken, _, kernel = operands.partition(",")
    summed = tuple(axis for axis, letter in enumerate(kernel) if letter in taken and letter not in made)
    given = [letter for letter in kernel if letter in made and letter not in taken]
    if not summed or len(summed) + len(given) != len(kernel) or kernel[-1] not in made:
        raise _unknown(weight.address, f"an EinsumDense with the equation {layer.equation!r}")
    return summed


def _unknown(address: str, what: str) -> DeltaError:
    return DeltaError(
        f"{address!r} is not a matrix of inputs by outputs, as PEFT's adapters are",
        received=what,
        expected="the kernel of a Dense or EinsumDense layer, or the table of an Embedding",
    )
