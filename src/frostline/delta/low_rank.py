"""Adapters of low rank in the layout of PyTorch and PEFT, and in that of Keras.

A PyTorch Linear has a weight `[out, in]`, a Keras Dense a kernel `[in, out]`, and the kernels of an
EinsumDense (those of MultiHeadAttention) have several axes for inputs or outputs. As a matrix of all inputs
by all outputs they are the same.
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
        shape: The shape of the weight.
        inputs: How many of its leading axes are inputs; the others are outputs.
        embedding: Whether it is a table whose rows are looked up.
    """

    shape: tuple[int, ...]
    inputs: int
    embedding: bool = False

    def to_torch(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Return `A` and `B` as PyTorch holds them, `[rank, in]` and `[out, rank]`.

        Args:
            a: `A` of a `LowRank`: the shape of the weight with the rank in place of its last axis.
            b: `B`, of shape `(rank, last axis)`.
        """
        rank, last = b.shape
        rows = math.prod(self.shape[: self.inputs])
        groups = math.prod(self.shape[self.inputs : -1])
        # One `B` for all groups of outputs, such as heads: as one matrix it stands once for each of them.
        wide = a.reshape(rows, groups * rank)
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
        if self.inputs == len(self.shape) - 1 and rank <= min(a.shape[1], last):
            return a.T.reshape(*self.shape[:-1], rank).copy(), b.T.copy()
        update = (a.T.astype("float64") @ b.T.astype("float64")).reshape(-1, last)
        u, s, v = np.linalg.svd(update, full_matrices=False)
        noise = 1e-13 if a.dtype == np.float64 else 1e-6
        found = max(1, int(np.sum(s > s[0] * noise)))
        root = np.sqrt(s[:found])
        first, second = (u[:, :found] * root), (root[:, None] * v[:found])
        return first.reshape(*self.shape[:-1], found), second

    @property
    def torch_shape(self) -> tuple[int, int]:
        """The shape of the weight as a matrix `[in, out]`."""
        return math.prod(self.shape[: self.inputs]), math.prod(self.shape[self.inputs :])


def matrix_of(weight: Weight, inventory: Inventory) -> Matrix:
    """Return how a weight of a model is a matrix.

    Raises:
        DeltaError: It is not that of a Dense, EinsumDense or Embedding layer.
    """
    layer = inventory.layer_by_address[weight.layer].layer
    if getattr(layer, "embeddings", None) is weight.variable:
        return Matrix(weight.shape, 1, True)
    if getattr(layer, "kernel", None) is weight.variable:
        if isinstance(layer, keras.layers.Dense):
            return Matrix(weight.shape, 1)
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
    return Matrix(shape, 1, address.endswith("/embeddings"))


def _inputs_of(layer: Any, weight: Weight) -> int:
    operands, _, _ = layer.equation.replace(" ", "").partition("->")
    inputs, _, kernel = operands.partition(",")
    summed = [letter in inputs for letter in kernel]
    count = sum(summed)
    if summed != [True] * count + [False] * (len(kernel) - count) or count in (0, len(kernel)):
        raise _unknown(weight.address, f"an EinsumDense with the equation {layer.equation!r}")
    return count


def _unknown(address: str, what: str) -> DeltaError:
    return DeltaError(
        f"{address!r} is not a matrix of inputs by outputs, as PEFT's adapters are",
        received=what,
        expected="the kernel of a Dense or EinsumDense layer, or the table of an Embedding",
    )
