"""Training with somebody watching ends as it does without, whatever becomes of the looks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline import Phase, Plan, Schedule
from frostline.errors import TrainingError
from frostline.training.watch import callback
from helpers.watched_programs import mlp, numbers

layers = keras.layers
Arrays = list[np.ndarray]


def learned(x: Any) -> Any:
    """Targets for a few samples."""
    return x[:, :2].sum(axis=1, keepdims=True)


def drawing() -> Any:
    """A model with all that a look could leave traces on: seeds, statistics, dropout."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, "tanh", name="one"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.3),
            layers.GaussianNoise(0.1),
            layers.Dense(1, name="head"),
        ],
        name="drawing",
    )
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def state_of(model: Any) -> Arrays:
    """All numbers of a model and its optimizer, and what the generators draw next."""
    variables = [*model.variables, *model.optimizer.variables]
    values = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    drawn = [np.random.random(2), np.array([random.random()])]
    return [*values, *drawn, keras.ops.convert_to_numpy(keras.random.normal((2,)))]


def require_same(one: Arrays, other: Arrays) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


TWO = Schedule(
    Plan().train("head/**"),
    (Phase("head", epochs=1), Phase("some", steps=3).train("norm/**"), Phase("all", epochs=2).train("**")),
)


@pytest.mark.every_backend
@pytest.mark.parametrize("plan", [Plan().train("**"), TWO], ids=["plan", "phases"])
def test_it_ends_with_the_same_bits(plan: Any) -> None:
    def trained(watch: bool) -> tuple[Arrays, fl.Run]:
        keras.utils.set_random_seed(3)
        model, x = drawing(), numbers(4)[:64]
        more = {"epochs": 3} if isinstance(plan, Plan) else {}
        run = fl.fit(model, plan, x, learned(x), batch_size=16, verbose=0, watch=watch, **more)
        return state_of(model), run

    (plain, before), (watched, run) = trained(False), trained(True)
    require_same(plain, watched)
    assert before.watched is None and before.findings == ()
    assert run.watched.start is not None
    assert run.watched.last.look is not None
    assert run.watched.start.loss > 0
    # Statistics of a layer that the first phase freezes do not move, and are not held against data.
    assert list(run.watched.start.drift) == (["norm"] if isinstance(plan, Plan) else [])
    for name, values in before.history.history.items():
        assert run.history.history[name] == values


@pytest.mark.every_backend
def test_model_fit_ends_with_the_same_bits() -> None:
    def trained(*callbacks: Any) -> Arrays:
        keras.utils.set_random_seed(3)
        model, x = drawing(), numbers(4)[:64]
        model.fit(x, learned(x), batch_size=16, epochs=2, verbose=0, callbacks=list(callbacks))
        return state_of(model)

    x = numbers(4)[:64]
    plain = trained()
    for watch in (fl.callbacks.Watch(x, learned(x), share=1.0), fl.callbacks.Watch()):
        require_same(plain, trained(watch))
        seen = watch.watched.last.look is not None
        # On TensorFlow nobody sees the batches that pass by, and it says so.
        assert seen == (watch._data[0] is not None or keras.backend.backend() != "tensorflow")
        assert seen != any("gradients and units" in gap for gap in watch.watched.not_seen)


@pytest.mark.every_backend
def test_a_stream_is_watched_by_a_batch_that_passes_by() -> None:
    def batches() -> Iterator[tuple[Any, Any]]:
        x = numbers(4)[:64]
        y = learned(x)
        while True:
            for place in range(0, len(x), 16):
                yield x[place : place + 16], y[place : place + 16]

    def trained(watch: bool) -> tuple[Arrays, fl.Run]:
        keras.utils.set_random_seed(3)
        model = drawing()
        arguments = {"epochs": 3, "steps_per_epoch": 4, "shuffle": False, "verbose": 0, "watch": watch}
        run = fl.fit(model, Plan().train("**"), batches(), **arguments)
        return state_of(model), run

    (plain, _), (watched, run) = trained(False), trained(True)
    require_same(plain, watched)
    assert run.watched.last.epoch == 2
    if keras.backend.backend() == "tensorflow":
        assert "gradients and units: no batch can be kept of generator without taking it away" in str(run)
    else:
        assert run.watched.last.look.samples == 16


def test_a_look_that_fails_stops_nothing_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("no such luck")

    model, x = drawing(), numbers(4)[:64]
    for name in ("look_at_batch", "trained_now", "optimizing", "batch_of"):
        with monkeypatch.context() as patch:
            patch.setattr(callback, name, fail)
            with pytest.warns(UserWarning, match="please report|Please report"):
                run = fl.fit(model, Plan().train("**"), x, learned(x), verbose=0, watch=True)
        assert "OSError: no such luck" in str(run)
        assert run.verification.ok


def test_a_model_whose_loss_cannot_be_computed_apart_trains_and_is_watched_in_part() -> None:
    def loss(y: Any, predicted: Any) -> Any:
        if predicted.shape[0] == 32:  # of a look; training takes 16
            raise ValueError("not now")
        return keras.ops.mean(keras.ops.square(y - predicted))

    model, x = mlp(), numbers(4)[:64]
    model.compile(keras.optimizers.SGD(0.01), loss)
    with pytest.warns(UserWarning, match="gradients: .*not now"):
        model.fit(
            x, learned(x), batch_size=16, verbose=0, callbacks=[watch := fl.callbacks.Watch(x, learned(x))]
        )
    assert watch.watched.intervals[0].moves["one/kernel"].largest > 0
    assert any("not now" in gap for gap in watch.watched.not_seen)


@pytest.mark.parametrize("share", [-0.1, 1.5, "much"])
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(TrainingError, match="share says which part of the training's time looking may take"):
        fl.callbacks.Watch(share=share)


def test_what_time_does_not_allow_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback.Allowance, "allows", lambda self, *what: False)
    model, x = drawing(), numbers(4)[:64]
    run = fl.fit(model, Plan().train("**"), x, learned(x), epochs=4, verbose=0, watch=True)
    # The first look and the last one are made in any case; what lies between is one interval.
    assert [(one.first, one.epoch) for one in run.watched.intervals] == [(0, 3)]
    assert run.watched.start is not None and run.watched.last.look is not None
    assert "not watched: 3 of 4 epochs had no look of their own" in str(run)
    assert len(run.history.history["watch/update_ratio"]) == 4


def test_it_stands_in_the_history_and_in_tensorboard(tmp_path: Path) -> None:
    model, x = drawing(), numbers(4)[:64]
    callbacks = [
        fl.callbacks.Watch(each_weight=True, share=1.0),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
    ]
    run = fl.fit(model, Plan().train("**"), x, learned(x), epochs=3, verbose=0, callbacks=callbacks)
    history = run.history.history
    for name in ("update_ratio", "gradient_norm", "dead_units", "saturated_units", "statistics_drift"):
        assert np.isfinite(history[f"watch/{name}"]).all() and len(history[f"watch/{name}"]) == 3
    assert history["watch/update_ratio/one/kernel"][0] > 0
    assert history["watch/gradient_norm/head/bias"][2] > 0
    assert history["watch/findings"][-1] == len(run.findings)
    assert "watch/size/one/kernel" in (tmp_path / "log.csv").read_text()


@pytest.mark.every_backend
def test_a_resumed_run_goes_on_watching(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def trained(folder: Path, kill_at: int | None = None, *, watch: bool = True) -> tuple[Arrays, fl.Run]:
        def kill(epoch: int, logs: Any) -> None:
            if epoch == kill_at:
                raise StoppedError

        keras.utils.set_random_seed(3)
        model, x = drawing(), numbers(4)[:64]
        killer = [keras.callbacks.LambdaCallback(on_epoch_begin=kill)]
        arguments = {"batch_size": 16, "verbose": 0, "watch": watch, "callbacks": killer}
        run = fl.fit(model, TWO, x, learned(x), resume=folder, **arguments)
        return state_of(model), run

    whole, undisturbed = trained(tmp_path / "whole")
    with pytest.raises(StoppedError):
        trained(tmp_path / "cut", kill_at=2)
    state, run = trained(tmp_path / "cut")
    require_same(whole, state)
    # What was seen before the stop, then the rest; how many looks that is, time decides.
    assert run.watched.intervals[0].epoch == 0
    assert run.watched.last.epoch == undisturbed.watched.last.epoch == 3
    assert run.watched.start.loss == undisturbed.watched.start.loss
    assert run.findings == undisturbed.findings


def test_what_was_not_watched_before_a_stop_is_said(tmp_path: Path) -> None:
    x = numbers(4)[:64]

    def trained(epochs_until_stop: int | None, *, watch: bool) -> fl.Run:
        def stop(epoch: int, logs: Any) -> None:
            if epoch == epochs_until_stop:
                raise KeyboardInterrupt

        keras.utils.set_random_seed(3)
        stopping = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
        arguments = {"epochs": 4, "verbose": 0, "callbacks": [stopping], "watch": watch}
        return fl.fit(drawing(), Plan().train("**"), x, learned(x), resume=tmp_path, **arguments)

    with pytest.raises(KeyboardInterrupt):
        trained(2, watch=False)
    run = trained(None, watch=True)
    assert "not watched: epochs 1 to 2: the run was not watched then" in str(run)
    with pytest.warns(UserWarning, match="is finished"):
        again = trained(None, watch=True)
    assert again.watched.intervals == run.watched.intervals
    assert again.findings == run.findings
    with pytest.warns(UserWarning, match="is finished"):
        assert trained(None, watch=False).watched is None
