"""Weights whose gradient is zero at the start only, since another factor beside them begins at zero.

The second factor of LoRA begins at zero, so that the adapted model begins as the original one. Until it has
made a step, the first one gets a gradient of zero in every element, and nothing is wrong with that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.variables import read_value, to_numpy
from frostline.backends import dispatch
from frostline.graph.reader import Computation, Measured

Array = npt.NDArray[Any]

_STEP = 1e-3
"""The largest element of what is written for a moment where zeros stand: too little to switch a unit on."""


def zero_at_the_start(
    computation: Computation, measured: Measured, trained: Collection[str]
) -> frozenset[str]:
    """Return the weights whose gradient is zero, and is not once those that are zero have made a step.

    Where there are any that could be, the gradients are computed once more, with a small step against its
    gradient in each weight that is zero in every element. It is taken back, to the bit.

    Args:
        computation: The computation.
        measured: Its gradients.
        trained: Names of the weights that are to train: no other makes a step.
    """
    gradients = {name: g for name, g in measured.gradients.items() if g is not None and np.isfinite(g).all()}
    sleeping = {name for name, gradient in gradients.items() if name in trained and not gradient.any()}
    values = _values(computation)
    woken: set[str] = set()
    steps: dict[str, Array] = {}
    new = {name for name, gradient in gradients.items() if name in trained and gradient.any()}
    while sleeping - woken:
        more = {name: _step(gradients[name]) for name in new if name in values and not _any(values[name])}
        if not more:
            break
        steps |= more
        with _stepped(computation, steps) as moved:
            again = dispatch.measure(moved)
        gradients = {name: g for name, g in again.gradients.items() if g is not None}
        new = {name for name in sleeping - woken if name in gradients and gradients[name].any()}
        woken |= new
    return frozenset(woken)


def _step(gradient: Array) -> Array:
    against = -gradient.astype("float32")
    return np.asarray(against * (_STEP / np.abs(against).max()))


def _values(computation: Computation) -> Mapping[str, Any]:
    """The weights of a computation that can be written to, by name."""
    found = {s.name: s.variable for s in computation.variables if s.kind == "weight"}
    return found | {a.name: a.value for a in computation.arguments if a.kind == "weight"}


def _any(variable: Any) -> bool:
    return bool(np.any(np.asarray(read_value(variable))))


@contextmanager
def _stepped(computation: Computation, steps: Mapping[str, Array]) -> Iterator[Computation]:
    """Yield the computation with these values for some of its weights, and put their own back."""
    arguments = tuple(
        replace(a, value=steps[a.name].astype(np.asarray(a.value).dtype))
        if a.kind == "weight" and a.name in steps
        else a
        for a in computation.arguments
    )
    with ExitStack() as put_back:
        for source in computation.variables:
            if source.kind == "weight" and source.name in steps:
                write = _writer(source.variable)
                put_back.callback(write, to_numpy(source.variable))
                write(steps[source.name])
        yield replace(computation, arguments=arguments)


def _writer(variable: Any) -> Callable[[Array], object]:
    if hasattr(variable, "assign"):
        return lambda value: variable.assign(value)
    # A tensor of PyTorch: what is written beside the record of gradients leaves none there.
    return lambda value: variable.data.copy_(keras.ops.convert_to_tensor(value))
