"""PyTorch's functions by name: what users call them, and what their names alone say of gradients."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from frostline.backends.torch.values import Use
from frostline.graph.ir import Reason

HOST_READS = frozenset(
    {
        "__array__",
        "__complex__",
        "__dlpack__",
        "__float__",
        "__index__",
        "__int__",
        "item",
        "numpy",
        "tolist",
    }
)
"""Turn a tensor into a Python number or a NumPy array. `if tensor:` does not: no value comes of it."""

DECIDING = HOST_READS | {"__bool__", "is_nonzero"}
"""Give Python a value to choose a branch by."""

CHOOSING = frozenset({"", "cond", "switch", "while_loop"})
"""Who chooses: the user's own code, or a function of Keras that does so with what the user gave it."""

FROM_PYTHON = frozenset(
    {
        "as_tensor",
        "asarray",
        "frombuffer",
        "full",
        "full_like",
        "from_numpy",
        "new_full",
        "new_tensor",
        "scalar_tensor",
        "tensor",
    }
)
"""Turn Python numbers and NumPy arrays into a tensor."""

READ_SHAPE_ALONE = frozenset(
    {
        "empty_like",
        "full_like",
        "new_empty",
        "new_full",
        "new_ones",
        "new_zeros",
        "ones_like",
        "rand_like",
        "randint_like",
        "randn_like",
        "zeros_like",
    }
)
"""Take a tensor for its shape: no value of the result depends on one of its values."""

OVERWRITE = frozenset(
    {
        "cauchy_",
        "copy_",
        "exponential_",
        "fill_",
        "geometric_",
        "log_normal_",
        "normal_",
        "random_",
        "set_",
        "uniform_",
        "zero_",
    }
)
"""Put new values in the place of all that their first operand held."""

TAKE_NUMBERS = frozenset(
    {
        "add",
        "addcdiv",
        "addcmul",
        "clamp",
        "div",
        "divide",
        "lerp",
        "masked_fill",
        "mul",
        "multiply",
        "pow",
        "rsub",
        "sub",
        "subtract",
        "true_divide",
        "where",
    }
)
"""Take Python numbers as values, not as settings."""

_REASONS: dict[str, Reason] = {
    "detach": "detached",
    "grad": "detached",
    "data": "detached",
    "tensor": "detached",
    "new_tensor": "detached",
    "bernoulli": "not_differentiable",
    "ceil": "not_differentiable",
    "fix": "not_differentiable",
    "floor": "not_differentiable",
    "poisson": "not_differentiable",
    "round": "not_differentiable",
    "sgn": "not_differentiable",
    "sign": "not_differentiable",
    "trunc": "not_differentiable",
    "floor_divide": "unregistered",
    "heaviside": "unregistered",
}

_NAMES = {
    "CustomGradientFunction": "custom_gradient",
    "amax": "max",
    "amin": "min",
    "array": "numpy",
    "bmm": "matmul",
    "bool": "cast",
    "cat": "concatenate",
    "concat": "concatenate",
    "div": "divide",
    "double": "cast",
    "eq": "equal",
    "floordiv": "floor_divide",
    "ge": "greater_equal",
    "gt": "greater",
    "half": "cast",
    "le": "less_equal",
    "long": "cast",
    "lt": "less",
    "mm": "matmul",
    "mul": "multiply",
    "ne": "not_equal",
    "pow": "power",
    "sub": "subtract",
    "take_along_dim": "take_along_axis",
    "to": "cast",
    "topk": "top_k",
    "truediv": "divide",
    "type": "cast",
}

_ATTRIBUTES_WITH_VALUES = frozenset({"data", "grad", "T", "H", "mT", "mH", "real", "imag"})

_TELL_NO_VALUES = frozenset(
    {
        "dim",
        "element_size",
        "get_device",
        "is_complex",
        "is_contiguous",
        "is_floating_point",
        "numel",
        "size",
        "stride",
    }
)

_WRITE_WITHOUT_SAYING = frozenset({"batch_norm", "instance_norm", "native_batch_norm"})


@cache
def called(func: Any) -> str:
    """Return the name of a function of PyTorch, that of the attribute for one that is read."""
    name = str(getattr(func, "__name__", type(func).__name__))
    if name in ("__get__", "__set__"):
        name = str(getattr(func.__self__, "__name__", name))
        return name if name in _ATTRIBUTES_WITH_VALUES else ""
    name = name.partition(".")[0]
    return "" if name in _TELL_NO_VALUES else name


@cache
def operation_name(name: str) -> str:
    """Return what users call an operation, alike on all backends where it is the same."""
    bare = name.strip("_")
    return _NAMES.get(bare, bare)


def reason_by_name(name: str, given: tuple[Any, Any]) -> Reason | None:
    """Return why an operation lets no gradient through, as far as its name and its arguments tell."""
    positional, named = given
    if name in ("tensor", "new_tensor") and not isinstance(positional[-1], torch.Tensor):
        return "left_framework"  # a list of tensors is read number by number
    if named.get("rounding_mode") is not None:
        return "not_differentiable"
    return _REASONS.get(operation_name(name))


@cache
def may_write(name: str) -> bool:
    """Whether a function may write to the memory of what it is given."""
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name in _WRITE_WITHOUT_SAYING or name == "__setitem__" or name.startswith("__i")


def operands_that_matter(name: str, uses: list[Use]) -> list[Use]:
    """Return those operands whose values the result of a function depends on."""
    if name in READ_SHAPE_ALONE:
        return []
    return uses[1:] if name in OVERWRITE else uses
