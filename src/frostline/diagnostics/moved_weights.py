"""A computation with other numbers in its weights, for a moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.variables import read_value, to_numpy
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


def _writer(variable: Any) -> Callable[[Array], object]:
    if hasattr(variable, "assign"):
        return lambda value: variable.assign(value)
    # A tensor of PyTorch: what is written beside the record of gradients leaves none there.
    return lambda value: variable.data.copy_(keras.ops.convert_to_tensor(value))
