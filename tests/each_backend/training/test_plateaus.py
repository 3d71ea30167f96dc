"""Phases that end at a plateau, and the best weights that come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline import Phase, Plan, Plateau, Schedule
from frostline.errors import PlanError
from helpers.checks import all_weights, changed, frostline_fit, moved_by, values, weights_in
from helpers.schedules import HEAD, Scores, require_same
from helpers.small_models import batch_norm, compiled, data_for, is_readable, square_layers

NAN = float("nan")


def until(patience: int = 1, **more: Any) -> Plateau:
    """A plateau of `score`."""
    return Plateau("score", patience, **more)


# --- plateaus ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plateau", "scores", "lasts"),
    [
        (until(1), (3, 2, 2, 0), 3),
        (until(1), (3, 4), 2),
        (until(2), (3, 4, 2, 3, 2.5, 0), 5),
        (until(3), (3, 4, 4, 2, 9, 9, 0), 7),
        (until(2), (3, 2, 1, 0, -1, -2, -3), 7),
        (until(1, min_delta=0.5), (3, 2, 1.6, 0), 3),
        (until(1, mode="max"), (0.1, 0.5, 0.4), 3),
        (until(2), (NAN, NAN, 1), 2),
        (until(1), (3, NAN, 1), 2),
    ],
    ids=str,
)
def test_a_plateau_ends_a_phase(plateau: Plateau, scores: Sequence[float], lasts: int) -> None:
    """At most seven epochs; then one more of the next phase."""
    model, seen = compiled(square_layers()), Scores([*scores, *[0.0] * 8])
    phases = (Phase("first", epochs=7, until=plateau), Phase("last", epochs=1).train("a/**"))
    run = frostline_fit(model, Schedule(HEAD, phases), callbacks=[seen])
    assert run.history.history["phase"] == ["first"] * lasts + ["last"]
    assert [p.epochs for p in run.phases] == [lasts, 1]
    assert set(run.phases[0].verification.of("intact")) == weights_in(model, "a", "b")


def test_each_phase_has_a_plateau_of_its_own() -> None:
    """What an earlier phase reached is not a standard for the next."""
    model, seen = compiled(square_layers()), Scores([1, 2, 9, 8, 8])
    phases = (Phase("first", epochs=5, until=until()), Phase("last", epochs=5, until=until()).train("a/**"))
    run = frostline_fit(model, Schedule(HEAD, phases), callbacks=[seen])
    assert run.history.history["phase"] == ["first"] * 2 + ["last"] * 3


def test_an_epoch_that_a_phase_shares_is_no_part_of_its_plateau() -> None:
    model, seen = compiled(square_layers()), Scores([0, 5, 4, 4])
    phases = (Phase("first", steps=1), Phase("last", epochs=5, until=until()).train("a/**"))
    run = frostline_fit(model, Schedule(HEAD, phases), callbacks=[seen])
    assert run.history.history["phase"] == ["first > last"] + ["last"] * 3
    assert [p.epochs for p in run.phases] == [0, 3]


def test_a_plateau_of_the_validation_loss() -> None:
    model = compiled(square_layers(), optimizer=keras.optimizers.SGD(0.05))
    x, y = data_for(model)
    phases = (
        Phase("first", epochs=2, until=Plateau("val_loss", min_delta=100.0)),
        Phase("last", epochs=1, lr=0.5).train("**"),
    )
    run = frostline_fit(model, Schedule(HEAD, phases), validation_data=(x[:4], y[:4]))
    assert run.history.history["phase"] == ["first", "first", "last"]
    assert len(run.history.history["val_loss"]) == 3
    error = np.mean((model.predict(x[:4], verbose=0) - y[:4]) ** 2)
    np.testing.assert_allclose(run.history.history["val_loss"][-1], error, rtol=1e-4)


def test_a_later_phase_that_monitors_what_is_not_reported_ends_the_first_epoch() -> None:
    model = compiled(square_layers())
    phases = Phase("head", epochs=3), Phase("rest", epochs=3, until=Plateau("val_loss")).train("b/**")
    with pytest.raises(PlanError, match="the phase 'rest' monitors 'val_loss', which this training does not"):
        frostline_fit(model, Schedule(HEAD, phases))
    assert int(model.optimizer.iterations) == 2


@pytest.mark.parametrize("often", [2, [2, 4, 6]], ids=str)
def test_epochs_without_validation_do_not_end_a_plateau(often: Any) -> None:
    model = compiled(square_layers(), "sgd")
    model.optimizer.learning_rate = 0.0
    schedule = Schedule(HEAD, (Phase("probe", epochs=9, until=Plateau("val_loss", patience=2)),))
    run = frostline_fit(model, schedule, validation_data=data_for(model), validation_freq=often)
    assert len(run.history.epoch) == 6
    with pytest.raises(PlanError, match="did you mean 'val_loss'"):
        wrong = Schedule(HEAD, (Phase("probe", epochs=9, until=Plateau("val_los")),))
        frostline_fit(model, wrong, validation_data=data_for(model), validation_freq=often)


@pytest.mark.parametrize(
    ("monitor", "mend"),
    [("losss", "did you mean 'loss'?"), ("accuracy", "val_... needs validation_data")],
)
def test_a_monitor_that_is_not_reported(monitor: str, mend: str) -> None:
    model = compiled(square_layers())
    before = values(model)
    schedule = Schedule(HEAD, (Phase("probe", epochs=3, until=Plateau(monitor)),))
    with pytest.raises(PlanError) as caught:
        frostline_fit(model, schedule)
    assert str(caught.value) == (
        f"the phase 'probe' monitors {monitor!r}, which this training does not report.\n"
        "  received: it reports loss\n"
        f"  fix:      {mend}"
    )
    assert all(is_readable(variable) for variable in (*model.variables, *model.optimizer.variables))
    assert changed(model, before) == weights_in(model, "c")
    assert moved_by(model, lambda: frostline_fit(model, Plan(default="train"))) == all_weights(model)


# --- the best weights -------------------------------------------------------------------------


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adam": lambda: keras.optimizers.Adam(0.05),
    "adamw_ema": lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1, use_ema=True, ema_momentum=0.5),
}


each_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


@each_optimizer
def test_the_best_weights_come_back(make: Callable[[], Any]) -> None:
    """Of each phase its own, bit for bit: at its end in between, and at the end of all."""
    model, seen = compiled(square_layers(), optimizer=make()), Scores([3, 1, 2, 2, 7, 5, 6, 6])
    phases = (
        Phase("first", epochs=9, until=until(2), restore_best=True),
        Phase("last", epochs=4, until=until(2), restore_best=True).train("**"),
    )
    run = frostline_fit(model, Schedule(HEAD, phases), callbacks=[seen])
    assert run.history.history["phase"] == ["first"] * 4 + ["last"] * 4
    require_same(seen.begins[4], seen.ends[1])
    require_same(values(model), seen.ends[5])
    assert run.verification.ok
    assert run.receipt.check(after=fl.fingerprint(model)) == []


@each_optimizer
def test_without_an_improvement_nothing_comes_back(make: Callable[[], Any]) -> None:
    model, other = (compiled(square_layers(), optimizer=make()) for _ in range(2))
    phases = (Phase("only", epochs=4, until=until(2), restore_best=True),)
    frostline_fit(model, Schedule(HEAD, phases), callbacks=[Scores([NAN, NAN])])
    frostline_fit(other, HEAD, epochs=2)
    for address, value in values(other).items():
        np.testing.assert_allclose(values(model)[address], value, rtol=1e-6, atol=1e-6)


def test_statistics_come_back_with_the_weights() -> None:
    model, seen = compiled(batch_norm()), Scores([1, 2, 3])
    phases = (Phase("only", epochs=9, until=until(2), restore_best=True),)
    frostline_fit(model, Schedule(Plan(default="train"), phases), callbacks=[seen])
    require_same(values(model), seen.ends[0])
    assert changed(model, seen.begins[0]) >= {"bn/moving_mean", "bn/moving_variance"}


def test_the_best_weights_come_back_when_another_callback_stops() -> None:
    model, seen = compiled(square_layers()), Scores([1, 2, 3])
    stop = keras.callbacks.EarlyStopping("score", mode="min", patience=1)
    phases = (Phase("only", epochs=9, until=until(5), restore_best=True), Phase("never", epochs=1))
    run = frostline_fit(model, Schedule(HEAD, phases), callbacks=[seen, stop])
    assert [p.name for p in run.phases] == ["only"]
    require_same(values(model), seen.ends[0])
    assert run.verification.ok
