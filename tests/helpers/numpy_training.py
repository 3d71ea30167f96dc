"""A small network of three Dense layers, and its training written out in NumPy, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from frostline.model.inventory import inventory

SIZES = (5, 6, 5, 3)
LAYERS = ("a", "b", "head")
SAMPLES = 16
STEPS = 5
EPSILON = 1e-11
"""Small: Keras adds it before the bias correction, others after it."""


Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Group:
    """What trains: layers, and their multipliers."""

    layers: tuple[str, ...]
    lr: float = 1.0
    decay: float = 1.0


@dataclass(frozen=True)
class Setting:
    """An optimizer, by its name in Keras and its arguments."""

    name: str
    lr: float
    extra: Mapping[str, float] = field(default_factory=dict)

    def keras(self, **more: Any) -> Any:
        epsilon = {} if self.name == "SGD" else {"epsilon": EPSILON}
        return getattr(keras.optimizers, self.name)(self.lr, **epsilon | dict(self.extra), **more)


SGD = Setting("SGD", 0.125, {"momentum": 0.9})
ADAM = Setting("Adam", 0.01)
ADAMW = Setting("AdamW", 0.01, {"weight_decay": 0.1})
RMSPROP = Setting("RMSprop", 0.01, {"rho": 0.8, "epsilon": 1e-16})
"""Keras adds epsilon inside the root, PyTorch outside of it."""


def start() -> Values:
    """The values that every model begins with."""
    rng = np.random.default_rng(3)
    values = {}
    for name, (inputs, outputs) in zip(LAYERS, pairwise(SIZES), strict=True):
        values[f"{name}/kernel"] = rng.uniform(-0.4, 0.4, (inputs, outputs)).astype("float32")
        values[f"{name}/bias"] = rng.uniform(-0.4, 0.4, outputs).astype("float32")
    return values


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(SAMPLES, SIZES[0])).astype("float32")
    return x, rng.normal(0, 2, (SAMPLES, SIZES[-1])).astype("float32")


def network() -> keras.Model:
    """Dense `a`, `b` (tanh) and `head`, with the values of `start`."""
    inputs = value = keras.Input((SIZES[0],))
    for name, size in zip(LAYERS, SIZES[1:], strict=True):
        activation = None if name == "head" else "tanh"
        value = keras.layers.Dense(size, activation=activation, name=name)(value)
    model = keras.Model(inputs, value)
    for weight in inventory(model):
        weight.variable.assign(start()[weight.address])
    return model


def values_of(model: keras.Model) -> Values:
    return {w.address: w.numpy().copy() for w in inventory(model).of_role("weight")}


def numpy_gradients(values: Values, rows: slice = slice(None)) -> Values:
    """Gradients of the mean squared error by hand, in float64."""
    x, y = (part[rows] for part in data())
    outputs = [x.astype("float64")]
    for name in LAYERS:
        linear = outputs[-1] @ values[f"{name}/kernel"] + values[f"{name}/bias"]
        outputs.append(linear if name == "head" else np.tanh(linear))
    back = 2 * (outputs[-1] - y) / y.size
    found = {}
    for place in range(len(LAYERS) - 1, -1, -1):
        name = LAYERS[place]
        if name != "head":
            back = back * (1 - outputs[place + 1] ** 2)
        found[f"{name}/kernel"] = outputs[place].T @ back
        found[f"{name}/bias"] = back.sum(0)
        back = back @ values[f"{name}/kernel"].T
    return found


def numpy_clipped(gradients: Values, norm: float | None) -> Values:
    if norm is None:
        return gradients
    total = np.sqrt(sum((g**2).sum() for g in gradients.values()))
    return {a: g * min(1.0, norm / total) for a, g in gradients.items()}


def numpy_step(
    setting: Setting, group: Group, value: np.ndarray, gradient: np.ndarray, slots: list[Any], step: int
) -> np.ndarray:
    rate = setting.lr * group.lr
    if setting.name == "SGD":
        slots[0] = setting.extra["momentum"] * slots[0] - rate * gradient
        return value + slots[0]
    if setting.name == "RMSprop":
        rho = setting.extra["rho"]
        slots[0] = rho * slots[0] + (1 - rho) * gradient**2
        return value - rate * gradient / np.sqrt(slots[0] + setting.extra["epsilon"])
    value = value * (1 - rate * group.decay * setting.extra.get("weight_decay", 0))
    slots[0] = 0.9 * slots[0] + 0.1 * gradient
    slots[1] = 0.999 * slots[1] + 0.001 * gradient**2
    alpha = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return value - alpha * slots[0] / (np.sqrt(slots[1]) + EPSILON)
