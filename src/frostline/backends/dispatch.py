"""The choice among the sub-packages `jax`, `tensorflow` and `torch`, each loaded when first asked for."""

from __future__ import annotations

import importlib
from typing import Any, cast

from frostline.graph.reader import Measured, Reader, Subject, Trace


def of_backend(module: str) -> Any:
    """Return a module that each backend has, such as `reader`, for the backend that Keras runs on."""
    import keras

    return importlib.import_module(f"frostline.backends.{keras.backend.backend()}.{module}")


def reader() -> Reader:
    """Return the reader of gradient graphs."""
    return cast(Reader, of_backend("reader"))


def trace(subject: Subject) -> Trace:
    """Read the gradient graph of a computation. Nothing is written to any Keras variable."""
    return reader().read(subject)


def measure(subject: Subject) -> Measured:
    """Compute the loss and its gradients once. Nothing is written to any Keras variable."""
    return reader().measure(subject)
