"""What the tests of `fl.layers` share: one of each layer, references in NumPy, training beside a twin.

Import as `from helpers.layer_checks import CASES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline import layers
from helpers.checks import quick_first

BACKEND = keras.backend.backend()
SEED = 11
SAMPLES = 16
STEPS = 5
RELATIVE = 1e-6
"""Between a layer and its twin written by hand, of the largest number in a weight."""

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01),
    "Lion": lambda: keras.optimizers.Lion(0.005, weight_decay=0.1),
}
every_optimizer = pytest.mark.parametrize("optimizer", quick_first(OPTIMIZERS, ["SGD", "AdamW"]))

Values = dict[str, np.ndarray]


def numbers(*shape: int, seed: int = SEED) -> np.ndarray:
    """Well-scaled float32 numbers, the same at every call."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def array(value: Any) -> np.ndarray:
    """A copy of a tensor or variable; bfloat16 as float32."""
    return np.array(keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")))


def exact(value: Any) -> np.ndarray:
    """A copy of a tensor or variable in its own dtype."""
    return np.array(keras.ops.convert_to_numpy(value))


# --- one of each ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A layer, and what it computes written in NumPy.

    Attributes:
        make: From the width of the input, a dtype policy and a name.
        reference: From the input, the layer's weights by name, and the width.
        held: Names of the variables that nothing trains.
        ids: Whether it takes ids.
    """

    make: Callable[..., Any]
    reference: Callable[[np.ndarray, Values], np.ndarray]
    held: tuple[str, ...] = ()
    ids: bool = False

    def inputs(self, *shape: int) -> np.ndarray:
        """Input of a shape: numbers, or ids below 7 of the shape without its last axis."""
        if self.ids:
            return np.random.default_rng(SEED).integers(0, 7, shape[:-1]).astype("int32")
        return numbers(*shape)


def _one_hot(x: np.ndarray) -> np.ndarray:
    return np.eye(x.shape[-1], dtype=x.dtype)[x.argmax(-1)]


def _merged(w: Values, rows: Any) -> np.ndarray:
    table = w["embeddings"].copy()
    table[rows] = w["rows"]
    return table


def _normalized(x: np.ndarray, w: Values) -> np.ndarray:
    return w["gamma"] * (x - w["mean"]) / np.sqrt(w["variance"] + 1e-3) + w["beta"]


CASES: dict[str, Case] = {
    "FixedBiasDense": Case(
        lambda width, **more: layers.FixedBiasDense(3, numbers(3), activation="tanh", **more),
        lambda x, w: np.tanh(x @ w["kernel"] + w["bias"]),
        held=("bias",),
    ),
    "FixedTransform": Case(
        lambda width, **more: layers.FixedTransform(numbers(2, 3), activation="sigmoid", **more),
        lambda x, w: 1 / (1 + np.exp(-((x @ w["kernel"] + w["bias"]) @ w["matrix"]))),
        held=("matrix",),
    ),
    "PretrainedEmbedding, frozen": Case(
        lambda width, **more: layers.PretrainedEmbedding(numbers(7, 3), **more),
        lambda x, w: w["embeddings"][x],
        held=("embeddings",),
        ids=True,
    ),
    "PretrainedEmbedding, trained": Case(
        lambda width, **more: layers.PretrainedEmbedding(numbers(7, 3), train=True, **more),
        lambda x, w: w["embeddings"][x],
        ids=True,
    ),
    "PretrainedEmbedding, range": Case(
        lambda width, **more: layers.PretrainedEmbedding(numbers(5, 3), train="oov", oov_rows=2, **more),
        lambda x, w: _merged(w, [5, 6])[x],
        held=("embeddings",),
        ids=True,
    ),
    "PretrainedEmbedding, list": Case(
        lambda width, **more: layers.PretrainedEmbedding(numbers(7, 3), train=[5, 0, 2], **more),
        lambda x, w: _merged(w, [0, 2, 5])[x],
        held=("embeddings", "row_ids"),
        ids=True,
    ),
    "TrainableTensor": Case(
        lambda width, **more: layers.TrainableTensor((2, 3), use_bias=True, activation="softplus", **more),
        lambda x, w: np.broadcast_to(np.log1p(np.exp(w["tensor"] + w["bias"])), (len(x), 2, 3)),
    ),
    "StopGradient": Case(lambda width, **more: layers.StopGradient(**more), lambda x, w: x),
    "GradientScale": Case(lambda width, **more: layers.GradientScale(-0.5, **more), lambda x, w: x),
    "Hybrid": Case(
        lambda width, **more: layers.Hybrid(["square", "sign"], **more),
        lambda x, w: np.concatenate([x, np.square(x), np.sign(x)], -1),
    ),
    "StraightThrough": Case(
        lambda width, **more: layers.StraightThrough("one_hot", "softmax", **more), lambda x, w: _one_hot(x)
    ),
    "FrozenStatistics": Case(
        lambda width, **more: layers.FrozenStatistics(
            numbers(width), numbers(width) ** 2, numbers(width, seed=1), numbers(width, seed=2), **more
        ),
        _normalized,
        held=("mean", "variance", "gamma", "beta"),
    ),
    "FrozenStatistics, affine trained": Case(
        lambda width, **more: layers.FrozenStatistics(
            numbers(width),
            numbers(width) ** 2,
            numbers(width, seed=1),
            numbers(width, seed=2),
            train_affine=True,
            **more,
        ),
        _normalized,
        held=("mean", "variance"),
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def weights_of(layer: Any) -> Values:
    """Copies of a layer's weights, by name."""
    return {v.name: array(v) for v in layer.weights}


def model_of(case: Case, *, width: int = 4, length: int = 3, **more: Any) -> keras.Model:
    """Functional: Dense `front` (not for ids), the layer as `layer`, an average, Dense `head` to 2."""
    keras.utils.set_random_seed(SEED)
    layer = case.make(width, name="layer", **more)
    if case.ids:
        inputs = keras.Input((length,), dtype="int32")
        pooled = keras.layers.GlobalAveragePooling1D(name="pool")(layer(inputs))
    else:
        inputs = keras.Input((length, width))
        value = keras.layers.Dense(width, name="front")(inputs)
        # Its input goes beside the layer, so that `front` trains even where no gradient passes the layer.
        pooled = keras.layers.Concatenate(name="both")(
            [keras.layers.GlobalAveragePooling1D()(one) for one in (layer(value), value)]
        )
    return keras.Model(inputs, keras.layers.Dense(2, name="head", dtype="float32")(pooled), name="net")


def data_of(case: Case, *, width: int = 4, length: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets for `model_of`."""
    return case.inputs(SAMPLES, length, width), numbers(SAMPLES, 2, seed=5)


# --- training beside a twin -------------------------------------------------------------------


def train_beside_twin(
    x: np.ndarray, ours: Any, twin: Any, pairs: Callable[[], Iterable[tuple[Any, Any]]], optimizer: str
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Train a layer and its twin in one model, from the same values, five steps on the same targets.

    Args:
        x: The input of both.
        ours: The layer, or a function of the input.
        twin: The same, written by hand.
        pairs: Gives, once both are built, each variable of ours with its twin.
        optimizer: A key of `OPTIMIZERS`.

    Returns:
        For each pair: the value before, ours after, the twin's after.
    """
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input(x.shape[1:], dtype=x.dtype.name)
    outputs = [ours(inputs), twin(inputs)]
    model = keras.Model(inputs, outputs)
    before = []
    for one, other in pairs():
        other.assign(exact(one))
        before.append(exact(one))
    y = numbers(len(x), *outputs[0].shape[1:], seed=6)
    # Eager on TensorFlow: a step takes less time than its tracing.
    model.compile(OPTIMIZERS[optimizer](), ["mse", "mse"], run_eagerly=BACKEND == "tensorflow")
    model.fit(x, [y, y], batch_size=len(x), epochs=STEPS, shuffle=False, verbose=0)
    return [(b, exact(one), exact(other)) for b, (one, other) in zip(before, pairs(), strict=True)]


def assert_same_training(found: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Every pair moved, and ended within `RELATIVE` of each other."""
    assert found
    for before, ours, twin in found:
        assert not np.array_equal(before, ours)
        worst = np.abs(ours - twin).max() / np.abs(twin).max()
        assert worst <= RELATIVE, f"relative difference {worst:.1e}"


# --- gradients --------------------------------------------------------------------------------


def gradients(function: Callable[..., Any], *values: np.ndarray, jit: bool = False) -> list[np.ndarray]:
    """The gradient of the sum of `function(*values)` weighted by 1, 2, 3, ..., by each of `values`.

    Computed twice, the second time from what was compiled at the first where `jit` is set (PyTorch has no
    compiled form here); both must agree. No gradient counts as zeros.
    """

    def loss(*tensors: Any) -> Any:
        result = keras.ops.cast(function(*tensors), "float32")
        weights = np.arange(1, 1 + np.prod(result.shape), dtype="float32").reshape(result.shape)
        return keras.ops.sum(result * keras.ops.convert_to_tensor(weights))

    compute = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND](loss, jit)
    first, second = compute(*values), compute(*values)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    return second


def _tensorflow(loss: Callable[..., Any], jit: bool) -> Callable[..., list[np.ndarray]]:
    import tensorflow as tf

    def compute(*tensors: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = loss(*tensors)
        return tape.gradient(value, tensors, unconnected_gradients="zero")

    run = tf.function(compute, jit_compile=True) if jit else compute
    return lambda *values: [np.array(g) for g in run(*map(tf.constant, values))]


def _jax(loss: Callable[..., Any], jit: bool) -> Callable[..., list[np.ndarray]]:
    import jax

    def gradient(*values: Any) -> Any:
        return jax.grad(loss, argnums=tuple(range(len(values))))(*values)

    run = jax.jit(gradient) if jit else gradient
    return lambda *values: [np.array(g) for g in run(*map(jax.numpy.asarray, values))]


def _torch(loss: Callable[..., Any], jit: bool) -> Callable[..., list[np.ndarray]]:
    import torch

    def run(*values: np.ndarray) -> list[np.ndarray]:
        tensors = [torch.tensor(v, requires_grad=True) for v in values]
        loss_value = loss(*tensors)
        if not loss_value.requires_grad:
            return [np.zeros_like(v) for v in values]
        loss_value.backward()
        found = [
            np.zeros_like(v) if t.grad is None else t.grad.numpy()
            for t, v in zip(tensors, values, strict=True)
        ]
        return [np.array(g) for g in found]

    return run


# --- files ------------------------------------------------------------------------------------


def saved_and_loaded(model: keras.Model, folder: Path) -> keras.Model:
    """`model` through a `.keras` file and plain Keras, in safe mode."""
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras", safe_mode=True)


def full_text(error: fl.FrostlineError) -> str:
    """The whole message, as a user sees it."""
    return str(error)
