"""What tests of saved models compare."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import frostline as fl
from frostline.optimizers.state import named_variables
from frostline.parametrization.base import Parametrization
from frostline.saving.optimizer_state import targets_by_address
from helpers.checks import (
    every_call,
    every_flag,
    same_arrays,
    values,
)
from helpers.small_models import (
    value_of,
)


@keras.saving.register_keras_serializable("frostline_tests")
@dataclass(frozen=True)
class Shift(Parametrization):
    """Moves a weight by one number, the same for all its elements."""

    factor: float = 1.0

    def start(self, weight: Any) -> dict[str, Any]:
        return {"shift": ops.zeros((), dtype=weight.dtype)}

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def combine(self, base: Any, parts: Any) -> Any:
        return base + self.factor * parts["shift"]


def saved_and_loaded(model: keras.Model, folder: Path, **arguments: Any) -> keras.Model:
    fl.save_model(model, folder / "model.keras")
    return fl.load_model(folder / "model.keras", **arguments)


def by_name(model: keras.Model) -> dict[str, np.ndarray]:
    """All variables of the optimizer, by names that hold in every process."""
    targets = targets_by_address(model.optimizer, fl.inventory(model))
    return {n: value_of(v) for n, v in named_variables(model.optimizer, targets).items()}


def parts(model: keras.Model) -> dict[str, np.ndarray]:
    """Bases and parts of parametrized weights, by address."""
    found = {}
    for weight in fl.inventory(model):
        if weight.combination is not None:
            found[f"{weight.address}:"] = value_of(weight.combination.base)
            found |= {address: value_of(variable) for address, variable in weight.targets}
    return found


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and same_arrays(one.values(), [two[key] for key in one])


def require_alike(one: keras.Model, two: keras.Model) -> None:
    """Values, flags, modes, parametrizations and slots, bit by bit."""
    assert same(values(one), values(two))
    # Keras numbers the layers inside MultiHeadAttention anew.
    flags = [{re.sub(r"_\d+$", "", a): flag for a, flag in every_flag(model).items()} for model in (one, two)]
    assert flags[0] == flags[1]
    calls = [{a for a, call in every_call(model).items() if call is not None} for model in (one, two)]
    assert calls[0] == calls[1]
    assert same(parts(one), parts(two))
    assert same(by_name(one), by_name(two))


def require_goes_on(one: keras.Model, two: keras.Model, train: Callable[[keras.Model], Any]) -> None:
    """Training gives both the same numbers."""
    before = values(one)
    for model in (one, two):
        keras.utils.set_random_seed(11)
        train(model)
    assert not same(values(one), before)
    require_alike(one, two)
