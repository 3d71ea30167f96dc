"""Some elements of a weight: taking them out, putting them in, in any backend's tensors and in NumPy."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer[Any]]


class Elements(ABC):
    """Some elements of an array of one shape."""

    shape: tuple[int, ...]
    """Of the whole array."""

    @property
    @abstractmethod
    def part_shape(self) -> tuple[int, ...]:
        """The shape of the array that `take` returns and `put` is given."""

    @property
    def count(self) -> int:
        """How many there are."""
        return math.prod(self.part_shape)

    @abstractmethod
    def take(self, whole: Any) -> Any:
        """Return the elements of a tensor of the whole shape."""

    @abstractmethod
    def put(self, whole: Any, part: Any) -> Any:
        """Return the tensor `whole` with other values at the elements; gradients go to `part` only."""

    @abstractmethod
    def fill(self, array: npt.NDArray[Any], value: Any) -> None:
        """Set the elements of a NumPy array, in place."""

    def blocks(self, array: npt.NDArray[Any], value: Any) -> Iterator[npt.NDArray[Any]]:
        """Yield an array a few rows at a time, with other values at the elements; it stays as it is.

        Args:
            array: Of the whole shape.
            value: One number, or an array of `part_shape`.
        """
        if not array.ndim or not array.size:
            array = array.copy()
            self.fill(array, value)
            yield array
            return
        rows = max(1, _BLOCK * len(array) // max(1, array.nbytes))
        for first in range(0, len(array), rows):
            block = array[first : first + rows]
            index, inside = self._in_rows(first, first + len(block))
            if index is not None:
                block = block.copy()
                block[index] = value if np.ndim(value) == 0 else value[inside]
            yield block

    @abstractmethod
    def _in_rows(self, first: int, after: int) -> tuple[Any, Any]:
        """Return the index of the elements among some rows, and that of their values; None where none are."""


_BLOCK = 1 << 22
"""Bytes that are copied at a time: few enough to stay in a processor's cache."""


@dataclass(frozen=True, eq=False)
class Grid(Elements):
    """The elements where chosen places along some axes cross.

    Attributes:
        shape: Of the whole array.
        places: For each restricted axis the chosen places, ascending and unique.
    """

    shape: tuple[int, ...]
    places: Mapping[int, Ids]

    @property
    def part_shape(self) -> tuple[int, ...]:
        """The shape of the whole array, shortened along the restricted axes."""
        return tuple(len(self.places[n]) if n in self.places else size for n, size in enumerate(self.shape))

    def take(self, whole: Any) -> Any:
        """Return the elements of a tensor of the whole shape."""
        for axis, ids in self.places.items():
            whole = taken(whole, ids, axis)
        return whole

    def put(self, whole: Any, part: Any) -> Any:
        """Return the tensor `whole` with other values at the elements; gradients go to `part` only."""
        return self._put(whole, part, list(self.places.items()))

    def _put(self, whole: Any, part: Any, axes: list[tuple[int, Ids]]) -> Any:
        if not axes:
            return part
        (axis, ids), *others = axes
        inner = self._put(taken(whole, ids, axis), part, others) if others else part
        return replaced(whole, inner, ids, axis)

    def fill(self, array: npt.NDArray[Any], value: Any) -> None:
        """Set the elements of a NumPy array, in place."""
        array[np.ix_(*(self.places.get(n, np.arange(size)) for n, size in enumerate(self.shape)))] = value

    def _in_rows(self, first: int, after: int) -> tuple[Any, Any]:
        if 0 in self.places:
            low, high = np.searchsorted(self.places[0], (first, after))
            rows = self.places[0][low:high] - first
        else:
            low, high, rows = first, after, np.arange(after - first)
        others = (self.places.get(n, np.arange(size)) for n, size in enumerate(self.shape) if n)
        return (np.ix_(rows, *others), slice(low, high)) if len(rows) else (None, None)


@dataclass(frozen=True, eq=False)
class Scattered(Elements):
    """Elements anywhere, as a vector.

    Attributes:
        shape: Of the whole array.
        ids: Their places in C order, ascending and unique.
    """

    shape: tuple[int, ...]
    ids: Ids

    @property
    def part_shape(self) -> tuple[int, ...]:
        """One axis, as long as there are elements."""
        return (len(self.ids),)

    def take(self, whole: Any) -> Any:
        """Return the elements of a tensor of the whole shape."""
        from keras import ops

        return taken(ops.reshape(whole, (-1,)), self.ids, 0)

    def put(self, whole: Any, part: Any) -> Any:
        """Return the tensor `whole` with other values at the elements; gradients go to `part` only."""
        from keras import ops

        return ops.reshape(replaced(ops.reshape(whole, (-1,)), part, self.ids, 0), self.shape)

    def fill(self, array: npt.NDArray[Any], value: Any) -> None:
        """Set the elements of a NumPy array, in place."""
        array.reshape(-1)[self.ids] = value

    def _in_rows(self, first: int, after: int) -> tuple[Any, Any]:
        stride = math.prod(self.shape[1:])
        low, high = np.searchsorted(self.ids, (first * stride, after * stride))
        places = np.unravel_index(self.ids[low:high] - first * stride, (after - first, *self.shape[1:]))
        return (places, slice(low, high)) if low < high else (None, None)


def span(ids: Ids) -> tuple[int, int] | None:
    """Return the first place and the one after the last, where there is no gap between; else None."""
    first, after = int(ids[0]), int(ids[-1]) + 1
    return (first, after) if after - first == len(ids) else None


def taken(tensor: Any, ids: Ids, axis: int) -> Any:
    """Return what a tensor holds at some places along an axis."""
    from keras import ops

    if (whole := span(ids)) is not None:
        return _cut(tensor, whole[0], whole[1], axis)
    return ops.take(tensor, ids, axis=axis)


def replaced(tensor: Any, part: Any, ids: Ids, axis: int) -> Any:
    """Return a tensor that holds `part` at some places along an axis; the gradient goes to both."""
    from keras import ops

    size = int(tensor.shape[axis])
    if (whole := span(ids)) is not None:
        first, after = whole
        pieces = [_cut(tensor, 0, first, axis)] if first > 0 else []
        pieces.append(part)
        if after < size:
            pieces.append(_cut(tensor, after, size, axis))
        return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces, axis=axis)
    if axis in (0, -len(tensor.shape)):
        return ops.scatter_update(tensor, ids[:, None], part)
    return _interleaved(tensor, part, ids, axis, size)


def overwritten(tensor: Any, part: Any, ids: Ids, axis: int) -> Any:
    """Do so with a tensor that nobody else needs as it was: PyTorch writes into it, and copies nothing."""
    import keras

    if keras.backend.backend() != "torch":
        return replaced(tensor, part, ids, axis)
    if (whole := span(ids)) is not None:
        _cut(tensor, *whole, axis).copy_(part)
        return tensor
    return tensor.index_copy_(axis, keras.ops.convert_to_tensor(ids, dtype="int64"), part)


def _interleaved(tensor: Any, part: Any, ids: Ids, axis: int, size: int) -> Any:
    """Do so at places with gaps along any axis, with lookups alone, forwards and backwards."""
    from keras import ops

    order = np.arange(size, dtype=ids.dtype)
    order[ids] = size + np.arange(len(ids), dtype=ids.dtype)
    shape = [1] * len(tensor.shape)
    shape[axis] = size
    kept = np.reshape(order < size, shape)

    def put(whole: Any, part: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            # PyTorch gives the gradient by name, the others as the only argument.
            upstream = args[0] if upstream is None else upstream
            zero = ops.zeros((), dtype=upstream.dtype)
            return ops.where(kept, upstream, zero), ops.take(upstream, ids, axis=axis)

        return ops.take(ops.concatenate([whole, part], axis=axis), order, axis=axis), gradient

    return ops.custom_gradient(put)(tensor, part)


def _cut(tensor: Any, first: int, after: int, axis: int) -> Any:
    where = [slice(None)] * len(tensor.shape)
    where[axis] = slice(first, after)
    return tensor[tuple(where)]


def smallest(ids: npt.NDArray[Any]) -> Ids:
    """Return ids in 32 bits where they fit: JAX knows no others by default."""
    small = len(ids) == 0 or int(ids[-1]) < 2**31
    return ids.astype(np.int32 if small else np.int64)
