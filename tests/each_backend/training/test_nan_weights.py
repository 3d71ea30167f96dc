"""A finite loss whose step leaves NaN in the weights: stopped before it is stored, never called verified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.errors import NotFiniteError, VerificationError

pytestmark = pytest.mark.every_backend

STEEP: dict[str, Callable[[Any], Any]] = {
    "sqrt": lambda gap: ops.sqrt(ops.sum(ops.square(gap), axis=-1, keepdims=True)),
    "power": lambda gap: ops.power(ops.sum(ops.square(gap), axis=-1, keepdims=True), 0.25),
    "quotient": lambda gap: ops.where(ops.abs(gap) > 0, ops.square(gap) / ops.abs(gap), 0.0),
}
"""Functions of a gap that are finite at zero, and whose derivatives are not."""


@keras.saving.register_keras_serializable("tests")
class Distance(keras.layers.Layer):
    """How far two outputs are from each other."""

    def __init__(self, kind: str, **named: Any) -> None:
        super().__init__(**named)
        self.kind = kind

    def call(self, one: Any, other: Any) -> Any:
        return STEEP[self.kind](one - other)


def siamese(kind: str = "sqrt") -> keras.Model:
    keras.utils.set_random_seed(5)
    tower = keras.layers.Dense(1, name="tower")
    one, other = keras.Input((3,)), keras.Input((3,))
    model = keras.Model(
        [one, other], Distance(kind, name="distance")(tower(one), tower(other)), name="siamese"
    )
    model.compile("sgd", "mse")
    return model


def pairs(same: int | None = 7) -> tuple[list[np.ndarray], np.ndarray]:
    """Eight pairs, one of them of the same sample twice."""
    one = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    other = one + 1
    if same is not None:
        other[same] = one[same]
    return [one, other], np.ones((8, 1), "float32")


def fit(model: keras.Model, same: int | None = 7, **arguments: Any) -> fl.Run:
    x, y = pairs(same)
    common = {"batch_size": 4, "verbose": 0, "shuffle": False}
    return fl.fit(model, fl.Plan().train("**"), x, y, **common | arguments)


def is_finite(model: keras.Model) -> bool:
    return all(bool(np.isfinite(ops.convert_to_numpy(v)).all()) for v in model.variables)


@pytest.mark.parametrize("kind", STEEP)
def test_the_last_step_of_an_epoch_is_seen(kind: str) -> None:
    with pytest.raises(NotFiniteError) as caught:
        fit(siamese(kind))
    assert "tower/kernel" in caught.value.what
    assert "after batch 2 of epoch 1" in caught.value.what


@pytest.mark.parametrize("same", [0, 3, 5])
def test_the_very_batch_is_named(same: int) -> None:
    """Not the next one, whose loss is the first to show it."""
    with pytest.raises(NotFiniteError) as caught:
        fit(siamese(), same=same, batch_size=2, epochs=2)
    assert "the loss stayed finite, and tower/kernel" in caught.value.what
    assert f"after batch {same // 2 + 1} of epoch 1" in caught.value.what
    assert "look at that batch for a derivative that is infinite" in str(caught.value.remedy)


def test_nobody_saves_it(tmp_path: Path) -> None:
    each_epoch = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    each_step = keras.callbacks.ModelCheckpoint(
        tmp_path / "step.weights.h5", save_weights_only=True, save_freq=1
    )
    for callback in (each_epoch, each_step):
        with pytest.raises(NotFiniteError):
            fit(siamese(), callbacks=[callback])
    assert [path.name for path in tmp_path.iterdir()] == ["step.weights.h5"]
    model = siamese()
    model.load_weights(tmp_path / "step.weights.h5")
    assert is_finite(model)


def test_a_run_that_can_be_resumed_keeps_its_good_checkpoint(tmp_path: Path) -> None:
    for _ in range(2):
        model = siamese()
        with pytest.raises(NotFiniteError, match="was restored from the checkpoint"):
            fit(model, epochs=2, resume=tmp_path / "run")
        assert is_finite(model)
        assert fl.fingerprint(model).combined == fl.fingerprint(siamese()).combined


def test_whoever_goes_on_gets_no_proof() -> None:
    model = siamese()
    run = fit(model, stop_on_nan=False)
    assert run.verdict == "NOT verified: numbers became NaN or infinite"
    assert run.receipt.check() == [
        f"by the receipt itself, tower/{name} became NaN or infinite" for name in ("kernel", "bias")
    ]
    with pytest.raises(VerificationError, match="training left NaN or infinity in 2 variables"):
        run.verification.require_ok()
    before = fl.fingerprint(siamese())
    found = fl.verify(model, before, fl.Plan().train("**"))
    assert not found.ok
    assert found.of("not finite") == ("tower/kernel", "tower/bias")
    assert "NOT verified: numbers became NaN or infinite" in str(found)
    assert found.to_data()["violations"][0] == {"address": "tower/kernel", "outcome": "not finite"}


def test_infinity_that_was_there_is_no_matter() -> None:
    """A mask of the attention kind."""

    class Masked(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            mask = np.array([0.0, 0.0, -np.inf], "float32")
            self.mask = self.add_weight(shape=(3,), name="mask", initializer=lambda *_, **__: mask)
            super().build(shape)

        def call(self, x: Any) -> Any:
            return ops.softmax(x + self.mask)

    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="a"), Masked(name="masked")])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    run = fl.fit(model, fl.Plan().train("**"), x, np.abs(x), batch_size=4, verbose=0)
    assert run.verification is not None
    assert run.verification.ok


def test_statistics_count_too() -> None:
    inputs = keras.Input((3,))
    hidden = keras.layers.BatchNormalization(name="norm")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(hidden))
    model.compile("sgd", "mse")
    before = fl.fingerprint(model)
    model.get_layer("norm").moving_mean.assign([0.0, np.inf, 1.0])
    found = fl.verify(model, before, fl.Plan().train("**"))
    assert found.of("not finite") == ("norm/moving_mean",)
    frozen = fl.verify(model, before, fl.Plan().train("head/**"))
    assert frozen.of("changed") == ("norm/moving_mean",)
