"""`explain`: why variables do or do not receive a gradient from a loss, without a model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from frostline.backends import dispatch
from frostline.backends.variables_in import Found
from frostline.diagnostics.asked_variables import marked_as_frozen, variables_of
from frostline.diagnostics.diagnosis import Diagnosis
from frostline.diagnostics.equal_units import equal_units, said_of
from frostline.diagnostics.explanation import Explanation, Explanations, placed
from frostline.diagnostics.kernels import is_kernel
from frostline.diagnostics.moved_weights import values_of
from frostline.diagnostics.not_finite import find_not_finite
from frostline.diagnostics.unread import never_read
from frostline.diagnostics.zero_factors import zero_at_the_start
from frostline.diagnostics.zeroes import Zeroes, explained_by, find_zeroes
from frostline.errors import FrostlineError
from frostline.graph.ir import Graph
from frostline.graph.reader import Argument, Computation, Measured, ReadVariable

_CONSTANT = "the loss is a constant: it is computed from no variable, and was probably made before the call"
_MARKED = "take it out of `frozen` if it is to train"


def explain(loss_fn: Callable[..., Any], variables: Any, *, frozen: str | Iterable[str] = ()) -> Explanations:
    """Say of each variable whether a gradient comes back to it from a loss; if not, which line cuts it off.

    The function is traced once and run once. Where a gradient is zero beside a factor that is zero itself, as
    in LoRA before the first step, it is run again with a small step in that factor, which is then taken back
    to the bit. Nothing else is written to any variable.

    Args:
        loss_fn: Returns the loss, one scalar tensor. Takes no arguments; with JAX, where `variables` are no
            Keras variables, the pytree or the NNX module that they are.
        variables: What to ask about: a list, a mapping by name, or a nest of these, of `keras.Variable`,
            `tf.Variable`, or leaf `torch.Tensor` (`torch.nn.Parameter`); a Keras model or layer; with
            PyTorch a `torch.nn.Module`, with TensorFlow a `tf.Module`, with JAX any pytree of arrays, or a
            module of Flax NNX. What is not meant to train (`trainable=False`, `requires_grad=False`, of an
            NNX module what is no `nnx.Param`) comes out as `frozen`.
        frozen: Names, or globs for names, of more that is not meant to train, such as `"backbone/**"`.

    Returns:
        An `Explanation` for each variable: by its key in the mapping, its path or name, or `variables[0]`
        where it has none; in a nest by the path to it, such as `encoder/0/kernel`; for a parameter of a
        PyTorch module by the name that this gives it, such as `0.weight`.

    Raises:
        FrostlineError: Not a function, not variables, a name in `frozen` that nothing has, or the function
            returns no loss.

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
        >>> explain(lambda: ops.sum(scale + shift), [scale, shift], frozen="sh*")["shift"].status
        'frozen'
    """
    _require_function(loss_fn)
    found = variables_of(variables)
    computation = _computation(loss_fn, found)
    trace = dispatch.trace(computation)
    if not trace.graph.weights:
        raise FrostlineError("there is no variable to explain", received=repr(variables))
    marked = marked_as_frozen(frozen, trace.graph.weights)
    held = marked | {leaf.name for leaf in found.leaves if not leaf.trains}
    measured = dispatch.measure(computation)
    trained = trace.graph.weights.keys() - held
    starting = zero_at_the_start(computation, measured, trained)
    not_finite = find_not_finite(computation, measured)
    unread = never_read(computation, measured, trace, trained, starting)
    zeroes = find_zeroes(computation, measured, trained - unread, starting)
    diagnosis = Diagnosis(trace, measured, held, starting, not_finite, unread=unread)
    notes = []
    if diagnosis.loss_is_constant:
        notes.append(_CONSTANT)
    if error := trace.error or measured.error:
        notes.append(f"the framework raises an error when asked for these gradients: {error.splitlines()[0]}")
    if not_finite is not None and not math.isfinite(measured.loss):
        notes.append(f"the loss, {measured.loss:g}, is not finite: {placed(not_finite)}")
    notes += [f"{one}; it is taken to pass" for one in trace.unasked]
    if zeroes.unseen:
        notes.append(f"which operation hands back zeros was not seen: {zeroes.unseen}")
    values = values_of(computation, trained)
    explained = {
        name: _with_numbers(diagnosis.explain(name), zeroes, values.get(name), measured, trace.graph)
        for name in trace.graph.weights
    }
    explained |= {name: replace(explained[name], remedy=_MARKED) for name in marked}
    return Explanations(explained, measured.loss, tuple(notes))


def _with_numbers(
    found: Explanation,
    zeroes: Zeroes,
    value: npt.NDArray[Any] | None,
    measured: Measured,
    graph: Graph,
) -> Explanation:
    """Return an explanation with what the numbers of a weight and of its gradient say."""
    if found.status == "zero" and (cause := zeroes.cause_for([found.address])):
        return explained_by(cause, found)
    if found.status == "trains" and not found.note and value is not None and is_kernel(graph, found.address):
        alike = equal_units(value, measured.gradients.get(found.address))
        return replace(found, note=said_of(alike, value.shape[-1])) if alike else found
    return found


def _computation(loss_fn: Callable[..., Any], found: Found) -> Computation:
    """What to trace."""
    made_of = found.made_of
    if made_of is None:
        _require_takes(loss_fn, 0, "no arguments")
        return Computation(loss_fn, tuple(ReadVariable(leaf.name, leaf.value) for leaf in found.leaves))
    _require_takes(loss_fn, 1, found.noun)
    arguments = tuple(Argument(leaf.value, "weight", leaf.name) for leaf in found.leaves)
    return Computation(lambda *values: loss_fn(made_of(values)), arguments=arguments)


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
            else f"wrap it: lambda {(it := what.split()[1].removeprefix('py'))}: loss_fn({it}, x, y)",
        ) from None
