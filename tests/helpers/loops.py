"""Training loops as users write them, one for each backend, for the tests of `fl.optimizer_for`."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

BACKEND = keras.backend.backend()
Batches = Iterable[tuple[np.ndarray, np.ndarray]]


def squared_error(y: Any, predicted: Any) -> Any:
    """Mean squared error, in float32."""
    return keras.ops.mean(keras.ops.square(keras.ops.cast(predicted, "float32") - y))


def run_loop(model: keras.Model, optimizer: Any, batches: Batches, *, jit: bool = True) -> None:
    """Train on some batches with this backend's own means, in a step compiled anew; eager on PyTorch."""
    {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND](model, optimizer, batches, jit)


def _tensorflow(model: keras.Model, optimizer: Any, batches: Batches, jit: bool) -> None:
    step = tensorflow_step(model, optimizer, jit=jit)
    for x, y in batches:
        step(x, y)


def tensorflow_step(model: keras.Model, optimizer: Any, *, jit: bool, **compiler: Any) -> Callable[..., Any]:
    """One step of a `GradientTape`."""
    import tensorflow as tf

    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(squared_error(y, model(x, training=True)))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))

    return tf.function(step, **compiler) if jit else step


def _torch(model: keras.Model, optimizer: Any, batches: Batches, jit: bool) -> None:
    for x, y in batches:
        model.zero_grad()
        loss = squared_error(keras.ops.convert_to_tensor(y), model(x, training=True))
        optimizer.scale_loss(loss).backward()
        optimizer.apply([w.value.grad for w in model.trainable_weights], model.trainable_weights)


def _jax(model: keras.Model, optimizer: Any, batches: Batches, jit: bool) -> None:
    step, state = jax_step(model, optimizer, jit=jit), jax_state(model, optimizer)
    for x, y in batches:
        state = step(state, x, y)
    write_back(model, optimizer, state)


def jax_state(model: keras.Model, optimizer: Any) -> tuple[list[Any], ...]:
    """What a JAX loop carries."""
    parts = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    return tuple([v.value for v in part] for part in parts)


def jax_step(model: keras.Model, optimizer: Any, *, jit: bool) -> Callable[..., Any]:
    """One step from state to state."""
    import jax

    def scaled_loss(trained: Any, fixed: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        predicted, fixed = model.stateless_call(trained, fixed, x, training=True)
        with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, state, strict=True))):
            return optimizer.scale_loss(squared_error(y, predicted)), fixed

    def step(carried: Any, x: Any, y: Any) -> Any:
        trained, fixed, state = carried
        grads, fixed = jax.grad(scaled_loss, has_aux=True)(trained, fixed, state, x, y)
        trained, state = optimizer.stateless_apply(state, grads, trained)
        return trained, fixed, state

    return jax.jit(step) if jit else step


def write_back(model: keras.Model, optimizer: Any, state: Any) -> None:
    """Assign what a JAX loop carried to the variables."""
    parts = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    for variables, held in zip(parts, state, strict=True):
        for variable, value in zip(variables, held, strict=True):
            variable.assign(value)
