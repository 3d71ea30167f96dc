"""Whether a gradient passes an operation of TensorFlow, found by calling the gradient registered for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from frostline.backends.tensorflow import internals
from frostline.errors import UnsupportedVersionError
from frostline.graph.ir import Reason
from frostline.graph.reader import unasked as text_of_unasked

VALUELESS = frozenset(
    {"Shape", "ShapeN", "Rank", "Size", "ZerosLike", "OnesLike", "TensorListLength", "TensorListElementShape"}
)
"""Operations whose result does not depend on the values of what they are given."""

_BY_NAME: dict[str, Reason] = {
    "StopGradient": "stop_gradient",
    "PreventGradient": "stop_gradient",
    "PyFunc": "left_framework",
    "PyFuncStateless": "left_framework",
}
"""Operations without a gradient for another reason than their mathematics."""

_ZERO_IF_ANY = frozenset(
    {"Mul", "MulNoNan", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"}
)
_ZERO_IF_ALL = frozenset({"Add", "AddV2", "Sub", "AddN", "Pack", "ConcatV2", "Maximum", "Minimum"})
_ZERO_IF_FIRST = frozenset(
    {
        "Abs",
        "BroadcastTo",
        "Cast",
        "Conj",
        "Div",
        "DivNoNan",
        "ExpandDims",
        "GatherV2",
        "Identity",
        "Imag",
        "Mean",
        "Neg",
        "Pad",
        "Real",
        "RealDiv",
        "Reshape",
        "ReverseV2",
        "Sign",
        "Slice",
        "Snapshot",
        "Square",
        "Squeeze",
        "StopGradient",
        "StridedSlice",
        "Sum",
        "Tile",
        "Transpose",
    }
)
"""Operations whose result is zero where any, all, or the first of their inputs are."""


def differentiable(tensor: Any) -> bool:
    """Whether a derivative by the values of this tensor can exist. A list of tensors counts as floats."""
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex or tensor.dtype == tf.variant)


_known: dict[tuple[Any, ...], tuple[Reason | None, ...]] = {}
"""What operations without a gradient of their own answered before."""


def reasons(operation: Any, output: int, unasked: list[str]) -> tuple[Reason | None, ...]:
    """Say for each input why no gradient comes to it from an output, None where one does.

    By evidence: an input without a gradient is one for which the registered function returns none, or zeros.

    Args:
        operation: The operation.
        output: The number of its output.
        unasked: Takes what could not be asked, in words: there a gradient is taken to pass.
    """
    inputs = operation.inputs
    if not differentiable(operation.outputs[output]) or not any(map(differentiable, inputs)):
        # Integers at either end: the graph knows that by itself.
        return _alike(None, inputs)
    if operation.type in _BY_NAME:
        return _alike(_BY_NAME[operation.type], inputs)
    try:
        function = internals.gradient_function(operation)
    except LookupError:
        return _alike("unregistered", inputs)
    if function is None:
        return _alike("not_differentiable", inputs)
    if function is not internals.usual_gradient_function(operation):
        return _called_or_noted(operation, output, function, "zero_gradient", unasked)
    dtypes = tuple(tensor.dtype for tensor in inputs)
    key = (operation.type, output, dtypes, len(operation.outputs))
    if key in _known:
        return _known[key]
    before = len(unasked)
    answer = _called_or_noted(operation, output, function, "not_differentiable", unasked)
    if len(unasked) == before:
        _known[key] = answer
    return answer


def is_custom(operation: Any) -> bool:
    """Whether somebody gave this one operation a gradient of its own, as `tf.custom_gradient` does."""
    try:
        function = internals.gradient_function(operation)
    except LookupError:
        return False
    return function is not None and function is not internals.usual_gradient_function(operation)


def _alike(reason: Reason | None, inputs: Sequence[Any]) -> tuple[Reason | None, ...]:
    return (reason,) * len(inputs)


def _called_or_noted(
    operation: Any, output: int, function: Callable[..., Any], missing: Reason, unasked: list[str]
) -> tuple[Reason | None, ...]:
    try:
        return _called(operation, output, function, missing)
    except UnsupportedVersionError:
        raise
    except Exception as error:  # a function of the user's may raise anything, and not in training
        what = f"the gradient of {operation.name} ({operation.type})"
        unasked.append(text_of_unasked(what, error))
        return _alike(None, operation.inputs)


def _called(
    operation: Any, output: int, function: Callable[..., Any], missing: Reason
) -> tuple[Reason | None, ...]:
    """Call a gradient function in a graph that is thrown away, and look at what it returns for each input."""
    with operation.graph.as_default():
        scratch = internals.FuncGraph("frostline_gradient")
    with scratch.as_default():
        incoming = [_incoming(tensor, index == output) for index, tensor in enumerate(operation.outputs)]
        try:
            gradients = function(operation, *incoming)
        except (LookupError, NotImplementedError):
            return _alike("unregistered", operation.inputs)
        gradients = gradients if isinstance(gradients, list | tuple) else [gradients]
        alone = sum(differentiable(tensor) for tensor in operation.outputs) == 1
        zeros = _Zeros()
        return tuple(
            None if _passes(gradient, incoming[output], alone, zeros) else missing for gradient in gradients
        )


def _incoming(tensor: Any, asked: bool) -> Any:
    """What comes back to an output: anything to the one that is asked about, zeros or nothing to others."""
    if asked:
        placeholder = tf.compat.v1.placeholder(tensor.dtype, tensor.shape)
        internals.same_handle(placeholder, tensor)
        return placeholder
    return tf.zeros_like(tensor) if tensor.dtype.is_floating or tensor.dtype.is_complex else None


def _passes(gradient: Any, incoming: Any, alone: bool, zeros: _Zeros) -> bool:
    if gradient is None:
        return False
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else tf.convert_to_tensor(gradient)
    if zeros.surely(values):
        return False
    # A gradient that does not use the incoming one belongs to whichever output there is.
    return alone or any(operation is incoming.op for operation in _behind(values))


def _behind(tensor: Any) -> Iterator[Any]:
    waiting, met = [tensor.op], set()
    while waiting:
        operation = waiting.pop()
        if id(operation) not in met:
            met.add(id(operation))
            yield operation
            waiting.extend(given.op for given in operation.inputs)


class _Zeros:
    """Tells tensors that are zero whatever comes, from how they are made."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def surely(self, tensor: Any) -> bool:
        """Whether a tensor is zero for certain."""
        if id(tensor) not in self._known:
            self._known[id(tensor)] = False
            self._known[id(tensor)] = self._made_of_zeros(tensor)
        return self._known[id(tensor)]

    def _made_of_zeros(self, tensor: Any) -> bool:
        kind, inputs = tensor.op.type, tensor.op.inputs
        if kind == "Const":
            value = tf.get_static_value(tensor)
            return value is not None and not np.any(value)
        if kind == "ZerosLike":
            return True
        if kind == "Fill":
            return self.surely(inputs[1])
        if kind in ("Select", "SelectV2"):
            return self.surely(inputs[1]) and self.surely(inputs[2])
        if kind in _ZERO_IF_ANY:
            return any(self.surely(given) for given in inputs)
        if kind in _ZERO_IF_ALL:
            return all(self.surely(given) for given in inputs if given.dtype == tensor.dtype)
        return kind in _ZERO_IF_FIRST and self.surely(inputs[0])
