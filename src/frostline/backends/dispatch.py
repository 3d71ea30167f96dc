"""The choice among the sub-packages `jax`, `tensorflow` and `torch`, each loaded when first asked for.

Nowhere else is the name of a module put together from strings.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any, cast

import keras

from frostline.backends.private import failures_named
from frostline.backends.protocols import (
    CustomLoop,
    FiniteCheck,
    GradientCheck,
    LayerHoldings,
    Machines,
    Modules,
    RowLookup,
    TrainStep,
)
from frostline.graph.not_finite import NotFinite, NotFiniteFinder
from frostline.graph.reader import Computation, Measured, Reader, Trace
from frostline.graph.zero_gradient import Zeroing


def of_backend(module: str) -> Any:
    """Return a module for the backend that Keras runs on, such as `reader`; None where it has none such."""
    return _module(keras.backend.backend(), module)


@cache  # a lookup of rows takes microseconds, and asks each time
def _module(backend: str, module: str) -> Any:
    name = f"frostline.backends.{backend}.{module}"
    with failures_named():
        return importlib.import_module(name) if importlib.util.find_spec(name) else None


def reader() -> Reader:
    """Return the reader of gradient graphs."""
    return cast(Reader, of_backend("reader"))


def train_step() -> TrainStep:
    """Return what runs a training step without training."""
    return cast(TrainStep, of_backend("train_step"))


def gradient_check() -> GradientCheck:
    """Return what makes repeated evaluations of a loss comparable."""
    return cast(GradientCheck, of_backend("gradient_check"))


def finite_check() -> FiniteCheck:
    """Return what finds NaN and infinity on the device."""
    return cast(FiniteCheck, of_backend("finite_check"))


def custom_loop() -> CustomLoop:
    """Return what guards training loops of the user's own."""
    return cast(CustomLoop, of_backend("custom_loop"))


def machines() -> Machines:
    """Return what knows how a model is spread over machines."""
    return cast(Machines, of_backend("machines"))


def row_lookup() -> RowLookup | None:
    """Return the backend's own lookup of rows, None where Keras's operations are as fast."""
    return cast(RowLookup | None, of_backend("row_lookup"))


def modules() -> Modules:
    """Return what looks into models of the backend's own."""
    return cast(Modules, of_backend("modules"))


def holdings() -> LayerHoldings | None:
    """Return what finds state of layers that is not a Keras variable, None where there is no such state."""
    return cast(LayerHoldings | None, of_backend("holdings"))


def trace(computation: Computation) -> Trace:
    """Read the gradient graph of a computation. Nothing is written to any Keras variable.

    Raises:
        UnsupportedBackendError: The backend's version lacks something that is read of it.
    """
    with failures_named():
        return reader().read(computation)


def measure(computation: Computation) -> Measured:
    """Compute the loss and its gradients once. Nothing is written to any Keras variable.

    Raises:
        UnsupportedBackendError: The backend's version lacks something that is read of it.
    """
    with failures_named():
        return reader().measure(computation)


def first_not_finite(computation: Computation) -> NotFinite | None:
    """Return the first operation whose result or gradient is not finite. Nothing is written to any variable.

    Raises:
        UnsupportedBackendError: The backend's version lacks something that is read of it.
    """
    with failures_named():
        return cast(NotFiniteFinder, of_backend("not_finite")).first(computation)


def zeroing(computation: Computation) -> list[Zeroing]:
    """Return the operations at which a gradient becomes zero. Nothing is written to any variable.

    Raises:
        UnsupportedBackendError: The backend's version lacks something that is read of it.
    """
    with failures_named():
        return cast(NotFiniteFinder, of_backend("not_finite")).zeroing(computation)
