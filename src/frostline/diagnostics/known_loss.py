"""Which of Keras's own losses a loss is, and with which settings; one of the user's own is none of them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import keras
import numpy.typing as npt

from frostline._keras.calls import loss_settings
from frostline.model.syntax import syntax_of

_CAPITALS = {"Kl": "KL", "Ctc": "CTC"}
"""What a name in snake case does not tell of that of the class."""

_DEEPEST = 5
"""Through how many functions a loss is followed."""


@dataclass(frozen=True, slots=True)
class KnownLoss:
    """A loss of Keras's own.

    Attributes:
        kind: Name of its class, such as `BinaryCrossentropy`.
        settings: What its function is called with: `from_logits`, `axis`, `ignore_class` and the like.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def known_loss(loss: Any) -> KnownLoss | None:
    """Return which loss of Keras's own a loss is; None of any other, which may do with targets what it likes.

    Takes a name, a function, an object, a subclass that leaves the computation as it is, a `partial`, and a
    function that only hands targets and predictions on to one of these.
    """
    return _known(loss, _DEEPEST)


def computed(loss: Any, values: npt.NDArray[Any], output: npt.NDArray[Any]) -> Any:
    """Compute a loss of Keras's own as a compiled model does, targets in floating point and ranks aligned.

    Args:
        loss: The loss.
        values: The targets.
        output: The predictions.

    Raises:
        Exception: Whatever Keras or the backend raises on these shapes or numbers.
    """
    loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        if values.ndim + 1 == output.ndim and output.shape[-1] == 1:
            values = values[..., None]
        elif values.ndim == output.ndim + 1 and values.shape[-1] == 1:
            values = values[..., 0]
    given = keras.ops.convert_to_tensor(values, "float32"), keras.ops.convert_to_tensor(output, "float32")
    return loss(*given)


def _known(loss: Any, deepest: int) -> KnownLoss | None:
    if deepest == 0:
        return None
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None
    if isinstance(loss, type):
        return _of_class(loss, deepest)
    if isinstance(loss, functools.partial):
        inner = None if loss.args else _known(loss.func, deepest - 1)
        return inner and KnownLoss(inner.kind, {**inner.settings, **loss.keywords})
    if isinstance(loss, keras.losses.Loss):
        return _of_object(loss, deepest)
    name = str(getattr(loss, "__name__", ""))
    # A decorator may hand on the name of what it wraps, and its module.
    if name and getattr(keras.losses, name, None) is loss:
        return KnownLoss("".join(_CAPITALS.get(part, part) for part in name.title().split("_")))
    return _handed_on(loss, deepest)


def _of_class(loss: Any, deepest: int) -> KnownLoss | None:
    """Return what a class is of which `compile` makes an object by itself."""
    if not issubclass(loss, keras.losses.Loss):
        return None
    try:
        return _of_object(loss(), deepest)
    except TypeError:  # it takes arguments
        return None


def _of_object(loss: Any, deepest: int) -> KnownLoss | None:
    """Return what an object is whose computation is Keras's own, that of a function with settings."""
    computes = all(
        str(getattr(getattr(type(loss), name), "__module__", "")).startswith("keras.")
        for name in ("call", "__call__")
    )
    inner = _known(getattr(loss, "fn", None), deepest - 1) if computes else None
    return inner and KnownLoss(inner.kind, {**inner.settings, **loss_settings(loss)})


def _handed_on(function: Any, deepest: int) -> KnownLoss | None:
    """Return what a function hands its targets and predictions on to, where it does nothing else."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code.co_argcount < 2 or hasattr(function, "__wrapped__"):
        return None
    call = _only_call(syntax_of(code))
    if call is None or [_name(one) for one in call.args] != list(code.co_varnames[:2]):
        return None
    try:
        settings = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except ValueError:  # computed, so not known
        return None
    inner = _known(_found(call.func, function), deepest - 1)
    return inner and KnownLoss(inner.kind, {**inner.settings, **settings})


def _only_call(node: Any) -> ast.Call | None:
    body = getattr(node, "body", None)
    if isinstance(body, list):
        statements = [one for one in body if not _is_docstring(one)]
        single = len(statements) == 1 and isinstance(statements[0], ast.Return)
        body = statements[0].value if single else None
    return body if isinstance(body, ast.Call) else None


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _name(node: Any) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _found(node: Any, function: Any) -> Any:
    """Return what a name, or a chain of attributes of modules, stands for inside a function; else None."""
    if isinstance(node, ast.Attribute):
        return getattr(_found(node.value, function), node.attr, None)
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    name = _name(node)
    try:
        return cells[name].cell_contents if name in cells else function.__globals__.get(name)
    except ValueError:  # not set yet
        return None
