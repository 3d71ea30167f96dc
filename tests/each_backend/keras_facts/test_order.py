"""The order in which Keras takes arrays; a run that goes on takes them as one that was never interrupted.

`test_keras_...` states what Keras does, on each backend; `test_frostline_...` expects the same on all three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from helpers.checks import same_arrays
from helpers.shuffles import orders
from helpers.small_models import compiled, data_for, two_dense

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()


def test_keras_on_tensorflow_a_seed_gives_every_epoch_the_same_order() -> None:
    """On JAX and PyTorch each has one of its own."""
    first, second, third = orders()
    assert (first == second == third) == (BACKEND == "tensorflow")
    assert (first == second or second == third) == (BACKEND == "tensorflow")


def test_keras_the_seed_decides_the_order() -> None:
    """One that is set before `fit`."""
    first, other, again = (orders(epochs=1, seed=seed) for seed in (1, 2, 1))
    assert first == again != other


def test_keras_a_later_epoch_has_the_same_order_where_fit_begins_with_it() -> None:
    """By `initial_epoch`, with the seed that was set at that moment in the longer run."""
    assert orders(2, renewed=True) == orders(renewed=True)[2:]


class StopAt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_frostline_goes_on_in_the_same_order(tmp_path: Path) -> None:
    ends = []
    for name, callbacks in (("whole", []), ("interrupted", [StopAt()]), ("interrupted", [])):
        keras.utils.set_random_seed(3)
        model = compiled(two_dense())
        given = {"epochs": 4, "batch_size": 3, "verbose": 0, "callbacks": callbacks}
        try:
            fl.fit(model, fl.Plan().train("b/**"), *data_for(model), resume=tmp_path / name, **given)
        except KeyboardInterrupt:
            continue
        ends.append([np.array(value) for value in model.get_weights()])
    assert same_arrays(*ends)
