"""Freezing one layer, two layers of a Sequential model, and two of a Functional model, by name."""

import keras
import numpy as np

import frostline as fl

rng = np.random.default_rng(1)
x, y = rng.normal(size=(64, 8)).astype("float32"), rng.normal(size=(64, 2)).astype("float32")


def dense(name):
    return keras.layers.Dense(
        2 if name == "head" else 8, activation=None if name == "head" else "tanh", name=name
    )


def sequential():
    return keras.Sequential([keras.Input((8,)), *map(dense, ("first", "second", "third", "head"))])


def functional():
    inputs = keras.Input((8,))
    left, right = dense("left")(inputs), dense("right")(inputs)
    joined = keras.layers.Concatenate(name="joined")([left, right])
    return keras.Model(inputs, dense("head")(dense("trunk")(joined)))


def require_frozen(model, *layers):
    """Train all but these layers, and prove it."""
    plan = fl.Plan().train("**")
    for layer in layers:
        plan = plan.freeze(f"{layer}/**")
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse")
    before = fl.fingerprint(model)
    with fl.applied(model, plan):  # the flags come back afterwards
        model.fit(x, y, epochs=3, verbose=0)
    verification = fl.verify(model, before, plan)
    verification.require_ok()
    print("frozen:", ", ".join(verification.of("intact")))
    print("trained:", ", ".join(verification.of("trained")))
    assert set(verification.of("intact")) == {
        f"{layer}/{part}" for layer in layers for part in ("kernel", "bias")
    }
    assert verification.of("unmoved") == ()


require_frozen(sequential(), "second")
require_frozen(sequential(), "first", "second")
require_frozen(functional(), "left", "trunk")

try:
    require_frozen(functional(), "trunc")  # a name that is not there is an error, not a silent nothing
except fl.FrostlineError as error:
    print(error)
