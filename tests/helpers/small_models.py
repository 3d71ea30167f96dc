"""Tiny models with named layers, shared by the tests that run once per backend.

Import as `from helpers.small_models import two_dense`: `pythonpath = ["tests"]` in pyproject.toml
makes `helpers` importable. Every builder seeds Keras first, so two calls give equal weights. Every
model but those of `attention` and `square_layers` maps a batch of 4 numbers to 2.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

INPUTS = 4
OUTPUTS = 2
SAMPLES = 8
STEPS = 5
SEED = 7


# --- builders ---------------------------------------------------------------------------------


def two_dense(regularizer: str | None = None) -> keras.Model:
    """Functional: Dense `a` (4 to 3), Dense `b` (3 to 2); `regularizer` is of `a`'s kernel."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((INPUTS,), name="x")
    hidden = layers.Dense(3, kernel_regularizer=regularizer, name="a")(inputs)
    return keras.Model(inputs, layers.Dense(OUTPUTS, name="b")(hidden), name="two_dense")


def sequential() -> keras.Sequential:
    """`two_dense` as a Sequential model."""
    keras.utils.set_random_seed(SEED)
    stack = [keras.Input((INPUTS,)), layers.Dense(3, name="a"), layers.Dense(OUTPUTS, name="b")]
    return keras.Sequential(stack, name="sequential")


def square_layers() -> keras.Model:
    """Functional: Dense `a`, `b`, `c`, each from 4 to 4, so that their weights can be confused."""
    keras.utils.set_random_seed(SEED)
    inputs = value = keras.Input((INPUTS,), name="x")
    for name in "abc":
        value = layers.Dense(INPUTS, name=name)(value)
    return keras.Model(inputs, value, name="square_layers")


def batch_norm() -> keras.Model:
    """Functional: Dense `a`, BatchNormalization `bn`, Dense `b`."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((INPUTS,), name="x")
    hidden = layers.BatchNormalization(name="bn")(layers.Dense(3, name="a")(inputs))
    return keras.Model(inputs, layers.Dense(OUTPUTS, name="b")(hidden), name="batch_norm")


def nested_dropout() -> keras.Model:
    """Functional model `backbone` (Dense `a`, Dropout `drop`) in another, then Dense `head`."""
    keras.utils.set_random_seed(SEED)
    inner = keras.Input((INPUTS,), name="inner_x")
    dropped = layers.Dropout(0.5, seed=SEED, name="drop")(layers.Dense(16, name="a")(inner))
    backbone = keras.Model(inner, dropped, name="backbone")
    inputs = keras.Input((INPUTS,), name="x")
    return keras.Model(inputs, layers.Dense(OUTPUTS, name="head")(backbone(inputs)), name="nested")


@keras.saving.register_keras_serializable("frostline_tests")
class Block(layers.Layer):
    """A custom layer with two Dense sublayers, `inner` and `outer`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = layers.Dense(3, name="inner")
        self.outer = layers.Dense(3, name="outer")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], 3))

    def call(self, inputs: Any) -> Any:
        return self.outer(self.inner(inputs))


def custom_block() -> keras.Model:
    """Functional: custom layer `block` with Dense sublayers `inner` and `outer`, Dense `head`."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((INPUTS,), name="x")
    hidden = Block(name="block")(inputs)
    return keras.Model(inputs, layers.Dense(OUTPUTS, name="head")(hidden), name="custom_block")


@keras.saving.register_keras_serializable("frostline_tests")
class Subclassed(keras.Model):
    """A subclassed model: custom layer `block`, then Dense `head`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = Block(name="block")
        self.head = layers.Dense(OUTPUTS, name="head")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.block.build(input_shape)
        self.head.build((*input_shape[:-1], 3))

    def call(self, inputs: Any) -> Any:
        return self.head(self.block(inputs))


def subclassed() -> keras.Model:
    """A built `Subclassed`."""
    keras.utils.set_random_seed(SEED)
    model = Subclassed(name="subclassed")
    model.build((None, INPUTS))
    return model


def attention() -> keras.Model:
    """Functional, a batch of 5 x 4 numbers to 2: MultiHeadAttention `mha`, mean, Dense `head`."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((STEPS, INPUTS), name="x")
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=2, name="mha")(inputs, inputs)
    pooled = layers.GlobalAveragePooling1D(name="pool")(attended)
    return keras.Model(inputs, layers.Dense(OUTPUTS, name="head")(pooled), name="attention")


@keras.saving.register_keras_serializable("frostline_tests")
class RawScale(layers.Layer):
    """Scales by `self.raw`, a variable of the backend itself and not a `keras.Variable`."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.raw = raw_variable(np.ones(input_shape[-1], "float32"))

    def call(self, inputs: Any) -> Any:
        return inputs * self.raw


def raw_variable(value: np.ndarray) -> Any:
    """`value` as a `tf.Variable`, an `nn.Parameter` or a `jnp` array."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return tf.Variable(value)
        case "torch":
            import torch

            return torch.nn.Parameter(torch.from_numpy(value))
        case "jax":
            import jax.numpy as jnp

            return jnp.asarray(value)
        case other:
            raise AssertionError(other)


def raw_value(model: keras.Model) -> np.ndarray:
    """What the raw variable of `raw_scale` holds."""
    return keras.ops.convert_to_numpy(model.get_layer("raw").raw).copy()


def raw_scale() -> keras.Model:
    """Functional: Dense `a`, `RawScale` `raw`, Dense `b`."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((INPUTS,), name="x")
    hidden = RawScale(name="raw")(layers.Dense(3, name="a")(inputs))
    return keras.Model(inputs, layers.Dense(OUTPUTS, name="b")(hidden), name="raw_scale")


@keras.saving.register_keras_serializable("frostline_tests")
class MakesLayer(layers.Layer):
    """Makes a Dense layer `fresh` inside `call`."""

    def call(self, inputs: Any) -> Any:
        return layers.Dense(OUTPUTS, name="fresh")(inputs)


def layer_in_call() -> keras.Model:
    """Functional: Dense `a`, then `MakesLayer` `maker`."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((INPUTS,), name="x")
    outputs = MakesLayer(name="maker")(layers.Dense(3, name="a")(inputs))
    return keras.Model(inputs, outputs, name="layer_in_call")


@keras.saving.register_keras_serializable("frostline_tests")
class UnusedLayer(keras.Model):
    """Dense `used` is called, Dense `unused` is built and never called."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.used = layers.Dense(OUTPUTS, name="used")
        self.unused = layers.Dense(OUTPUTS, name="unused")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.used.build(input_shape)
        self.unused.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.used(inputs)


def unused_layer() -> keras.Model:
    """A built `UnusedLayer`."""
    keras.utils.set_random_seed(SEED)
    model = UnusedLayer(name="unused_layer")
    model.build((None, INPUTS))
    return model


def variable(name: str = "v") -> keras.Variable:
    """A variable of two ones, of no layer."""
    return keras.Variable(np.ones(2, "float32"), name=name)


# --- losses -----------------------------------------------------------------------------------


def squared_error(y: Any, predicted: Any) -> Any:
    """Mean squared error."""
    return ops.mean(ops.square(ops.cast(y, "float32") - predicted))


def rounded_error(y: Any, predicted: Any) -> Any:
    """Mean squared error of rounded predictions: `round` has no derivative."""
    return ops.mean(ops.square(ops.cast(y, "float32") - ops.round(predicted)))


# --- running and looking ----------------------------------------------------------------------


def data_for(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Eight samples `x, y` of the shapes of `model`, the same at every call."""
    rng = np.random.default_rng(SEED)
    shape = (STEPS, INPUTS) if model.name == "attention" else (INPUTS,)
    outputs = INPUTS if model.name == "square_layers" else OUTPUTS
    x = rng.normal(size=(SAMPLES, *shape)).astype("float32")
    return x, rng.normal(size=(SAMPLES, outputs)).astype("float32")


def compiled(model: keras.Model, optimizer: Any = None, loss: Any = "mse") -> keras.Model:
    """`model`, compiled with `optimizer`, or with plain SGD."""
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.1), loss=loss)
    return model


def fit(model: keras.Model, epochs: int = 1, callbacks: list[Any] | None = None) -> None:
    """Two steps of `model.fit` an epoch."""
    x, y = data_for(model)
    model.fit(x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks or [])


def fitted(model: keras.Model) -> keras.Model:
    """`model`, compiled with plain SGD and fitted once."""
    compiled(model)
    fit(model)
    return model


def fitted_with_adam(model: keras.Model) -> keras.Model:
    """`model`, compiled with Adam and fitted once by Keras alone, so that it has slots."""
    compiled(model, optimizer=keras.optimizers.Adam(0.05))
    fit(model)
    return model


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of the values of all weights, by `Variable.path`."""
    return {weight.path: value_of(weight) for weight in model.weights}


def value_of(variable: Any) -> np.ndarray:
    """A copy of the value of a `keras.Variable`."""
    return ops.convert_to_numpy(variable.value).copy()


def is_readable(variable: Any) -> bool:
    """Whether the variable holds a value: after a failed `fit` on JAX it may not."""
    try:
        value_of(variable)
    except TypeError:  # Keras calls the initializer, which it no longer has
        return False
    return True


def moved(model: keras.Model, before: dict[str, np.ndarray]) -> set[str]:
    """The paths of the weights that differ from `before`."""
    now = snapshot(model)
    return {path for path, value in before.items() if not np.array_equal(value, now[path])}


def moved_by_fit(model: keras.Model) -> set[str]:
    """Fits once; the paths of the weights that moved."""
    before = snapshot(model)
    fit(model)
    return moved(model, before)


def outcome_of_fit(model: keras.Model, layer: str) -> str:
    """What a `fit` does to the layer's kernel: "moves", "stays", or the error it ends in."""
    kernel = model.get_layer(layer).kernel
    before = value_of(kernel)
    try:
        fit(model)
    except ValueError as error:
        return error_in_short(error)
    return "stays" if np.array_equal(before, value_of(kernel)) else "moves"


def error_in_short(error: ValueError) -> str:
    """Keras's messages for state that does not fit the trained weights, or the whole message."""
    for phrase in ("Unknown variable", "corresponding 1:1", "must match"):
        if phrase in str(error):
            return f"ValueError: {phrase}"
    return f"ValueError: {error}"


def gradient(model: keras.Model, variable: Any) -> np.ndarray | None:
    """The gradient of the squared error by `variable`, or None, as the backend itself gives it."""
    x, y = data_for(model)
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = squared_error(y, model(x, training=True))
            found = tape.gradient(loss, variable.value)
        case "torch":
            model.zero_grad()
            loss = squared_error(y, model(x, training=True))
            loss.backward()
            found = variable.value.grad
        case "jax":
            import jax

            def loss_of(value: Any) -> Any:
                with keras.StatelessScope(state_mapping=[(variable, value)]):
                    return squared_error(y, model(x, training=True))

            found = jax.grad(loss_of)(variable.value)
        case other:
            raise AssertionError(other)
    return None if found is None else ops.convert_to_numpy(found).copy()


def saved_and_loaded(model: keras.Model, folder: Path) -> keras.Model:
    """`model` written to a `.keras` file in `folder` and read back by Keras, in safe mode."""
    path = folder / "model.keras"
    model.save(path)
    return keras.models.load_model(path)
