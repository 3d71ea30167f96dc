"""`explain`: why variables do or do not receive a gradient from a loss, without a model."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from frostline.backends import dispatch
from frostline.diagnostics.diagnosis import Diagnosis
from frostline.diagnostics.explanation import Explanations
from frostline.errors import FrostlineError
from frostline.graph.reader import Argument, Computation, ReadVariable

_CONSTANT = "the loss is a constant: it is computed from no variable, and was probably made before the call"


def explain(loss_fn: Callable[..., Any], variables: Any) -> Explanations:
    """Say of each variable whether a gradient comes back to it from a loss; if not, which line cuts it off.

    The function is traced once and run once. Nothing is written to any Keras variable.

    Args:
        loss_fn: Returns the loss, one scalar tensor. Takes no arguments, or the pytree that `variables` is.
        variables: A list, or a mapping by name, of `keras.Variable`, `tf.Variable`, or leaf `torch.Tensor`
            (`torch.nn.Parameter`). With JAX also any pytree of arrays. What is not meant to train
            (`trainable=False`, `requires_grad=False`) comes out as `frozen`.

    Returns:
        An `Explanation` for each variable: by its key in the mapping, its path or name, or `variables[0]`
        where it has none; for a pytree by the path to it.

    Raises:
        FrostlineError: Not a function, not variables, or the function returns no loss.

    Example:
        >>> import keras
        >>> from keras import ops
        >>> scale = keras.Variable([1.0, 2.0], name="scale")
        >>> shift = keras.Variable([0.5, 0.5], name="shift")
        >>> answer = explain(lambda: ops.sum(ops.round(scale) + shift), [scale, shift])
        >>> [(name, one.status) for name, one in answer.items()]
        [('scale', 'cut'), ('shift', 'trains')]
        >>> answer["scale"].cuts[0].operation
        'round'
    """
    computation, frozen = _computation(loss_fn, variables)
    trace = dispatch.trace(computation)
    if not trace.graph.weights:
        raise FrostlineError("there is no variable to explain", received=repr(variables))
    measured = dispatch.measure(computation)
    diagnosis = Diagnosis(trace, measured, frozen)
    notes = []
    if diagnosis.loss_is_constant:
        notes.append(_CONSTANT)
    if error := trace.error or measured.error:
        notes.append(f"the framework raises an error when asked for these gradients: {error.splitlines()[0]}")
    notes += [f"{one}; it is taken to pass" for one in trace.unasked]
    explained = {name: diagnosis.explain(name) for name in trace.graph.weights}
    return Explanations(explained, measured.loss, tuple(notes))


def _computation(loss_fn: Callable[..., Any], variables: Any) -> tuple[Computation, set[str]]:
    """What to trace, and the names of the variables that are not meant to train."""
    _require_function(loss_fn)
    named = _named(variables)
    if keras.backend.backend() == "jax" and not all(isinstance(v, keras.Variable) for _, v in named):
        _require_takes(loss_fn, 1, "the pytree of variables")
        return Computation(loss_fn, arguments=(Argument(variables, "weight"),)), set()
    _require_takes(loss_fn, 0, "no arguments")
    for name, variable in named:
        _require_variable(name, variable)
    frozen = {name for name, variable in named if not _is_meant_to_train(variable)}
    return Computation(loss_fn, tuple(ReadVariable(name, variable) for name, variable in named)), frozen


def _named(variables: Any) -> list[tuple[str, Any]]:
    if isinstance(variables, Mapping):
        return [(str(name), variable) for name, variable in variables.items()]
    if not isinstance(variables, Iterable) or hasattr(variables, "shape"):
        variables = [variables]
    entries = list(variables)
    if entries and all(isinstance(e, tuple) and len(e) == 2 and isinstance(e[0], str) for e in entries):
        return list(entries)
    met: Counter[str] = Counter()
    named = []
    for place, variable in enumerate(entries):
        name = _name_of(variable) or f"variables[{place}]"
        met[name] += 1
        named.append((name if met[name] == 1 else f"{name}#{met[name]}", variable))
    return named


def _name_of(variable: Any) -> str:
    name = getattr(variable, "path", None) or getattr(variable, "name", None)
    return name.removesuffix(":0") if isinstance(name, str) else ""


def _is_meant_to_train(variable: Any) -> bool:
    return bool(getattr(variable, "trainable", getattr(variable, "requires_grad", True)))


def _require_function(loss_fn: Any) -> None:
    if callable(loss_fn):
        return
    already = ": the loss itself, computed already" if hasattr(loss_fn, "shape") else ""
    raise FrostlineError(
        "the loss must be a function, so that its computation can be followed",
        received=f"a {type(loss_fn).__module__}.{type(loss_fn).__qualname__}{already}",
        expected="a function that computes the loss from the variables on, the forward pass included",
        remedy="write explain(lambda: loss_of(model(x), y), variables)",
    )


def _require_takes(loss_fn: Callable[..., Any], arguments: int, what: str) -> None:
    try:
        inspect.signature(loss_fn).bind(*[None] * arguments)
    except ValueError:
        return  # a function of C code tells nothing of its arguments
    except TypeError:
        raise FrostlineError(
            "the loss function cannot be called as it is",
            received=f"a function of {inspect.signature(loss_fn)}",
            expected=f"a function that takes {what}",
            remedy="wrap it: lambda: loss_fn(x, y)"
            if not arguments
            else "wrap it: lambda tree: loss_fn(tree, x, y)",
        ) from None


def _require_variable(name: str, variable: Any) -> None:
    backend = keras.backend.backend()
    fits = isinstance(variable, keras.Variable)
    if backend == "tensorflow":
        fits = fits or (hasattr(variable, "assign") and hasattr(variable, "trainable"))
    elif backend == "torch":
        fits = fits or (hasattr(variable, "requires_grad") and bool(variable.is_leaf))
    if fits:
        return
    kinds = {
        "tensorflow": "a keras.Variable or tf.Variable",
        "torch": "a keras.Variable, torch.nn.Parameter or leaf torch.Tensor",
        "jax": "keras.Variable, or a pytree of arrays that the function takes",
    }
    raise FrostlineError(
        f"{name!r} is not a variable that gradients can be computed for",
        received=f"a {type(variable).__module__}.{type(variable).__qualname__}",
        expected=kinds.get(backend, "a keras.Variable"),
        remedy="pass what the optimizer would update, such as model.trainable_variables",
    )
