"""What is said of the first step of an optimizer is what it does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import optimizers

from frostline.diagnostics.update_size import first_step_size, first_steps, root_mean_square

KNOWN = [
    optimizers.SGD,
    optimizers.Adam,
    optimizers.AdamW,
    optimizers.Adamax,
    optimizers.RMSprop,
    optimizers.Adagrad,
    optimizers.Lion,
]


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_it_is_the_step_that_is_made(kind: Any, size: float) -> None:
    gradient = (np.random.default_rng(0).normal(size=(40, 3)) * size).astype("float32")
    weight = keras.Variable(np.zeros((40, 3), "float32"))
    optimizer = kind(0.25)
    optimizer.weight_decay = None
    optimizer.build([weight])
    expected = first_step_size(optimizer, gradient)
    optimizer.apply_gradients([(keras.ops.convert_to_tensor(gradient), weight)])
    made = root_mean_square(keras.ops.convert_to_numpy(weight))
    assert expected == pytest.approx(made, rel=0.01, abs=1e-30)


@pytest.mark.parametrize("clip", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}], ids=str)
@pytest.mark.parametrize("size", [10.0, 1e-3])
def test_clipped_steps_are_those_that_are_made(clip: dict[str, float], size: float) -> None:
    rng = np.random.default_rng(0)
    gradients = {name: (rng.normal(size=(4, 3)) * size).astype("float32") for name in ("a", "b")}
    weights = [keras.Variable(np.zeros((4, 3), "float32")) for _ in gradients]
    optimizer = optimizers.SGD(0.25, **clip)
    steps = first_steps(optimizer, gradients)
    assert steps is not None
    optimizer.build(weights)
    given = map(keras.ops.convert_to_tensor, gradients.values())
    optimizer.apply_gradients(zip(given, weights, strict=True))
    for step, weight in zip(steps.values(), weights, strict=True):
        np.testing.assert_allclose(-step, keras.ops.convert_to_numpy(weight), rtol=1e-5, atol=1e-8)


def test_of_others_it_is_not_known() -> None:
    class Own(optimizers.SGD):  # type: ignore[misc]  # Keras ships no types
        pass

    for one in (Own(0.1), optimizers.Adadelta(0.1), optimizers.Nadam(0.1)):
        assert first_step_size(one, np.ones(3, "float32")) is None


def test_a_rate_that_is_warmed_up_is_the_one_to_come() -> None:
    warm = optimizers.schedules.CosineDecay(0.0, 1000, warmup_target=0.5, warmup_steps=100)
    assert first_step_size(optimizers.SGD(warm), np.ones(4, "float32"), warm=True) == pytest.approx(
        0.5, rel=0.01
    )
    falling = optimizers.schedules.ExponentialDecay(0.5, 10, 0.5)
    assert first_step_size(optimizers.SGD(falling), np.ones(4, "float32"), warm=True) == pytest.approx(0.5)
    assert first_step_size(optimizers.SGD(0.0), np.ones(4, "float32"), warm=True) == 0


def test_of_one_around_another() -> None:
    wrapped = optimizers.LossScaleOptimizer(optimizers.SGD(0.5))
    assert first_step_size(wrapped, np.ones(4, "float32")) == pytest.approx(0.5)
