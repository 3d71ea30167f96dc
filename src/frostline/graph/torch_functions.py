"""PyTorch's functions by name: what users call them, and what their names alone say of gradients."""

from __future__ import annotations

from typing import Any

import torch

from frostline.graph.ir import Reason
from frostline.graph.torch_values import Use

DEPARTURES = frozenset(
    {
        "__array__",
        "__bool__",
        "__complex__",
        "__contains__",
        "__dlpack__",
        "__float__",
        "__index__",
        "__int__",
        "allclose",
        "equal",
        "is_nonzero",
        "item",
        "numpy",
        "tolist",
    }
)
"""Turn a tensor into a Python number or a NumPy array."""

FROM_PYTHON = frozenset(
    {
        "as_tensor",
        "asarray",
        "frombuffer",
        "full",
        "full_like",
        "from_numpy",
        "lift_fresh",
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
    "floordiv": "unregistered",
    "heaviside": "unregistered",
}

_NAMES = {
    "bool": "cast",
    "cat": "concatenate",
    "concat": "concatenate",
    "div": "divide",
    "double": "cast",
    "eq": "equal",
    "float": "cast",
    "CustomGradientFunction": "custom_gradient",
    "floordiv": "floor_divide",
    "ge": "greater_equal",
    "gt": "greater",
    "half": "cast",
    "int": "cast",
    "le": "less_equal",
    "long": "cast",
    "lt": "less",
    "mul": "multiply",
    "ne": "not_equal",
    "sub": "subtract",
    "to": "cast",
    "topk": "top_k",
    "type": "cast",
}

_WRITE_WITHOUT_SAYING = frozenset({"batch_norm", "instance_norm", "native_batch_norm"})


def called(func: Any) -> str:
    """Return the name of a function of PyTorch, that of the attribute for one that is read."""
    name = str(getattr(func, "__name__", type(func).__name__))
    if name in ("__get__", "__set__"):
        return str(getattr(func.__self__, "__name__", name))
    return name.partition(".")[0]


def operation(name: str) -> str:
    """Return what users call an operation, alike on all backends where it is the same."""
    bare = name.strip("_")
    return _NAMES.get(bare, bare)


def departure(name: str) -> str:
    """Return what users call a way out of PyTorch."""
    bare = name.strip("_")
    return "numpy" if bare == "array" else bare


def reason_by_name(name: str, given: tuple[Any, Any]) -> Reason | None:
    """Return why an operation lets no gradient through, as far as its name and its arguments tell."""
    positional, named = given
    if name in ("tensor", "new_tensor") and not isinstance(positional[-1], torch.Tensor):
        return "left_framework"  # a list of tensors is read number by number
    if named.get("rounding_mode") is not None:
        return "not_differentiable"
    return _REASONS.get(name.strip("_"))


def may_write(name: str) -> bool:
    """Whether a function may write to the memory of what it is given."""
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name in _WRITE_WITHOUT_SAYING or name == "__setitem__" or name.startswith("__i")


def that_matter(name: str, uses: list[Use]) -> list[Use]:
    """Return those operands whose values the result of a function depends on."""
    if name in READ_SHAPE_ALONE:
        return []
    return uses[1:] if name in OVERWRITE else uses
