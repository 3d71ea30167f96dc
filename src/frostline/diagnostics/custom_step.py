"""The loss of a training step that somebody wrote by hand: whatever it takes gradients of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from frostline._keras.methods import patched
from frostline.backends import dispatch
from frostline.errors import AuditError, UnsupportedVersionError, said


def has_custom_step(model: Any) -> bool:
    """Whether a model has a training step of its own."""
    names = ("train_step", "compute_loss_and_updates")
    own = [name for name in names if hasattr(keras.Model, name)]
    return any(getattr(type(model), n) is not getattr(keras.Model, n) or n in vars(model) for n in own)


def loss_of_step(
    model: Any, x: Any, y: Any, sample_weight: Any, stopped: list[str], several: set[int]
) -> Any:
    """Run a model's own training step up to its gradients, and return the loss that it takes them of.

    Several losses, as of two networks that train against each other, are added, each with a weight of its
    own: what one has and the other has with the opposite sign would cancel. Nothing is updated.

    Args:
        model: The model.
        x: A batch of inputs.
        y: Its targets.
        sample_weight: Weights of its samples.
        stopped: Takes what the step raised behind a gradient, in words: what comes after it was not seen.
        several: Takes how many losses were added, where there is more than one.

    Raises:
        AuditError: The step asks for no gradient in a way that can be seen.
    """
    backend = dispatch.train_step()
    losses: list[Any] = []
    data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
    with backend.intercept_gradients(losses.append), _nothing_updated():
        try:
            model.train_step(*backend.arguments(model, data))
        except UnsupportedVersionError:
            raise
        except Exception as error:
            # Behind its gradients a step may do what zeros cannot carry; that is not what was asked.
            if not losses:
                raise
            stopped.append(f"behind gradient {len(losses)} it raised {said(error)}")
    if not losses:
        raise AuditError(
            f"the training step of the model {model.name!r} takes no gradient that can be seen",
            received=f"{type(model).__name__}.train_step, which ran to its end",
            expected="a step that calls GradientTape.gradient, jax.value_and_grad or loss.backward()",
            remedy="pass the loss: fl.audit(model, x, y, loss=...), or use fl.explain(loss_fn, variables)",
        )
    if len(losses) > 1:
        several.add(len(losses))
    first, *others = (keras.ops.sum(loss) for loss in losses)
    return sum((loss * (1 + _APART * k) for k, loss in enumerate(others, 1)), start=first)


_APART = 0.618
"""By how much the weights of added losses differ: no small whole number of them makes another."""


@contextmanager
def _nothing_updated() -> Iterator[None]:
    """Keep Keras's optimizers from updating anything: on PyTorch they write in place, past any scope."""

    def nothing(optimizer: Any, *_: Any, **__: Any) -> None:
        """Update nothing."""

    def as_before(optimizer: Any, slots: Any, gradients: Any, weights: Any) -> Any:
        return weights, slots

    with patched(
        keras.optimizers.Optimizer, apply=nothing, apply_gradients=nothing, stateless_apply=as_before
    ):
        yield
