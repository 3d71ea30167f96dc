"""PyTorch modules inside Keras models, for what is held of them.

Import as `from helpers.torch_modules import wrapped`; on PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from keras import layers
from torch import nn
from torch.nn.utils import parametrizations

WIDTH = 4


def net() -> nn.Module:
    """A linear layer, its norm, dropout, and another linear layer."""
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.5), nn.Linear(WIDTH, WIDTH)
    )


class Counting(nn.Module):
    """A scale of its own, with a counter that another tensor replaces at every call in training."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scratch", torch.zeros(WIDTH, dtype=torch.bfloat16), persistent=False)
        self.register_buffer("phases", torch.ones(2, dtype=torch.complex64))

    def forward(self, x: Any) -> Any:
        if self.training:
            self.calls = self.calls + 1
            self.scratch = self.scratch + 0.5
            self.phases = self.phases * 1j
        return x * self.scale


class Restless(nn.Module):
    """Writes into its buffer whatever its mode is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        self.seen.add_(1.0)
        return x * self.scale


class Own(keras.layers.Layer):
    """A layer of the user's own: one module as an attribute, and a buffer of the layer itself."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.inner = nn.Sequential(nn.BatchNorm1d(WIDTH))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        if training:
            self.steps.add_(1)
        return self.inner(x, training=training)


class Remembering(nn.Module):
    """Keeps a moving mean, its last input and a generator as plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.mean = torch.zeros(WIDTH)
        self.spin = torch.ones(2, dtype=torch.complex64)
        self.noise = torch.Generator().manual_seed(3)
        self.last = None
        self.seen = torch.zeros(0, WIDTH)

    def forward(self, x: Any) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        self.spin = self.spin * 1j
        self.last = self.seen = x.detach().clone()
        return self.inner(x) - self.mean + 0.1 * torch.rand(x.shape, generator=self.noise)


def without_weights() -> nn.Module:
    """A norm that learns nothing, and keeps statistics alone."""
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH, affine=False))


def spectral() -> nn.Module:
    """A kernel that is divided by its norm, which power iterations in buffers estimate."""
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)), nn.Linear(WIDTH, WIDTH))


def counting() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), Counting())


def restless() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), Restless())


MODULES: dict[str, Callable[[], nn.Module]] = {
    "norm": net,
    "without_weights": without_weights,
    "spectral": spectral,
    "counting": counting,
}


def wrapped(make: Callable[[], nn.Module] = net, *, name: str | None = "backbone") -> keras.Model:
    """A module in a wrapper, and a head."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((WIDTH,))
    hidden = layers.TorchModuleWrapper(make(), name=name, output_shape=(None, WIDTH))(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="head")(hidden), name="net")
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


def with_own_layer() -> keras.Model:
    """The same with a layer of the user's own."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((WIDTH,)), Own(name="own"), layers.Dense(2, name="head")])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, WIDTH)).astype("float32") * 3 + 1
    return x, rng.normal(size=(32, 2)).astype("float32")


def held(model: keras.Model) -> dict[str, bytes]:
    """The bits of all buffers, by address."""
    import frostline as fl

    return {w.address: w.numpy().tobytes() for w in fl.inventory(model) if w.is_held}
