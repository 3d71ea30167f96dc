"""Weights whose gradient is zero at the start only, before a batch has left its state behind.

A stateful recurrent layer begins at a state of zeros, so that its recurrent kernel gets no gradient in the
first step of a sequence; so does what is weighed by a counter that begins at zero.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.calls import call_for_training
from frostline._keras.variables import to_numpy
from frostline.backends import dispatch
from frostline.diagnostics.model_loss import ModelLoss, tensors
from frostline.graph.reader import Computation, Measured, Trace
from frostline.model.inventory import Inventory

_ROUNDING = 1e-7
"""What part of the largest gradient rounding may leave of one that is zero in exact arithmetic."""


@dataclass(frozen=True, slots=True)
class CarriedState:
    """What becomes of gradients of zero once a batch has left its state behind.

    Attributes:
        woken: Names of the weights that get a gradient then.
        dropped: Addresses of state that would give weights one, were it handed on; Keras's training step on
            this backend does not.
    """

    woken: frozenset[str] = frozenset()
    dropped: tuple[str, ...] = ()


def after_a_batch(
    loss: ModelLoss,
    computation: Computation,
    measured: Measured,
    trace: Trace,
    trained: Collection[str],
) -> CarriedState:
    """Run a batch, measure again with the state that it leaves, and put all back, to the bit.

    Args:
        loss: The loss of the model on the batch.
        computation: The computation of it.
        measured: Its gradients.
        trace: What a reader saw, assignments among it.
        trained: Names of the weights that are to train and are not known to get a gradient later.
    """
    silent = {n for n in trained if (g := measured.gradients.get(n)) is not None and not g.any()}
    states = _states(loss.inventory, trace) if silent else {}
    if not states or not measured.is_finite:
        return CarriedState()
    try:
        left = _left_behind(loss, states)
        kept = {a: value for a, value in left.items() if _is_carried(loss.model, states[a])}
        woken = _woken(computation, states, kept, silent)
        dropped = {a: value for a, value in left.items() if a not in kept}
        useful = bool(dropped) and bool(_woken(computation, states, left, silent - woken))
    except Exception:  # a model without a call of its own, as GANs are: what was measured stands
        return CarriedState()
    return CarriedState(woken, tuple(dropped) if useful else ())


def _states(inventory: Inventory, trace: Trace) -> dict[str, Any]:
    """Return the variables, but for those of random numbers, that a batch leaves other values in."""
    known = {id(w.variable): w.address for w in inventory.of_role("state", "statistic")}
    written = (w.variable for w in trace.writes)
    return {known[id(v)]: v for v in written if id(v) in known and isinstance(v, keras.Variable)}


def _is_carried(model: Any, variable: Any) -> bool:
    """Whether Keras's training step hands a value on to the next batch."""
    return not dispatch.train_step().CARRIES_LISTED_ONLY or any(
        variable is one for one in model.non_trainable_variables
    )


def _left_behind(loss: ModelLoss, states: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    with (
        keras.StatelessScope(collect_losses=True) as scope,
        dispatch.gradient_check().same_randomness(),
        loss.inventory.held_state_kept(),
    ):
        call_for_training(loss.model, tensors(loss.x))
        found = {a: scope.get_current_value(variable) for a, variable in states.items()}
        return {a: to_numpy(value) for a, value in found.items() if value is not None}


def _woken(
    computation: Computation,
    states: Mapping[str, Any],
    values: Mapping[str, npt.NDArray[Any]],
    silent: Collection[str],
) -> frozenset[str]:
    if not values or not silent:
        return frozenset()
    with _holding((states[address], value) for address, value in values.items()):
        gradients = dispatch.measure(computation).gradients
    sizes = {n: float(np.abs(g).max(initial=0)) for n, g in gradients.items() if g is not None}
    least = _ROUNDING * max(sizes.values(), default=0.0)
    return frozenset(name for name in silent if sizes.get(name, 0.0) > least)


@contextmanager
def _holding(pairs: Iterator[tuple[Any, npt.NDArray[Any]]]) -> Iterator[None]:
    with ExitStack() as put_back:
        for variable, value in pairs:
            put_back.callback(variable.assign, to_numpy(variable).copy())
            variable.assign(value)
        yield
