"""Trained elements get what a variable of their own would get; frozen ones keep every bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import optimizers

import frostline as fl
from frostline.elements.sets import Elements
from helpers.checks import examples
from helpers.parametrized_models import (
    HOW,
    PATHS,
    address,
    data,
    elements_of,
    network,
    network_by_hand,
    numpy,
    plain_network,
    train,
)

pytestmark = pytest.mark.optimized

BACKEND = keras.backend.backend()
EXAMPLES = examples(100, jax=15, tensorflow=15)
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optimizers.SGD(0.05, momentum=0.9),
    "Adam": lambda: optimizers.Adam(0.001),
    "AdamW": lambda: optimizers.AdamW(0.001, weight_decay=0.1),
    "RMSprop": lambda: optimizers.RMSprop(0.001),
    "Lion": lambda: optimizers.Lion(0.001),
    "AdamW, clipped, averaged": lambda: optimizers.AdamW(
        0.001, weight_decay=0.1, global_clipnorm=0.05, use_ema=True, ema_momentum=0.9
    ),
}


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(BITS[array.itemsize])


# --- training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_equals_that_of_variables_of_their_own(optimizer: str) -> None:
    """Equal to 2e-6 of the largest, after six steps in which they move by a thousand times that and more.

    The rates are small: where the gradient of an element nearly cancels, its rounding depends on the order
    of a sum, and optimizers that divide by its size magnify that.
    """
    model = network()
    before = {w.address: w.numpy() for w in fl.inventory(model)}
    reference = network_by_hand(model)
    train(model, OPTIMIZERS[optimizer]())
    train(reference, OPTIMIZERS[optimizer]())

    held = fl.inventory(model).by_address
    for name in HOW:
        weight = held[address(name)]
        found = {part: numpy(variable) for part, variable in weight.combination.parts.items()}
        expected = reference.get_layer(name).values()
        if "whole" in expected:
            found = {"whole": weight.numpy()}
            frozen = ~elements_of(name)
            assert np.array_equal(bits(found["whole"][frozen]), bits(before[address(name)][frozen])), name
        for part, value in expected.items():
            largest = np.abs(value).max()
            np.testing.assert_allclose(
                found[part], value, rtol=0, atol=2e-6 * largest, err_msg=f"{name} {part}"
            )
        moved = np.abs(weight.numpy() - before[address(name)]).max()
        assert moved > 1e-3, name


def twice_looked_up(parametrized: bool) -> float:
    """The second moment of a row that is met twice in a batch, divided by the square of its gradient."""
    table = keras.layers.Embedding(4, 1, embeddings_initializer="ones", name="words")
    model = keras.Sequential([keras.Input((2,), dtype="int32"), table])
    if parametrized:
        fl.parametrize(model, "words/embeddings", fl.Rows([1, 2]))
    model.compile(optimizers.Adam(0.01, beta_2=0.5), keras.losses.MeanSquaredError(reduction="sum"))
    model.train_on_batch(np.array([[1, 1]]), np.zeros((1, 2, 1), "float32"))
    velocity = max(float(numpy(v).max()) for v in model.optimizer.variables if "velocity" in v.name)
    return velocity / 0.5 / 4.0**2


def test_keras_squares_the_entries_of_a_sparse_gradient_one_by_one() -> None:
    """On TensorFlow, for the rows of an embedding: a square of half the size, where a row is met twice."""
    expected = 0.5 if BACKEND == "tensorflow" else 1.0
    assert twice_looked_up(parametrized=False) == pytest.approx(expected, rel=1e-5)


def test_frostline_squares_the_gradient_of_a_row() -> None:
    assert twice_looked_up(parametrized=True) == pytest.approx(1.0, rel=1e-5)


def test_the_optimizer_holds_slots_for_the_parts_alone() -> None:
    model = network()
    train(model, optimizers.Adam(0.01), epochs=1)
    parts = sum(w.trained_size for w in fl.inventory(model) if w.combination is not None)
    slots = [v for v in model.optimizer.variables if tuple(v.shape)]
    assert sum(int(np.prod(v.shape)) for v in slots) == 2 * parts
    assert [w.combination.path for w in fl.inventory(model) if w.combination is not None] == [
        PATHS.get(name, "general") for name in HOW
    ]


def test_outputs_are_those_of_the_plain_network() -> None:
    x, _ = data()
    expected = plain_network().predict(x, verbose=0)
    np.testing.assert_allclose(network().predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    merged = fl.merge(network())
    assert np.array_equal(bits(merged.predict(x, verbose=0)), bits(expected))


def test_frozen_elements_keep_their_bits_under_everything_at_once() -> None:
    """Decay, averages that are written back, clipping, momentum from an earlier phase: held by the guard."""
    model = plain_network()
    opt = optimizers.AdamW(
        0.05, weight_decay=0.2, clipnorm=0.1, use_ema=True, ema_overwrite_frequency=2, ema_momentum=0.5
    )
    train(model, opt, epochs=1)
    for name, how in HOW.items():
        fl.parametrize(model, address(name), how)
    before = {w.address: w.numpy() for w in fl.inventory(model)}
    plan = fl.Plan().train("**").freeze("out/**")
    run = fl.fit(model, plan, *data(), batch_size=4, epochs=2, verbose=0)

    assert run.verification is not None
    assert run.verification.ok
    assert set(run.verification.of("partial")) == {address(name) for name in HOW}
    now = {w.address: w.numpy() for w in fl.inventory(model)}
    for name in set(HOW) - {"low", "scale"}:
        chosen = elements_of(name)
        one, two = before[address(name)], now[address(name)]
        assert np.array_equal(bits(one[~chosen]), bits(two[~chosen])), name
        assert (one[chosen] != two[chosen]).mean() > 0.9, name


# --- one step of SGD against the whole weight ---------------------------------------------------


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> fl.Parametrization:
    """Random elements of a weight of this shape, by any of the four kinds."""

    def places(size: int) -> Any:
        if draw(st.booleans()):
            some = st.lists(
                st.integers(-size, size - 1), min_size=1, max_size=size, unique_by=lambda n: n % size
            )
            return draw(some)
        first = draw(st.integers(0, size - 1))
        return slice(first, draw(st.integers(first + 1, size)), draw(st.sampled_from((None, 1, 2, 3))))

    match draw(st.sampled_from(("rows", "columns", "index", "mask"))):
        case "rows":
            return fl.Rows(places(shape[0]))
        case "columns":
            return fl.Columns(places(shape[-1]))
        case "index":
            return fl.Index(tuple(places(size) for size in shape[: draw(st.integers(1, len(shape)))]))
        case _:
            mask = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=8)))
            mask = np.resize(mask, shape)
            mask.flat[draw(st.integers(0, mask.size - 1))] = True
            return fl.Mask(mask)


def layer_for(draw: st.DrawFn) -> tuple[Any, tuple[int, ...], str]:
    """A random layer with its input shape and the name of its weight."""
    size = st.integers(1, 6)
    out = draw(size)
    match draw(st.sampled_from(("embedding", "dense", "einsum", "conv", "norm", "depthwise"))):
        case "embedding":
            return keras.layers.Embedding(draw(st.integers(2, 9)), out, name="one"), (4,), "embeddings"
        case "dense":
            return keras.layers.Dense(out, activation="tanh", name="one"), (draw(size),), "kernel"
        case "einsum":
            heads = draw(size)
            layer = keras.layers.EinsumDense("abc,cde->abde", (2, heads, out), bias_axes="de", name="one")
            return layer, (2, draw(size)), "kernel"
        case "conv":
            return (
                keras.layers.Conv2D(out, (2, 1), activation="relu", name="one"),
                (4, 3, draw(size)),
                "kernel",
            )
        case "norm":
            return keras.layers.LayerNormalization(name="one"), (3, 2 + out), "gamma"
        case _:
            return keras.layers.DepthwiseConv2D((2, 2), name="one"), (4, 3, out), "kernel"


def drawn(draw: st.DrawFn) -> tuple[keras.Model, np.ndarray, str, fl.Parametrization]:
    """A random model of one layer, inputs, the address of its weight and elements of that."""
    keras.utils.set_random_seed(draw(st.integers(0, 99)))
    layer, shape, name = layer_for(draw)
    ids = name == "embeddings"
    inputs = keras.Input(shape, dtype="int32" if ids else "float32")
    model = keras.Model(inputs, layer(inputs))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(0, layer.input_dim, (3, *shape)) if ids else rng.normal(size=(3, *shape))
    weight = fl.inventory(model).by_address[f"one/{name}"]
    how = draw(selections(weight.shape))
    return model, x.astype("int32" if ids else "float32"), weight.address, how


def one_step(model: keras.Model, x: np.ndarray, at: str) -> np.ndarray:
    """One step of SGD without a momentum, eagerly; the weight after it."""
    model.compile(optimizers.SGD(0.1), "mse", run_eagerly=BACKEND != "jax", jit_compile=False)
    y = np.random.default_rng(0).normal(size=(3, *model.output_shape[1:])).astype("float32")
    model.train_on_batch(x, y)
    return fl.inventory(model).by_address[at].numpy()


@settings(
    # Each makes and compiles a model four times.
    max_examples=max(EXAMPLES // (5 if BACKEND == "jax" else 2), 6),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_one_step_moves_chosen_elements_as_it_moves_the_whole(choice: st.DataObject) -> None:
    """SGD treats every element on its own, so the whole weight's step is the expected one, where chosen."""
    model, x, at, how = drawn(choice.draw)
    first = model.get_weights()
    before = fl.inventory(model).by_address[at].numpy()
    whole = one_step(model, x, at)
    model.set_weights(first)

    put = fl.parametrize(model, at, how)
    assert np.array_equal(bits(fl.inventory(model).by_address[at].numpy()), bits(before))
    found = one_step(model, x, at)
    chosen = np.zeros(before.shape, bool)
    how.elements(before.shape).fill(chosen, True)  # type: ignore[union-attr]
    np.testing.assert_allclose(found[chosen], whole[chosen], rtol=2e-6, atol=1e-6)
    assert np.array_equal(bits(found[~chosen]), bits(before[~chosen]))

    outputs = model.predict(x, verbose=0)
    put.remove()
    assert np.array_equal(bits(fl.inventory(model).by_address[at].numpy()), bits(found))
    np.testing.assert_allclose(model.predict(x, verbose=0), outputs, rtol=1e-5, atol=1e-5)


# --- elements ---------------------------------------------------------------------------------


@st.composite
def chosen_elements(draw: st.DrawFn) -> tuple[Elements, str, int]:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    elements = draw(selections(shape)).elements(shape)
    assert elements is not None
    return elements, draw(st.sampled_from(("float16", "bfloat16", "float32"))), draw(st.integers(0, 99))


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(chosen_elements())
def test_elements_come_out_and_go_in_bit_by_bit(case: tuple[Elements, str, int]) -> None:
    elements, dtype, seed = case
    numbers = np.random.default_rng(seed).normal(size=elements.shape).astype("float32")
    whole = keras.ops.cast(numbers, dtype)
    values = numpy(whole)
    mask = np.zeros(values.shape, bool)
    elements.fill(mask, True)
    part = elements.take(whole)
    assert tuple(part.shape) == elements.part_shape
    assert np.array_equal(bits(numpy(part).reshape(-1)), bits(values[mask]))
    assert np.array_equal(bits(numpy(elements.put(whole, part))), bits(values))

    other = keras.ops.negative(part)
    put = numpy(elements.put(whole, other))
    assert np.array_equal(bits(put[~mask]), bits(values[~mask]))
    assert np.array_equal(bits(put[mask]), bits(numpy(other).reshape(-1)))
    assert elements.count == mask.sum()
