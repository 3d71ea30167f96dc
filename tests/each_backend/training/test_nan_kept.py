"""Trainings that go on with NaN: no checkpoint, best weights or `ModelCheckpoint` takes it over."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import NotFiniteError
from frostline.training.resume import checkpoint
from helpers.small_models import compiled, data_for, two_dense

PLAN = fl.Plan().train("b/**")
SETTINGS: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0}


class Spoiling(keras.callbacks.Callback):
    """Spoils a weight at the beginning or the end of an epoch."""

    def __init__(self, epoch: int, at_end: bool = False) -> None:
        super().__init__()
        self.epoch, self.at_end = epoch, at_end

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.spoil(epoch, self.at_end)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.spoil(epoch, not self.at_end)
        if logs is not None and epoch >= self.epoch:
            logs["seen"] = -float(epoch)  # ever better

    def spoil(self, epoch: int, off: bool) -> None:
        if epoch == self.epoch and not off:
            self.model.get_layer("b").bias.assign([np.nan, 0.0])


def model() -> keras.Model:
    return compiled(two_dense())


def data() -> tuple[np.ndarray, np.ndarray]:
    return data_for(two_dense())


def after(epochs: int) -> str:
    """The digest of what an undisturbed training of so many epochs ends with."""
    undisturbed = model()
    fl.fit(undisturbed, PLAN, *data(), epochs=epochs, **SETTINGS)
    return fl.fingerprint(undisturbed)["b/kernel"].blake3


def fit(trained: keras.Model, *callbacks: Any, **arguments: Any) -> fl.Run:
    common = {"epochs": 4, "stop_on_nan": False, "callbacks": list(callbacks), **SETTINGS}
    return fl.fit(trained, arguments.pop("plan", PLAN), *data(), **common | arguments)


def finite(trained: keras.Model) -> bool:
    return all(bool(np.isfinite(w.numpy()).all()) for w in fl.inventory(trained).of_role("weight"))


@pytest.mark.parametrize("guard", [True, False])
def test_a_checkpoint_is_not_written_with_nan_and_the_good_one_stays(tmp_path: Path, guard: bool) -> None:
    with pytest.warns(UserWarning, match="no checkpoint is written from epoch 3 on"):
        fit(model(), Spoiling(2), resume=tmp_path / "run", guard=guard)
    kept = checkpoint.latest(tmp_path / "run")
    assert kept is not None
    assert (kept.epoch, kept.finished) == (2, False)
    again = model()
    fl.fit(
        again, PLAN, *data(), epochs=4, stop_on_nan=False, guard=guard, resume=tmp_path / "run", **SETTINGS
    )
    assert finite(again)
    assert fl.fingerprint(again)["b/kernel"].blake3 == after(4)


def test_one_that_a_callback_spoils_behind_all_checks_is_not_written(tmp_path: Path) -> None:
    with (
        pytest.warns(UserWarning, match="no checkpoint is written from epoch 2 on"),
        pytest.raises(NotFiniteError),
    ):
        fit(model(), Spoiling(1, at_end=True), resume=tmp_path / "run", stop_on_nan=True)
    kept = checkpoint.latest(tmp_path / "run")
    assert kept is not None
    assert kept.epoch == 1


def test_one_that_was_written_with_nan_is_not_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an earlier version: the one before it is used."""
    with monkeypatch.context() as earlier, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        earlier.setattr("frostline.training.resume.session._not_finite", lambda *_: "")
        fit(model(), Spoiling(3), resume=tmp_path / "run")
    again = model()
    with pytest.warns(UserWarning, match="is discarded: it holds NaN or infinity in model/b/kernel"):
        run = fit(again, resume=tmp_path / "run")
    assert finite(again)
    assert run.verification is not None
    assert run.verification.ok


def test_best_weights_are_never_nan() -> None:
    stop = keras.callbacks.EarlyStopping("seen", mode="min", patience=9, restore_best_weights=True)
    trained = model()
    with pytest.warns(UserWarning, match="no best weights are kept"):
        fit(trained, GoodThenSpoilt(2), stop)
    assert finite(trained)
    assert (stop.best_epoch, fl.fingerprint(trained)["b/kernel"].blake3) == (1, after(2))


class GoodThenSpoilt(Spoiling):
    """Reports ever better values, spoilt or not."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["seen"] = -float(epoch)


def test_patience_counts_on_where_nothing_can_be_the_best() -> None:
    stop = keras.callbacks.EarlyStopping("seen", mode="min", patience=2, restore_best_weights=True)
    trained = model()
    with pytest.warns(UserWarning, match="no best weights are kept"):
        run = fit(trained, GoodThenSpoilt(1), stop, epochs=9)
    assert len(run.history.epoch) == 3
    assert finite(trained)


@pytest.mark.parametrize("options", [{"save_best_only": True}, {}, {"save_freq": 1}])
def test_a_model_checkpoint_keeps_the_last_good_one(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "m.weights.h5"
    monitored = {"monitor": "seen", "mode": "min"} if "save_best_only" in options else {}
    saver = keras.callbacks.ModelCheckpoint(path, save_weights_only=True, **monitored, **options)
    with pytest.warns(UserWarning, match="no checkpoint and no best weights"):
        fit(model(), GoodThenSpoilt(2), saver)
    found = model()
    found.load_weights(path)
    assert fl.fingerprint(found)["b/kernel"].blake3 == after(2)
    assert "on_epoch_end" not in vars(saver)


def test_terminate_on_nan_restores_what_was_good() -> None:
    stop = keras.callbacks.EarlyStopping("seen", mode="min", patience=9, restore_best_weights=True)
    trained = model()
    with pytest.warns(UserWarning, match="no best weights are kept"):
        fit(trained, GoodThenSpoilt(2), keras.callbacks.TerminateOnNaN(), stop, stop_on_nan=True)
    assert fl.fingerprint(trained)["b/kernel"].blake3 == after(2)


def test_the_best_of_a_phase_is_never_nan() -> None:
    until = fl.Plateau("seen", mode="min", patience=9)
    schedule = fl.Schedule(PLAN, (fl.Phase("only", epochs=4, until=until, restore_best=True),))
    trained = model()
    fl.fit(trained, schedule, *data(), stop_on_nan=False, callbacks=[GoodThenSpoilt(2)], **SETTINGS)
    assert finite(trained)
    assert fl.fingerprint(trained)["b/kernel"].blake3 == after(2)


# Every step, on the device -------------------------------------------------------------------------------


def test_slots_that_overflow_end_the_epoch() -> None:
    """A weight whose slot is infinite never moves again."""
    trained = two_dense()
    trained.compile(keras.optimizers.Adam(1e-3), "mae")
    x, y = data()
    # On JAX the step that an infinite slot gives is NaN at once.
    with pytest.raises(NotFiniteError, match=r"velocities of b/kernel in the optimizer|and b/kernel in the"):
        fl.fit(trained, PLAN, x * 1e25, y, **SETTINGS)


def test_accumulated_gradients_name_the_batch_that_spoilt_them() -> None:
    trained = two_dense()
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
    ops = keras.ops
    trained.compile(optimizer, lambda y, p: ops.sqrt(ops.where(y < 9, ops.square(y - p) + 1e-3, 0.0 * p)))
    x, y = data()
    y[4:8] = 10.0
    with pytest.raises(NotFiniteError, match="after batch 2 of epoch 1"):
        fl.fit(trained, PLAN, x, y, preflight=False, **SETTINGS)


def test_steps_that_loss_scaling_skips_do_not_count() -> None:
    trained = two_dense()
    trained.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3)), "mse")
    x, y = data()
    y[5] = 3e38
    run = fl.fit(trained, PLAN, x, y, epochs=2, **SETTINGS)
    assert run.verification is not None
    assert run.verification.ok
    assert finite(trained)


def test_the_function_is_plain_again_and_compiled_once() -> None:
    trained = model()
    fl.fit(trained, PLAN, *data(), **SETTINGS)
    function = trained.train_function
    assert not hasattr(function, "frostline_unwatched")
    fl.fit(trained, PLAN, *data(), **SETTINGS)
    assert trained.train_function is function
    assert "make_train_function" not in vars(trained)
