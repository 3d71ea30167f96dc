"""Recipes that people train by, all sound: no finding above a note, and each weight as planned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from helpers.checks import these_on_each

rng = np.random.default_rng(0)
X = rng.normal(size=(16, 6)).astype("float32")
LABELS = np.arange(16) % 3
NUMBERS = (X[:, :1] - X[:, 1:2]).astype("float32")
IMAGES = rng.normal(size=(16, 12, 12, 3)).astype("float32")
STEPS = rng.normal(size=(16, 5, 6)).astype("float32")

registered = keras.saving.register_keras_serializable("sound_recipes")

Recipe = tuple[keras.Model, Any, Any, Any]
"""A compiled model, inputs, targets, and its plan or None."""


def compiled(
    model: keras.Model, optimizer: Any = "adam", loss: Any = "sparse_categorical_crossentropy"
) -> Any:
    model.compile(optimizer, loss)
    return model


def classifier(*body: Any, shape: tuple[int, ...] = (6,), optimizer: Any = "adam") -> keras.Model:
    end = layers.Dense(3, "softmax", name="head")
    return compiled(keras.Sequential([keras.Input(shape), *body, end]), optimizer)


def two_dense(**settings: Any) -> list[layers.Layer]:
    return [layers.Dense(16, "relu", name="first", **settings), layers.Dense(16, "relu", name="second")]


def lora() -> Recipe:
    return (
        classifier(*two_dense()),
        X,
        LABELS,
        fl.Plan().train("head/**").train("{first,second}/kernel", via=fl.LowRank(2)),
    )


def keras_lora() -> Recipe:
    model = classifier(*two_dense())
    model.get_layer("first").enable_lora(2)
    return model, X, LABELS, None


def qlora() -> Recipe:
    model = classifier(*two_dense())
    model.quantize("int8")
    model.get_layer("first").enable_lora(2)
    return compiled(model), X, LABELS, None


def adapters() -> Recipe:
    x = inputs = keras.Input((6,))
    for number in range(2):
        x = layers.Dense(16, "relu", name=f"block_{number}")(x)
        down = layers.Dense(4, "gelu", name=f"adapter_{number}_down")(x)
        up = layers.Dense(16, kernel_initializer="zeros", name=f"adapter_{number}_up")(down)
        x = layers.Add()([x, up])
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="head")(x))
    return compiled(model), X, LABELS, fl.Plan().train("adapter_*/**").train("head/**")


def zero_gamma() -> Recipe:
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    for number in range(2):
        y = layers.Conv2D(8, 3, padding="same", use_bias=False, name=f"conv_{number}")(x)
        y = layers.BatchNormalization(gamma_initializer="zeros", name=f"norm_{number}")(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="head")(layers.GlobalAveragePooling2D()(x)))
    return compiled(model, optimizers.SGD(0.1, momentum=0.9, nesterov=True)), IMAGES, LABELS, None


@registered
class ReZero(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Adds a layer, times a number that begins at zero."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.inner = layers.Dense(16, "relu", name="inner")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"name": self.name}

    def build(self, shape: Any) -> None:
        self.inner.build(shape)
        self.alpha = self.add_weight(shape=(), initializer="zeros", name="alpha")

    def call(self, x: Any) -> Any:
        return x + self.alpha * self.inner(x)


def rezero() -> Recipe:
    blocks = [ReZero(name=f"block_{n}") for n in range(4)]
    return classifier(layers.Dense(16, name="first"), *blocks), X, LABELS, None


@registered
class Student(keras.Model):  # type: ignore[misc]
    """Learns from labels and from a frozen teacher."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.teacher = keras.Sequential([layers.Dense(16, "relu"), layers.Dense(3)], name="teacher")
        self.teacher.trainable = False
        self.student = keras.Sequential([layers.Dense(8, "relu"), layers.Dense(3)], name="student")

    def build(self, shape: Any) -> None:
        self.teacher.build(shape)
        self.student.build(shape)

    def call(self, x: Any) -> Any:
        return self.student(x)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        soft = ops.softmax(self.teacher(x) / 2.0)
        hard = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        return ops.mean(hard) + ops.mean(keras.losses.kl_divergence(soft, ops.softmax(y_pred / 2.0)))


def distillation() -> Recipe:
    model = Student()
    model(X[:1])
    model.compile("adam")
    return model, X, LABELS, None


def gan_generator() -> Recipe:
    critic = keras.Sequential([layers.Dense(16, "leaky_relu"), layers.Dense(1)], name="critic")
    generator = keras.Sequential([layers.Dense(16, "relu"), layers.Dense(6)], name="generator")
    x = keras.Input((6,))
    model = keras.Model(x, critic(generator(x)))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    plan = fl.Plan().train("generator/**")
    return compiled(model, optimizers.Adam(2e-4, beta_1=0.5), loss), X, np.ones((16, 1)), plan


@registered
class Vae(keras.Model):  # type: ignore[misc]
    """Encoder, noise, decoder; the divergence is added in call."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.encoder, self.decoder = layers.Dense(8, name="encoder"), layers.Dense(6, name="decoder")
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x: Any) -> Any:
        mean, log_var = ops.split(self.encoder(x), 2, axis=-1)
        self.add_loss(-0.5 * ops.mean(1 + log_var - mean**2 - ops.exp(log_var)))
        return self.decoder(
            mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seeds)
        )


def vae() -> Recipe:
    model = Vae()
    model(X[:1])
    return compiled(model, loss="mse"), X, X, None


def siamese() -> Recipe:
    shared = keras.Sequential([layers.Dense(16, "relu"), layers.Dense(8)], name="shared")
    a, b = keras.Input((6,)), keras.Input((6,))
    similarity = layers.Dot(-1, normalize=True)([shared(a), shared(b)])
    model = keras.Model([a, b], layers.Dense(1, "sigmoid", name="same")(similarity))
    return compiled(model, loss="binary_crossentropy"), [X, X[::-1].copy()], (LABELS == 0) + 0.0, None


@registered
class Byol(keras.Model):  # type: ignore[misc]
    """Predicts what a moving average of itself makes of another view."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.online, self.target = layers.Dense(8, name="online"), layers.Dense(8, name="target")
        self.predictor = layers.Dense(8, name="predictor")

    def build(self, shape: Any) -> None:
        self.online.build(shape)
        self.target.build(shape)
        self.predictor.build((None, 8))

    def call(self, x: Any) -> Any:
        return self.predictor(self.online(x))

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        target = ops.stop_gradient(self.target(ops.flip(x, axis=0) * 0.9))
        return ops.mean(2 - 2 * ops.sum(ops.normalize(y_pred) * ops.normalize(target), axis=-1))


def byol() -> Recipe:
    model = Byol()
    model(X[:1])
    model.compile("adam")
    return model, X, NUMBERS, fl.Plan(default="train").assigned("target/**")


def mixed_precision() -> Recipe:
    policy = keras.DTypePolicy("mixed_float16")
    body = [
        layers.Dense(16, "relu", dtype=policy, name="first"),
        layers.Dense(16, "relu", dtype=policy, name="second"),
    ]
    return classifier(*body, optimizer=optimizers.LossScaleOptimizer(optimizers.Adam())), X, LABELS, None


def averages() -> Recipe:
    return classifier(*two_dense(), optimizer=optimizers.AdamW(use_ema=True)), X, LABELS, None


def accumulated() -> Recipe:
    return classifier(*two_dense(), optimizer=optimizers.Adam(gradient_accumulation_steps=4)), X, LABELS, None


def stateful_rnn() -> Recipe:
    x = keras.Input(batch_shape=(16, 5, 6))
    hidden = layers.GRU(8, stateful=True, name="memory")(x)
    return compiled(keras.Model(x, layers.Dense(3, "softmax", name="head")(hidden))), STEPS, LABELS, None


def regularized() -> Recipe:
    return (
        classifier(*two_dense(kernel_regularizer=keras.regularizers.L2(1e-3)), layers.Dropout(0.2)),
        X,
        LABELS,
        None,
    )


def warm_up() -> Recipe:
    rate = optimizers.schedules.CosineDecay(0.0, 100, warmup_target=1e-3, warmup_steps=10)
    return classifier(*two_dense(), optimizer=optimizers.AdamW(rate)), X, LABELS, None


def large_numbers() -> Recipe:
    """A regression on raw numbers under Adam: slow, and sound."""
    model = keras.Sequential([keras.Input((6,)), *two_dense(), layers.Dense(1, name="head")])
    return compiled(model, loss="mae"), 100 * X, 50 + NUMBERS, None


def normalized_inputs() -> Recipe:
    norm = layers.Normalization(name="norm")
    norm.adapt(1000 * X)
    return classifier(norm, *two_dense(), optimizer="sgd"), 1000 * X, LABELS, None


def trained_already() -> Recipe:
    model = classifier(*two_dense(), optimizer=optimizers.Adam(0.01))
    model.fit(X, LABELS, epochs=60, batch_size=16, verbose=0)
    return compiled(model, optimizers.Adam(1e-3)), X, LABELS, None


def transformer() -> Recipe:
    x = inputs = keras.Input((5, 6))
    x = layers.Dense(8, name="embed")(x)
    for number in range(2):
        attended = layers.MultiHeadAttention(2, 4, name=f"attention_{number}")(
            *[layers.LayerNormalization()(x)] * 2
        )
        x = layers.Add()([x, attended])
        x = layers.Add()([x, layers.Dense(8, "gelu")(layers.LayerNormalization()(x))])
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="head")(layers.GlobalAveragePooling1D()(x)))
    return compiled(model), STEPS, LABELS, None


RECIPES: dict[str, Callable[[], Recipe]] = {
    make.__name__: make
    for make in (
        *(lora, keras_lora, qlora, adapters, zero_gamma, rezero, distillation, gan_generator, vae, siamese),
        *(byol, mixed_precision, averages, accumulated, stateful_rnn, regularized, warm_up, large_numbers),
        *(normalized_inputs, trained_already, transformer),
    )
}


@pytest.mark.filterwarnings("ignore:(?s).*does not have a `quantize` method")
@pytest.mark.parametrize("name", these_on_each(RECIPES, ["lora", "byol", "stateful_rnn"]))
def test_a_sound_recipe_raises_no_alarm(name: str) -> None:
    keras.utils.set_random_seed(1)
    model, x, y, plan = RECIPES[name]()
    answer = fl.audit(model, x, y, plan=plan)
    assert [str(one.fact) for one in answer.findings if one.severity != "note"] == []
    assert answer.ok
