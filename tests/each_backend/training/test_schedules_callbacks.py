"""Schedules and callbacks: plateaus, the best weights, and Keras's own callbacks across phases."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline import Phase, Plan, Schedule
from helpers import random_models
from helpers.checks import frostline_fit, values, weights_in
from helpers.random_models import BATCH, Optimizer, Recipe, plans, recipes
from helpers.schedules import HEAD, Scores, require_same
from helpers.small_models import compiled, nested_dropout, square_layers

NAN = float("nan")


def at_epoch(
    number: int, act: Callable[[], None], moment: str = "on_epoch_begin"
) -> keras.callbacks.Callback:
    """A callback that acts at one epoch."""

    def look(epoch: int, logs: Any = None) -> None:
        if epoch == number:
            act()

    return keras.callbacks.LambdaCallback(**{moment: look})


# --- Keras's callbacks ------------------------------------------------------------------------


PHASES = (
    Phase("c", epochs=2),
    Phase("b", epochs=2, lr=0.5).train("b/**"),
    Phase("all", epochs=2).train("**"),
)


SIX = Schedule(HEAD, PHASES)


def test_callbacks_see_one_training() -> None:
    calls: list[str] = []
    model = compiled(square_layers())

    def note(name: str) -> Callable[..., None]:
        return lambda *of, **logs: calls.append(" ".join([name, *(str(n) for n in of if isinstance(n, int))]))

    moments = ("on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end")
    callback = keras.callbacks.LambdaCallback(**{name: note(name) for name in moments})
    run = frostline_fit(model, SIX, callbacks=callback)
    epochs = [
        f"{name} {n}"
        for epoch in range(6)
        for name, n in (
            ("on_epoch_begin", epoch),
            ("on_train_batch_end", 0),
            ("on_train_batch_end", 1),
            ("on_epoch_end", epoch),
        )
    ]
    assert calls == ["on_train_begin", *epochs, "on_train_end"]
    assert run.history is model.history
    assert run.history.epoch == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("stops", range(5))
def test_early_stopping_stops_everything(stops: int) -> None:
    """Within a phase, and just where one ends, which then is the last."""
    model = compiled(square_layers(), optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    seen = Scores([-n for n in range(stops)] + [1] * 6)
    stop = keras.callbacks.EarlyStopping("score", mode="min", patience=0)
    run = frostline_fit(model, SIX, callbacks=[seen, stop])
    last = max(stops, 1)
    assert run.history.history["phase"] == [p.name for p in PHASES for _ in range(2)][: last + 1]
    assert [p.name for p in run.phases] == ["c", "b", "all"][: last // 2 + 1]
    assert run.verification.ok


def test_a_run_prints_what_trained_how_the_loss_went_and_what_was_proved() -> None:
    schedule = Schedule(
        Plan().train("c/**"), (Phase("head", epochs=2), Phase("all", epochs=3, lr=0.1).train("**"))
    )
    model = compiled(square_layers())
    stop = at_epoch(0, lambda: setattr(model, "stop_training", True), "on_epoch_end")
    run = frostline_fit(model, schedule, callbacks=[stop])
    first, not_run, loss, verdict = str(run).splitlines()
    head, of = (
        sum(w.size for w in fl.inventory(model).of_role("weight") if w.address.startswith(start))
        for start in ("c/", "")
    )
    assert first == f"head: 1 epoch, trained {head} of {of} elements ({100 * head / of:.0f}%)"
    assert not_run == "all: not reached"
    assert loss == f"loss: {run.history.history['loss'][0]:.4g}"
    assert (
        verdict
        == "verified: every frozen number is bit-identical (4 weights held over the whole run, 2 trained)"
    )
    both = frostline_fit(model, schedule, guard=False)
    losses = both.history.history["loss"]
    assert str(both).splitlines()[2:] == [f"loss: {losses[0]:.4g} to {losses[-1]:.4g}", "not verified"]


def test_stopping_where_a_phase_of_steps_ends_blames_nobody() -> None:
    """The next phase has begun and has seen no step: that is no want of gradients."""
    model = compiled(square_layers())
    stop = at_epoch(0, lambda: setattr(model, "stop_training", True), "on_epoch_end")
    phases = (Phase("steps", steps=2), Phase("never", epochs=1).train("a/**").freeze("c/**"))
    run = frostline_fit(model, Schedule(HEAD, phases), callbacks=[stop])
    assert run.history.history["phase"] == ["steps"]
    assert [(p.name, p.epochs) for p in run.phases] == [("steps", 0), ("never", 0)]
    assert set(run.verification.of("trained")) == weights_in(model, "c")


def test_nan_terminates_everything() -> None:
    model = compiled(square_layers())
    bias = model.get_layer("c").bias
    poison = at_epoch(2, lambda: bias.assign(bias + NAN))
    run = frostline_fit(model, SIX, callbacks=[poison, keras.callbacks.TerminateOnNaN()])
    assert run.history.history["phase"] == ["c", "c", "b"]
    assert int(model.optimizer.iterations) == 5
    assert set(run.verification.of("intact")) == weights_in(model, "a")
    assert set(run.verification.of("not finite")) == weights_in(model, "b", "c")
    assert run.verdict == "NOT verified: numbers became NaN or infinite"


def test_a_learning_rate_scheduler_goes_on_across_phases() -> None:
    """The rate of the epoch times the phase's: the numbers of a fit for each."""
    model, other = (compiled(square_layers(), optimizer=keras.optimizers.SGD(0.1)) for _ in range(2))
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1))
    run = frostline_fit(model, SIX, callbacks=[scheduler])
    np.testing.assert_allclose(
        run.history.history["learning_rate"], [0.1 / n for n in range(1, 7)], rtol=1e-6
    )
    for epoch in range(6):
        other.optimizer.learning_rate = 0.1 / (epoch + 1)
        frostline_fit(other, SIX.plan_of(PHASES[epoch // 2]))
    for address, value in values(other).items():
        np.testing.assert_allclose(values(model)[address], value, rtol=1e-6, atol=1e-6)


def test_a_reduced_learning_rate_stays_reduced() -> None:
    model, seen = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.1)), Scores([5, 5, 5, 4, 4, 3])
    reduce = keras.callbacks.ReduceLROnPlateau("score", factor=0.5, patience=1, mode="min", min_delta=0)
    run = frostline_fit(model, SIX, callbacks=[seen, reduce])
    rates = [0.1, 0.1, 0.05, 0.025, 0.025, 0.0125]
    np.testing.assert_allclose(run.history.history["learning_rate"], rates, rtol=1e-6)
    assert run.verification.ok


def test_checkpoints_and_logs_are_written_across_phases(tmp_path: Path) -> None:
    model, seen = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05)), Scores([9, 8, 9, 7, 9, 6])
    log = tmp_path / "log.csv"
    every = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch:02d}.weights.h5"), save_weights_only=True)
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "best.keras"), monitor="score", mode="min", save_best_only=True
    )
    run = frostline_fit(model, SIX, callbacks=[seen, every, best, keras.callbacks.CSVLogger(str(log))])

    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == list("012345")
    np.testing.assert_allclose([float(r["loss"]) for r in rows], run.history.history["loss"], rtol=1e-5)
    assert sorted(p.name for p in tmp_path.glob("*.h5")) == [f"{n:02d}.weights.h5" for n in range(1, 7)]
    require_same(values(keras.models.load_model(tmp_path / "best.keras")), values(model))
    for number in (1, 3, 5):
        fresh = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
        fl.apply(fresh, SIX.plan_of(PHASES[number // 2]))
        fresh.load_weights(tmp_path / f"{number:02d}.weights.h5")
        require_same(values(fresh), seen.ends[number - 1])


def test_a_schedule_in_bfloat16() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = nested_dropout()
    finally:
        keras.config.set_dtype_policy("float32")
    compiled(model, optimizer=keras.optimizers.AdamW(0.05, weight_decay=0.1))
    phases = (Phase("head", epochs=2), Phase("all", steps=3).train("**"), Phase("head again", epochs=1))
    run = frostline_fit(model, Schedule(Plan().train("head/**"), phases))
    moved = [{a.split("/")[0] for a in p.verification.of("trained")} for p in run.phases]
    assert moved == [{"head"}, {"backbone", "head"}, {"head"}]
    assert all(np.isfinite(value).all() for value in values(model).values())


# --- random schedules -------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> tuple[Recipe, Optimizer, Schedule]:
    """A random model, an optimizer, and one to four phases."""
    recipe = draw(recipes())
    held = fl.inventory(recipe.build())
    base = draw(plans(held))
    phases = []
    for number in range(draw(st.sampled_from((1, 2, 2, 3, 4)))):
        # A phase of steps takes whole epochs, which a call of `fit` can too.
        epochs = draw(st.integers(1, 2))
        end = {"epochs": epochs} if draw(st.booleans()) else {"steps": epochs * 3}
        lr = draw(st.sampled_from((1.0, 0.5)))
        phases.append(Phase(f"phase {number}", lr=lr, rules=draw(plans(held)).rules, **end))
    return recipe, draw(random_models.optimizers()), Schedule(base, tuple(phases))


@settings(
    # Each phase is compiled twice, which takes seconds.
    max_examples=10 if keras.backend.backend() == "torch" else 4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases())
def test_random_schedules_equal_as_many_calls_of_fit(case: tuple[Recipe, Optimizer, Schedule]) -> None:
    recipe, optimizer, schedule = case
    common: dict[str, Any] = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    eager = keras.backend.backend() == "tensorflow"
    model, other = recipe.build(), recipe.build()
    for one in (model, other):
        one.compile(optimizer.make(), "mse", run_eagerly=eager)
    run = fl.fit(model, schedule, *recipe.data(), **common)
    for phase, done in zip(schedule.phases, run.phases, strict=True):
        epochs = phase.epochs or phase.steps // 3
        alone = fl.fit(other, schedule.plan_of(phase), *recipe.data(), epochs=epochs, **common)
        assert alone.verification.findings == done.verification.findings
    after = random_models.values(model)
    for address, value in random_models.values(other).items():
        np.testing.assert_allclose(after[address], value, rtol=1e-5, atol=1e-5, err_msg=address)
