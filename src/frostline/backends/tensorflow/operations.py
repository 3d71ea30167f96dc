"""What an operation of TensorFlow is called, what it holds and calls, and which line made it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import tensorflow as tf

from frostline.backends.tensorflow import internals
from frostline.backends.tensorflow.gradients import differentiable
from frostline.graph.ir import Where
from frostline.graph.source_lines import users_line

_NAMES = {
    "ArgMax": "argmax",
    "ArgMin": "argmin",
    "BatchMatMul": "matmul",
    "BiasAdd": "add",
    "DepthwiseConv2dNative": "depthwise_conv",
    "EagerPyFunc": "py_function",
    "MatMul": "matmul",
    "Mul": "multiply",
    "Neg": "negative",
    "Pow": "power",
    "PyFunc": "numpy_function",
    "PyFuncStateless": "numpy_function",
    "RealDiv": "divide",
    "ResourceGather": "gather",
    "Rint": "round",
    "Select": "where",
    "Sub": "subtract",
    "TopK": "top_k",
}
"""Operations whose name is not simply another spelling of what users call them."""


@cache
def operation_name(kind: str) -> str:
    """Return what users call a type of operation: `argmax` for `ArgMax`, `concat` for `ConcatV2`."""
    plain = re.sub(r"V\d$", "", kind)
    return _NAMES.get(plain) or re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\dD)(?=[A-Z])", "_", plain).lower()


def called_graphs(operation: Any, attribute: str) -> list[Any]:
    """Return the graphs of the functions that an attribute of an operation names."""
    functions = operation.get_attr(attribute)
    functions = functions if isinstance(functions, list) else [functions]
    return [internals.called_graph(operation, function) for function in functions]


def place(operation: Any) -> Where | None:
    """Return the user's line that made an operation."""
    frames = list(operation.traceback or ())  # None in a function that was loaded from a file
    return users_line((frame.filename, frame.lineno, frame.name) for frame in reversed(frames))


def nbytes(tensor: Any) -> int:
    """Return how many bytes the values of a tensor take, 0 where that is not known."""
    known = tensor.shape.is_fully_defined() and tensor.dtype not in (tf.resource, tf.variant, tf.string)
    return int(tensor.shape.num_elements() * tensor.dtype.size) if known else 0


def holds_floats(operation: Any, tensor: Any) -> bool:
    """Whether a derivative by a result of an operation can exist. A list is what its elements are."""
    if tensor.dtype != tf.variant:
        return differentiable(tensor)
    try:
        held = operation.get_attr("element_dtype")
    except ValueError:
        return True
    return bool(held.is_floating or held.is_complex)
