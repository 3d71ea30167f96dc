"""Targets and outputs that the loss of a model raises on, in words."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from frostline.diagnostics.known_loss import known_loss
from frostline.errors import AuditError, FrostlineError, said, text_of


class RefusedByLossError(AuditError):
    """A loss of Keras's that raises on the targets and outputs of a model, as it does in training."""


def left_framework(error: Exception) -> bool:
    """Whether an error only says that a value left the framework: readers answer that themselves."""
    text = text_of(error)
    leaves = "symbolic" in text.lower() or "requires grad" in text or "Tracer" in type(error).__name__
    return leaves or type(error).__module__.startswith("jax.")


@contextmanager
def refusal_said(model: Any, loss: Any = None) -> Iterator[None]:
    """Say in words what a loss of Keras's raises inside the block; what one of the user's raises is theirs.

    Args:
        model: The model.
        loss: The loss that was given in place of the compiled one, if any.

    Raises:
        RefusedByLossError: In place of what a loss raised.
    """
    try:
        yield
    except FrostlineError:
        raise
    except Exception as error:
        raised_in = None if left_framework(error) else _loss_that_raised(error)
        if raised_in is None:
            raise
        own, values, output = raised_in
        loss = own if loss is None else loss
        if known_loss(loss) is None:
            raise
        raise refused(model, error, loss, values, _shape(output)) from error


def refused(model: Any, error: Exception, loss: Any, values: Any, output: Any) -> RefusedByLossError:
    """Return what a loss raised on targets and an output, in words.

    Args:
        model: The model.
        error: What it raised.
        loss: The loss.
        values: The targets.
        output: Shape of the output; None where there are several, or none is known.
    """
    known, targets = known_loss(loss), _shape(values)
    received = said(error)
    if targets is not None and output is not None:
        received = f"targets of shape {targets} and an output of shape {output}: {received}"
    expected, remedy = _mended(known.kind if known else "", targets, output)
    own = getattr(loss, "fn", loss)
    named = known.kind if known else getattr(own, "__name__", type(own).__name__)
    return RefusedByLossError(
        f"the loss of the model {model.name!r}, {named}, does not take these targets with its output",
        received=received,
        expected=expected,
        remedy=remedy,
    )


def is_raised_in_loss(error: Exception) -> bool:
    """Whether an error was raised inside of a loss."""
    return _loss_that_raised(error) is not None


def _loss_that_raised(error: Exception) -> tuple[Any, Any, Any] | None:
    """Return the loss inside of which an error was raised, with what it was called with; None elsewhere."""
    called, at = None, error
    while True:
        for frame, _ in traceback.walk_tb(at.__traceback__):
            known = frame.f_locals
            if frame.f_code.co_name == "__call__" and isinstance(known.get("self"), keras.losses.Loss):
                called = known["self"], known.get("y_true"), known.get("y_pred")
        # Keras 3.16 says it again in words of its own, behind all losses together.
        inner = at.__cause__ or at.__context__
        if not isinstance(inner, Exception):
            return called
        at = inner


def _shape(value: Any) -> tuple[int | None, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _mended(kind: str, targets: Any, output: Any) -> tuple[str, str]:
    """Return what a loss takes, and how to come there."""
    if kind == "" or targets is None or not output:
        return (
            "targets and an output that the loss takes, each as model.fit has them",
            "compare their shapes and numbers with what the loss computes",
        )
    classes = output[-1]
    labels = len(targets) < len(output) or targets[-1] == 1 != classes
    if kind.startswith("Categorical"):
        mend = (
            'of labels of classes: loss="sparse_categorical_crossentropy", or '
            f"y = keras.utils.to_categorical(y, {classes})"
        )
        other = "give the last layer as many units as the targets have classes"
        return f"targets of the shape of the output, {output}: one-hot", mend if labels else other
    if kind.startswith("Sparse"):
        return (
            f"one label for each row of the output, of shape {output[:-1]}",
            'of one-hot targets: loss="categorical_crossentropy", or y.argmax(-1)',
        )
    return (
        f"targets of the shape of the output, {output}",
        "give the targets that shape, or the last layer as many units as targets have numbers; of labels of "
        'several classes: loss="sparse_categorical_crossentropy"',
    )
