"""A computation with other numbers in its weights, for a moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.variables import read_value, to_numpy
from frostline.backends import dispatch
from frostline.graph.reader import Computation

Array = npt.NDArray[Any]


def values_of(computation: Computation, names: Collection[str]) -> dict[str, Array]:
    """Return the numbers of those of these weights that can be written to, by name; to be read at once."""
    found = {s.name: s.variable for s in computation.variables if s.kind == "weight"}
    found |= {a.name: a.value for a in computation.arguments if a.kind == "weight"}
    return {name: np.asarray(read_value(found[name])) for name in names if name in found}


@contextmanager
def with_values(computation: Computation, values: Mapping[str, Array]) -> Iterator[Computation]:
    """Yield the computation with these numbers in some of its weights; their own are put back, to the bit."""
    arguments = tuple(
        replace(a, value=values[a.name].astype(np.asarray(a.value).dtype))
        if a.kind == "weight" and a.name in values
        else a
        for a in computation.arguments
    )
    with ExitStack() as put_back:
        for source in computation.variables:
            if source.kind == "weight" and source.name in values:
                write = _writer(source.variable)
                put_back.callback(write, to_numpy(source.variable))
                write(values[source.name])
        yield replace(computation, arguments=arguments)


def loss_stays(
    computation: Computation, changes: Iterable[Mapping[str, Array]], *, rounding: float = 0.0
) -> bool:
    """Whether the loss stays the same with each of these changes; one that raises does not.

    Args:
        computation: The computation.
        changes: Other numbers for some of its weights.
        rounding: By how much of itself it may differ all the same; 0 asks for the same bits.
    """
    usual = dispatch.measure(computation).loss
    for values in changes:
        with with_values(computation, values) as moved:
            try:
                found = dispatch.measure(moved).loss
            except Exception:  # of the user's code, which looks at these numbers: it depends on them
                return False
        if not abs(found - usual) <= rounding * abs(usual):  # NaN is not the same
            return False
    return True


def is_idle(computation: Computation, values: Mapping[str, Array]) -> bool:
    """Whether the loss stays the same, but for rounding, with other numbers in weights that hold these.

    Half as large again, and shifted by less than their size: a scale keeps its sign, which a normalization
    would not take out.
    """
    rng = np.random.default_rng(0)
    scaled = {name: np.asarray(value * 1.5, value.dtype) for name, value in values.items()}
    by = {name: rng.uniform(0.1, 0.5, v.shape) * (np.abs(v).max() or 1.0) for name, v in values.items()}
    shifted = {name: np.asarray(value + by[name], value.dtype) for name, value in values.items()}
    return loss_stays(computation, (scaled, shifted), rounding=_ROUNDING)


_ROUNDING = 3e-6
"""What rounding in float32 (6e-8 for one operation) may change of a loss."""


def _writer(variable: Any) -> Callable[[Array], object]:
    if hasattr(variable, "assign"):
        return lambda value: variable.assign(value)
    # A tensor of PyTorch: what is written beside the record of gradients leaves none there.
    return lambda value: variable.data.copy_(keras.ops.convert_to_tensor(value))
