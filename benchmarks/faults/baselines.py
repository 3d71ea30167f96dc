"""What the frameworks' own modes find on the same programs: plain training with the mode on.

`mode` is PyTorch's anomaly mode, `tf.debugging.enable_check_numerics` or `jax_debug_nans`; `warnings` is
what Keras and the backend warn of, or raise, in plain training. A program counts as found where the mode,
or a warning, says anything at all; on a twin the same is a false alarm. No line or reason is asked of them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.faults.programs import Fault
from benchmarks.faults.running import BACKEND, make, train

MODES = {
    "torch": "torch.autograd.set_detect_anomaly",
    "tensorflow": "tf.debugging.enable_check_numerics",
    "jax": "jax_debug_nans",
}


@contextmanager
def mode() -> Iterator[None]:
    """The backend's mode that looks for what is not finite."""
    if BACKEND == "torch":
        import torch

        with torch.autograd.set_detect_anomaly(True):
            yield
    elif BACKEND == "jax":
        import jax

        jax.config.update("jax_debug_nans", True)
        try:
            yield
        finally:
            jax.config.update("jax_debug_nans", False)
    else:
        import tensorflow as tf

        tf.debugging.enable_check_numerics()
        try:
            yield
        finally:
            tf.debugging.disable_check_numerics()


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage()[:200])


def heard(fault: Fault, *, twin: bool) -> dict[str, list[str]]:
    """What plain training says of a program: with the mode on, and without it."""
    with mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raised = _raised(fault, twin=twin)
    plain = _warnings(fault, twin=twin)
    # An error that comes without the mode as well is plain training's.
    return {"mode": [raised] if raised and not any("raised " in w for w in plain) else [], "warnings": plain}


def _raised(fault: Fault, *, twin: bool) -> str:
    try:
        return train(make(fault, twin=twin)).raised
    except Exception as error:  # whatever comes is what the mode says
        return f"{type(error).__name__}: {str(error)[:200]}"


def _warnings(fault: Fault, *, twin: bool) -> list[str]:
    listener = _Heard()
    loggers = [logging.getLogger(name) for name in ("", "absl", "tensorflow", "jax")]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(listener)
        try:
            raised = _raised(fault, twin=twin)
        finally:
            for logger in loggers:
                logger.removeHandler(listener)
    kinds = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)
    texts = [str(w.message)[:200] for w in seen if not issubclass(w.category, kinds)]
    return [*texts, *listener.messages, *([f"raised {raised}"] if raised else [])]


def evaluate(fault: Fault) -> dict[str, Any]:
    """Both arms on a program and its twin."""
    return {"itself": heard(fault, twin=False), "twin": heard(fault, twin=True)}
