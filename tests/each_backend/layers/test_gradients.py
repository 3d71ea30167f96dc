"""`StopGradient`, `GradientScale`, `StraightThrough`, `Hybrid`: gradients against NumPy, training, misuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import frostline as fl
from frostline.errors import LayerError
from frostline.layers import GradientScale, Hybrid, StopGradient, StraightThrough
from helpers.layer_checks import (
    BACKEND,
    SAMPLES,
    array,
    assert_same_training,
    every_optimizer,
    full_text,
    gradients,
    numbers,
    saved_and_loaded,
    train_beside_twin,
)

pytestmark = pytest.mark.every_backend

every_way = pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
SHAPE = (3, 4)


def upstream(*shape: int) -> np.ndarray:
    """What `gradients` weighs the results with."""
    return np.arange(1, 1 + np.prod(shape), dtype="float32").reshape(shape)


# --- gradients --------------------------------------------------------------------------------


@every_way
def test_stop_gradient_cuts_its_own_route_only(jit: bool) -> None:
    x = numbers(*SHAPE)
    stop = StopGradient()
    (nothing,) = gradients(stop, x, jit=jit)
    assert not nothing.any()
    (live,) = gradients(lambda t: t * stop(t), x, jit=jit)
    np.testing.assert_allclose(live, upstream(*SHAPE) * x, rtol=1e-6)


@every_way
@pytest.mark.parametrize("scale", [0.0, 0.25, -1.0, 3])
def test_gradient_scale_multiplies(scale: float, jit: bool) -> None:
    x = numbers(*SHAPE)
    (found,) = gradients(lambda t: GradientScale(scale)(ops.square(t)), x, jit=jit)
    np.testing.assert_allclose(found, upstream(*SHAPE) * scale * 2 * x, rtol=1e-6)


def test_gradient_scale_keeps_every_bit_of_its_input() -> None:
    x = np.array([np.inf, -np.inf, -0.0, 1e-40, np.nan, 1 / 3], "float32")
    assert array(GradientScale(0.3)(x)).tobytes() == x.tobytes()


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def by_softmax(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    s = softmax(x)
    return s * (g - (g * s).sum(-1, keepdims=True))


SURROGATES: dict[str, tuple[Any, Any, Callable[..., np.ndarray], Callable[..., np.ndarray]]] = {
    "round, identity": ("round", "identity", np.round, lambda x, g: g),
    "sign, clipped": ("sign", "clipped", np.sign, lambda x, g: g * (np.abs(x) < 1)),
    "step, sigmoid": (
        "step",
        "sigmoid",
        lambda x: (x > 0).astype("float32"),
        lambda x, g: g * np.exp(-x) / (1 + np.exp(-x)) ** 2,
    ),
    "one_hot, softmax": (
        "one_hot",
        "softmax",
        lambda x: np.eye(4, dtype="float32")[x.argmax(-1)],
        by_softmax,
    ),
    "function, function": (
        lambda x: ops.floor(x * 2),
        lambda x: ops.square(x),
        lambda x: np.floor(x * 2),
        lambda x, g: g * 2 * x,
    ),
}


@every_way
@pytest.mark.parametrize("name", SURROGATES)
def test_straight_through_goes_forward_as_one_and_back_as_the_other(name: str, jit: bool) -> None:
    forward, backward, value, gradient = SURROGATES[name]
    x = numbers(*SHAPE) * 2
    layer = StraightThrough(forward, backward)
    assert array(layer(x)).tobytes() == value(x).astype("float32").tobytes()
    (found,) = gradients(layer, x, jit=jit)
    np.testing.assert_allclose(found, gradient(x, upstream(*SHAPE)), rtol=1e-5, atol=1e-5)


def test_straight_through_is_exact_where_the_usual_sum_rounds_or_is_nan() -> None:
    x = np.array([[1e8 + 0.0, 0.3, np.inf, -1e30]], "float32")
    expected = np.sign(x)
    assert array(StraightThrough("sign")(x)).tobytes() == expected.tobytes()
    usual = ops.add(x, ops.stop_gradient(ops.subtract(ops.sign(x), x)))
    assert array(usual).tobytes() != expected.tobytes()


@every_way
def test_hybrid_learns_through_its_live_branch_alone(jit: bool) -> None:
    x = numbers(*SHAPE)
    layer = Hybrid(["square", "tanh"])
    (found,) = gradients(layer, x, jit=jit)
    np.testing.assert_allclose(found, upstream(3, 12)[:, :4], rtol=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    values=st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=4),
    scale=st.floats(-2, 2, width=32),
    kind=st.sampled_from(["scale", "hybrid", "through"]),
)
def test_gradients_at_any_point(values: list[float], scale: float, kind: str) -> None:
    x = np.array([values], "float32")
    g = upstream(*x.shape)
    layer, expected = {
        "scale": (GradientScale(scale), g * np.float32(scale)),
        "hybrid": (Hybrid("square"), g),
        "through": (StraightThrough("floor", "tanh"), g * (1 - np.tanh(x) ** 2)),
    }[kind]
    if kind == "hybrid":
        expected = upstream(1, 2 * x.shape[1])[:, : x.shape[1]]
    np.testing.assert_allclose(gradients(layer, x)[0], expected, rtol=1e-4, atol=1e-5)


def test_a_gradient_is_checked_in_half_precision() -> None:
    layer = GradientScale(0.5, dtype="bfloat16")
    (found,) = gradients(lambda t: layer(ops.cast(t, "bfloat16")), numbers(2, 2))
    assert found.tolist() == [[0.5, 1.0], [1.5, 2.0]]


# --- training ---------------------------------------------------------------------------------


def beside(change: Any, by_hand: Callable[[Any], Any], optimizer: str) -> None:
    """Train Dense, the layer, Dense; and the same with the layer written by hand."""
    ours = [keras.layers.Dense(4), keras.layers.Dense(2)]
    twin = [keras.layers.Dense(4), keras.layers.Dense(2)]
    found = train_beside_twin(
        numbers(SAMPLES, 3),
        lambda x: ours[1](change(ours[0](x))),
        lambda x: twin[1](by_hand(twin[0](x))),
        lambda: [
            pair for a, b in zip(ours, twin, strict=True) for pair in zip(a.weights, b.weights, strict=True)
        ],
        optimizer,
    )
    assert_same_training(found)


@every_optimizer
def test_a_stopped_route_beside_a_live_one_trains_as_written_by_hand(optimizer: str) -> None:
    stop = StopGradient()
    beside(lambda x: x * stop(x), lambda x: x * ops.stop_gradient(x), optimizer)


@every_optimizer
def test_a_scaled_gradient_trains_as_written_by_hand(optimizer: str) -> None:
    scale = GradientScale(-0.5)
    beside(
        lambda x: scale(x) * x,
        # Zero is added, so that the value is exactly `x`, as the layer's is.
        lambda x: (ops.stop_gradient(x) + (x - ops.stop_gradient(x)) * -0.5) * x,
        optimizer,
    )


@every_optimizer
def test_a_hybrid_layer_trains_as_written_by_hand(optimizer: str) -> None:
    layer = Hybrid(["square", "sign"])
    beside(
        layer,
        lambda x: ops.concatenate(
            [x, ops.stop_gradient(ops.square(x)), ops.stop_gradient(ops.sign(x))], axis=-1
        ),
        optimizer,
    )


@every_optimizer
def test_a_straight_through_layer_trains_as_written_by_hand(optimizer: str) -> None:
    layer = StraightThrough("sign", "tanh")
    beside(
        layer,
        lambda x: ops.tanh(x) + ops.stop_gradient(ops.sign(x) - ops.tanh(x)),
        optimizer,
    )


def test_what_lies_behind_a_stop_only_does_not_train() -> None:
    inputs = keras.Input((3,))
    features = keras.layers.Dense(4, name="cut")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(StopGradient()(features)))
    model.compile("sgd", "mse", run_eagerly=BACKEND == "tensorflow")
    run = fl.fit(model, fl.Plan().train("head/**"), numbers(8, 3), numbers(8, 2), verbose=0)
    assert set(run.verification.of("trained")) == {"head/kernel", "head/bias"}


# --- layers and functions among their parts ---------------------------------------------------


@keras.saving.register_keras_serializable("frostline_tests")
def doubled(x: Any) -> Any:
    return x * 2


def test_registered_functions_and_layers_are_saved(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    live = keras.layers.Dense(4, name="live")
    hybrid = Hybrid(
        [doubled, keras.layers.Dense(2, name="inner", activation="tanh")], live=live, name="hybrid"
    )
    through = StraightThrough(doubled, keras.layers.Dense(10, name="soft"), name="through")
    model = keras.Model(inputs, through(hybrid(inputs)))
    assert model.output_shape == (None, 10)
    addresses = [w.address for w in fl.inventory(model)]
    assert set(addresses) == {
        f"{layer}/{name}"
        for layer in ("hybrid/live", "hybrid/inner", "through/soft")
        for name in ("kernel", "bias")
    }
    x = numbers(2, 3)
    loaded = saved_and_loaded(model, tmp_path)
    assert array(loaded(x)).tobytes() == array(model(x)).tobytes()
    assert loaded.get_layer("hybrid").functions[0] is doubled


def test_weights_inside_a_stopped_function_get_no_gradient() -> None:
    inputs = keras.Input((3,))
    hybrid = Hybrid(
        [keras.layers.Dense(2, name="inner")], live=keras.layers.Dense(4, name="live"), name="hybrid"
    )
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(hybrid(inputs)))
    model.compile("sgd", "mse", run_eagerly=BACKEND == "tensorflow")
    plan = fl.Plan().train("**").freeze("hybrid/inner/**")
    run = fl.fit(model, plan, numbers(8, 3), numbers(8, 1), verbose=0)
    assert run.verification.ok
    assert {"hybrid/live/kernel", "head/kernel"} <= set(run.verification.of("trained"))


# --- misuse -----------------------------------------------------------------------------------


MISUSE: dict[str, tuple[Any, str]] = {
    "scale of NaN": (
        lambda: GradientScale(float("nan")),
        "the scale of a gradient must be a finite number.\n"
        "  received: nan\n"
        "  expected: such as 0.1, or -1.0 to reverse the gradient",
    ),
    "scale of a word": (
        lambda: GradientScale("reverse"),
        "the scale of a gradient must be a finite number.\n"
        "  received: 'reverse'\n"
        "  expected: such as 0.1, or -1.0 to reverse the gradient",
    ),
    "unknown function": (
        lambda: Hybrid(["sqare"]),
        "a function to stop names an unknown function.\n"
        "  received: 'sqare'\n"
        "  expected: the name of a function of keras.ops or keras.activations, or of a registered one\n"
        "  fix:      did you mean square, squareplus, sqrt?",
    ),
    "no function": (
        lambda: Hybrid([]),
        "a hybrid layer needs a function to stop.\n  received: none\n  expected: such as 'square'",
    ),
    "not a function": (
        lambda: StraightThrough(3),
        "the forward function is not a function of a tensor.\n"
        "  received: an object of type int\n"
        "  expected: the name of a function of keras.ops, a function, or a layer",
    ),
    "the batch axis": (
        lambda: Hybrid("square", axis=0),
        "the axis must be a whole number, and not that of the batch.\n  received: 0",
    ),
    "two shapes": (
        lambda: StraightThrough("sum", name="s").build((None, 3)),
        "the functions of the layer 's' give results of different shapes.\n"
        "  received: forward (), backward (None, 3)\n"
        "  expected: one shape for both, since the gradient of one stands for that of the other",
    ),
    "shapes that do not fit": (
        lambda: Hybrid("transpose", name="h").build((4, 3)),
        "a stopped function of the layer 'h' does not fit next to its live branch.\n"
        "  received: shape (3, 4) beside (4, 3)\n"
        "  expected: shapes that differ along axis -1 only",
    ),
    "an axis that there is not": (
        lambda: Hybrid("square", axis=2, name="h").build((None, 3)),
        "the layer 'h' cannot concatenate along axis 2.\n"
        "  received: a live branch of shape (None, 3)\n"
        "  expected: an axis from 1 to 1, or a negative one",
    ),
    "a lambda in a file": (
        lambda: Hybrid([lambda x: x]).get_config(),
        "a stopped function cannot be saved: nothing tells Keras how to find it again.\n"
        "  received: the function '<lambda>'\n"
        "  expected: a function of keras.ops, or a registered one\n"
        "  fix:      put @keras.saving.register_keras_serializable('your_package') above a named function",
    ),
}


@pytest.mark.parametrize("make", [m for m, _ in MISUSE.values()], ids=MISUSE)
def test_misuse(make: Any, request: pytest.FixtureRequest) -> None:
    with pytest.raises(LayerError) as caught:
        make()
    assert full_text(caught.value) == MISUSE[request.node.callspec.id][1]


def test_a_function_that_takes_no_such_input_says_so() -> None:
    with pytest.raises(
        LayerError, match=r"^the function 'no' gives no result for an input of shape \(None, 3\)"
    ):
        StraightThrough(no).build((None, 3))


def no(x: Any) -> Any:
    raise ValueError("not this")
