"""A model of two layers, one of whose kernels trains in part."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
from keras import optimizers

import frostline as fl
from frostline._keras.optimizers import optimizer_chain, optimizer_targets
from helpers.checks import keras_fit
from helpers.small_models import compiled, two_dense

KERNEL = fl.Columns([0, 2])
"""Of the kernel of Dense `a` in `two_dense`, 4 x 3."""


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {w.address: w.numpy() for w in fl.inventory(model).of_role("weight", "statistic")}


def same(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(one[a].tobytes() == two[a].tobytes() for a in one)


def trained_two_dense(how: fl.Parametrization = KERNEL) -> tuple[keras.Model, fl.Parametrized]:
    """`two_dense` with `a/kernel` parametrized, after a `fit` with Adam."""
    model = compiled(two_dense(), optimizers.Adam(0.05))
    put = fl.parametrize(model, "a/kernel", how)
    keras_fit(model)
    return model, put


def slots(model: keras.Model) -> list[tuple[int, ...]]:
    inner = optimizer_chain(model.optimizer)[-1]
    return [tuple(v.shape) for v in optimizer_targets(inner)]
