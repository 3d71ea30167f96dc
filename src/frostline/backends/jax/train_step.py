"""Running a training step that somebody wrote by hand without training, on JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from frostline._keras.methods import patched

OBEYS_FREEZING = False
"""Which weights train is decided when the step is compiled."""

CARRIES_LISTED_ONLY = True
"""Its step is a function: state that is not among `non_trainable_variables` is dropped after each batch."""


def is_put_off(variable: Any) -> bool:
    """Whether a flag beside Keras's keeps gradients from a variable: there is none."""
    return False


def put_off(variable: Any) -> None:
    """Do nothing: there is no such flag."""


@contextmanager
def intercept_gradients(record: Callable[[Any], None]) -> Iterator[None]:
    """Let `jax.grad` and `jax.value_and_grad` record the loss and give zeros, without differentiating."""

    def value_and_grad(
        function: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, **_: Any
    ) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            record(value[0] if has_aux else value)
            chosen = args[argnums] if isinstance(argnums, int) else tuple(args[n] for n in argnums)
            return value, jax.tree_util.tree_map(jnp.zeros_like, chosen)

        return noted

    def grad(function: Any, argnums: Any = 0, has_aux: bool = False, **_: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            value, gradients = value_and_grad(function, argnums, has_aux)(*args, **kwargs)
            return (gradients, value[1]) if has_aux else gradients

        return noted

    with patched(jax, grad=grad, value_and_grad=value_and_grad):
        yield


def arguments(model: Any, data: Any) -> tuple[Any, ...]:
    """Return what `train_step` takes: the state of the model, and the data."""
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables if model.optimizer is not None else (),
        model.metrics_variables,
    )
    return tuple([variable.value for variable in group] for group in groups), data
