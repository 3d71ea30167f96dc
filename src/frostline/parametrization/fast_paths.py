"""Layers that compute with a frozen base and a trained part without putting the weight together.

Putting a large table together at every step costs as much as the table. An embedding looks rows up in the
base and in the part; a layer with trained output columns computes these columns from the part, so only their
share of the weight's gradient is computed. The layer's method is replaced on the object alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from frostline._keras.calls import with_mask
from frostline.backends import dispatch
from frostline.elements.sets import Grid, Ids, overwritten, span
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Selection

Method = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class FastPath:
    """How a layer computes with the parts of one of its weights.

    Attributes:
        name: `lookup` or `columns`.
        method: The method of the layer that is replaced.
        make: Makes the new method from the old one.
    """

    name: str
    method: str
    make: Callable[[Method], Method]


def path_of(layers: Iterable[Any], weight: Any, how: Parametrization) -> str:
    """Return how layers would compute with a weight: `lookup`, `columns` or `general`.

    Args:
        layers: The layers that hold it.
        weight: Its variable, plain or not.
        how: The parametrization that is meant for it.
    """
    found = [fast_path(layer, weight, _Intended(how)) for layer in layers]
    return path_name(found)


def path_name(paths: Iterable[FastPath | None]) -> str:
    """Return the one name for what all layers do that hold a weight."""
    names = {path.name if path else "general" for path in paths}
    return names.pop() if len(names) == 1 else "general"


@dataclass(frozen=True, slots=True)
class _Intended:
    """Stands for a combination that is not made yet."""

    how: Parametrization


def fast_path(layer: Any, weight: Any, combination: Any) -> FastPath | None:
    """Return the fast path for a weight in a layer; None where the weight must be put together.

    Args:
        layer: A layer that holds the weight.
        weight: Its variable.
        combination: What the weight is made of, or will be.
    """
    how, shape = combination.how, tuple(int(n) for n in weight.shape)
    elements = how.elements(shape)
    if not isinstance(how, Selection) or not isinstance(elements, Grid) or len(elements.places) != 1:
        return None
    ((axis, ids),) = elements.places.items()
    split = _Split(layer, combination, how.part, ids)
    call, kinds = type(layer).call, keras.layers
    if axis == 0 and getattr(layer, "embeddings", None) is weight:
        if call is kinds.Embedding.call:
            return FastPath("lookup", "call", split.embedding)
        if call is kinds.ReversibleEmbedding.call:
            return FastPath("lookup", "call", split.reversible_embedding)
    if axis == len(shape) - 1 and getattr(layer, "kernel", None) is weight:
        if call is kinds.Dense.call:
            return FastPath("columns", "call", split.dense)
        if call is kinds.EinsumDense.call and _output_axis(layer.equation) is not None:
            return FastPath("columns", "call", split.einsum_dense)
        if isinstance(layer, kinds.Conv1D | kinds.Conv2D | kinds.Conv3D) and layer.groups == 1:
            return FastPath("columns", "convolution_op", split.convolution)
    return None


@dataclass(frozen=True, slots=True)
class _Split:
    """The base and the part of a weight, and the methods that compute with both."""

    layer: Any
    combination: Any
    name: str
    ids: Ids

    @property
    def _part(self) -> Any:
        return self.combination.part(self.name)

    def _changed(self) -> bool:
        """Whether the layer got an adapter of Keras's own or was quantized since: then its method knows."""
        return getattr(self.layer, "lora_enabled", False) or self.layer.quantization_mode is not None

    def embedding(self, call: Method) -> Method:
        """Return the `call` of an Embedding."""

        @functools.wraps(call)
        def looked_up(inputs: Any) -> Any:
            return call(inputs) if self._changed() or _is_sparse(inputs) else self._rows(inputs)

        return looked_up

    def reversible_embedding(self, call: Method) -> Method:
        """Return the `call` of a ReversibleEmbedding, whose table is also its output projection."""
        layer = self.layer

        @functools.wraps(call)
        def looked_up(inputs: Any, reverse: bool = False) -> Any:
            if self._changed() or _is_sparse(inputs) or (reverse and not layer.tie_weights):
                return call(inputs, reverse=reverse)
            if reverse:
                return self._logits(inputs)
            rows = self._rows(inputs)
            mask = keras.layers.Embedding.compute_mask(layer, inputs)
            return rows if mask is None else with_mask(rows, mask)

        return looked_up

    def _rows(self, inputs: Any) -> Any:
        ids = inputs if str(inputs.dtype).endswith(("int32", "int64")) else ops.cast(inputs, "int32")
        frozen, part = (ops.convert_to_tensor(one) for one in (self.combination.frozen(), self._part))
        return ops.cast(_joined(ids, frozen, part, self.ids), self.layer.compute_dtype)

    def _logits(self, inputs: Any) -> Any:
        layer, dtype, whole = self.layer, self.layer.reverse_dtype, span(self.ids)
        given = (inputs, self.combination.frozen(), self._part)
        inputs, frozen, part = (one if dtype is None else ops.cast(one, dtype) for one in given)

        def projected(table: Any) -> Any:
            return ops.matmul(inputs, ops.transpose(table))

        if whole is None:
            logits = overwritten(projected(frozen), projected(part), self.ids, -1)
        elif keras.backend.backend() == "torch":
            logits = _logits_overwritten(inputs, frozen, part, whole)
        else:
            # Logits are larger than the table: rows are left out before the product, not columns after it.
            tables = [frozen[: whole[0]], part, frozen[whole[1] :]]
            pieces = [projected(table) for table in tables if int(table.shape[0])]
            logits = ops.concatenate(pieces, axis=-1)
        cap = layer.logit_soft_cap
        return logits if cap is None else ops.multiply(ops.tanh(ops.divide(logits, cap)), cap)

    def dense(self, call: Method) -> Method:
        """Return the `call` of a Dense layer."""

        @functools.wraps(call)
        def in_columns(inputs: Any, training: Any = None) -> Any:
            if self._changed():
                return call(inputs, training=training)
            return self._finished(self._both(lambda kernel: ops.matmul(inputs, kernel), -1))

        return in_columns

    def einsum_dense(self, call: Method) -> Method:
        """Return the `call` of an EinsumDense layer."""
        equation = self.layer.equation
        axis = _output_axis(equation)
        assert axis is not None

        @functools.wraps(call)
        def in_columns(inputs: Any, training: Any = None) -> Any:
            if self._changed():
                return call(inputs, training=training)
            return self._finished(self._both(lambda kernel: ops.einsum(equation, inputs, kernel), axis))

        return in_columns

    def convolution(self, convolve: Method) -> Method:
        """Return the `convolution_op` of a convolution, which its `call` gives the kernel."""
        axis = 1 if self.layer.data_format == "channels_first" else -1

        @functools.wraps(convolve)
        def in_columns(inputs: Any, kernel: Any) -> Any:
            if getattr(kernel, "combination", None) is not self.combination:
                return convolve(inputs, kernel)
            return self._both(lambda kernel: convolve(inputs, kernel), axis)

        return in_columns

    def _both(self, apply: Method, axis: int) -> Any:
        return overwritten(apply(self.combination.frozen()), apply(self._part), self.ids, axis)

    def _finished(self, outputs: Any) -> Any:
        if self.layer.bias is not None:
            outputs = ops.add(outputs, self.layer.bias)
        return outputs if self.layer.activation is None else self.layer.activation(outputs)


def _joined(ids: Any, frozen: Any, part: Any, trained: Ids) -> Any:
    """Return rows of a table, for some of which a part has other ones."""
    own = dispatch.row_lookup()
    if own is not None:
        return own.joined(ids, frozen, part, trained)
    # An id that is out of range stays so, and the backend says what it says of it elsewhere.
    count = int(frozen.shape[0])
    ids = ops.where((ids < 0) & (ids >= -count), ids + count, ids)
    most = len(trained) - 1
    if (whole := span(trained)) is not None:
        place = ids - whole[0]
        nearest = ops.clip(place, 0, most)
        inside = ops.equal(place, nearest)
    else:
        rows = ops.convert_to_tensor(trained, dtype=ids.dtype)
        place = ops.searchsorted(rows, ops.reshape(ids, (-1,)))
        nearest = ops.clip(ops.reshape(place, ops.shape(ids)), 0, most)
        inside = ops.equal(ops.take(rows, nearest, axis=0), ids)
    new, old = ops.take(part, nearest, axis=0), ops.take(frozen, ids, axis=0)
    return ops.where(ops.expand_dims(inside, -1), new, old)


def _logits_overwritten(inputs: Any, frozen: Any, part: Any, place: tuple[int, int]) -> Any:
    """Return the product with a table of which the rows from one place to another are trained ones.

    Joining three products would copy all logits, once forwards and once backwards. So one product is made
    with the frozen table, and the columns of the trained rows are written into it.
    """
    first, after = place

    def put(inputs: Any, part: Any) -> Any:
        logits = ops.matmul(inputs, ops.transpose(frozen))
        logits[..., first:after] = ops.matmul(inputs, ops.transpose(part))

        def gradient(inputs: Any, part: Any, upstream: Any) -> tuple[Any, Any]:
            own = upstream[..., first:after]
            of_inputs = ops.matmul(upstream, frozen) + ops.matmul(own, part - frozen[first:after])
            flat_own, flat_inputs = (ops.reshape(one, (-1, one.shape[-1])) for one in (own, inputs))
            return of_inputs, ops.matmul(ops.transpose(flat_own), flat_inputs)

        return logits, gradient

    return ops.custom_gradient(put)(inputs, part)


def _output_axis(equation: str) -> int | None:
    """Return the axis of an EinsumDense's output that the last axis of its kernel makes, if there is one."""
    operands, _, output = equation.replace(" ", "").partition("->")
    inputs, _, kernel = operands.partition(",")
    letter = kernel[-1]
    if letter in inputs or letter not in output:
        return None
    after = output.partition(letter)[2]
    return output.index(letter) if "..." in after else -1 - len(after)


def _is_sparse(inputs: Any) -> bool:
    return type(inputs).__name__ in ("SparseTensor", "RaggedTensor", "BCOO")
