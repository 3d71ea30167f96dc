"""Trainings for the tests of watching: sound ones of many kinds, and a step that drops gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

layers = keras.layers
SAMPLES = 256
"""As many as single units are looked at on."""


def numbers(*shape: int, seed: int = 0) -> Any:
    """Return numbers around zero."""
    return np.random.default_rng(seed).normal(size=(SAMPLES, *shape)).astype("float32")


def mlp(activation: str = "relu", units: int = 16) -> Any:
    """Return two hidden layers and a head."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(units, activation, name="one"),
            layers.Dense(units, activation, name="two"),
            layers.Dense(1, name="head"),
        ],
        name="mlp",
    )


def target(x: Any) -> Any:
    """Return what can be learned of samples, with noise that cannot."""
    flat = x.reshape(len(x), -1)
    return (flat[:, :2].sum(axis=1, keepdims=True) + 0.3 * numbers(1, seed=9)).astype("float32")


def _mlp(optimizer: Callable[[], Any], **more: Any) -> tuple[Any, Any, Any]:
    model, x = mlp(**more), numbers(4)
    model.compile(optimizer(), "mse")
    return model, x, target(x)


def _cnn() -> tuple[Any, Any, Any]:
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, padding="same", name="conv"),
            layers.BatchNormalization(momentum=0.8, name="norm"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, name="head"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = numbers(6, 6, 2)
    return model, x, target(x)


def _rnn() -> tuple[Any, Any, Any]:
    model = keras.Sequential([keras.Input((5, 2)), layers.GRU(6, name="gru"), layers.Dense(1, name="head")])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = numbers(5, 2)
    return model, x, target(x)


def _half() -> tuple[Any, Any, Any]:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return _mlp(lambda: keras.optimizers.Adam(0.01))
    finally:
        keras.config.set_dtype_policy("float32")


def _classifier() -> tuple[Any, Any, Any]:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, "tanh", name="one"), layers.Dense(1, "sigmoid", name="head")]
    )
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    x = numbers(4)
    return model, x, (target(x) > 0).astype("float32")


SOUND: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "mlp, sgd": lambda: _mlp(lambda: keras.optimizers.SGD(0.02)),
    "mlp, adam": lambda: _mlp(lambda: keras.optimizers.Adam(0.005)),
    "tanh, momentum": lambda: _mlp(lambda: keras.optimizers.SGD(0.02, momentum=0.9), activation="tanh"),
    "adamw, ema": lambda: _mlp(lambda: keras.optimizers.AdamW(0.005, use_ema=True, ema_momentum=0.9)),
    "accumulation": lambda: _mlp(lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)),
    # Whole epochs without one update.
    "slow accumulation": lambda: _mlp(lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=7)),
    "rate that ends at 0": lambda: _mlp(
        lambda: keras.optimizers.SGD(keras.optimizers.schedules.PolynomialDecay(0.02, 40, 0.0))
    ),
    "mixed precision": _half,
    "cnn with norm": _cnn,
    "rnn": _rnn,
    "classifier": _classifier,
}
"""Trainings in which there is nothing to find: model, inputs, targets."""


class Dropping(keras.Model):  # type: ignore[misc]
    """Has a training step of its own, which uses the gradients of its first variables only, or of all."""

    def __init__(self, used: int | None, **named: Any) -> None:
        super().__init__(**named)
        self.one = layers.Dense(8, "tanh", name="one")
        self.head = layers.Dense(1, name="head")
        self._used = used

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.head(self.one(x))

    def train_step(self, *given: Any) -> Any:
        return {"jax": self._jax, "torch": self._torch, "tensorflow": self._tensorflow}[
            keras.backend.backend()
        ](*given)

    def _torch(self, data: Any) -> Any:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        loss = self.compute_loss(x, y, self(x, training=True))
        loss.backward()
        variables = self.trainable_variables
        gradients = [v.value.grad for v in variables]
        self._applied(variables, gradients)
        return {"loss": loss.detach()}

    def _tensorflow(self, data: Any) -> Any:
        import tensorflow as tf

        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        variables = self.trainable_variables
        self._applied(variables, tape.gradient(loss, variables))
        return {"loss": loss}

    def _applied(self, variables: Any, gradients: Any) -> None:
        chosen = list(zip(gradients, variables, strict=True))[: self._used]
        self.optimizer.apply_gradients(chosen)

    def _jax(self, state: Any, data: Any) -> Any:
        import jax

        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        trained, others, slots, metrics = state

        def loss_of(values: Any) -> Any:
            predicted, _ = self.stateless_call(values, others, x, training=True)
            return self.compute_loss(x, y, predicted)

        loss, gradients = jax.value_and_grad(loss_of)(trained)
        updated, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        kept = len(trained) if self._used is None else self._used
        return {"loss": loss}, ([*updated[:kept], *trained[kept:]], others, slots, metrics)


def dropping(used: int | None) -> tuple[Any, Any, Any]:
    """Return a training with such a step."""
    model, x = Dropping(used), numbers(4)
    model(x[:2])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model, x, target(x)
