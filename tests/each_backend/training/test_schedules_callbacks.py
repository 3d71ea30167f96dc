"""Schedules and callbacks: plateaus, the best weights, and Keras's own callbacks across phases."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline import Phase, Plan, Plateau, Schedule
from frostline.errors import PlanError
from helpers import random_models
from helpers.checks import all_weights, changed, frostline_fit, moved_by, values, weights_in
from helpers.random_models import BATCH, Optimizer, Recipe, plans, recipes
from helpers.small_models import batch_norm, compiled, data_for, is_readable, nested_dropout, square_layers

HEAD = Plan().train("c/**")
NAN = float("nan")


class Scores(keras.callbacks.Callback):
    """Reports a `score` of our making for each epoch, and keeps the values at its ends."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.scores = scores
        self.begins: list[dict[str, np.ndarray]] = []
        self.ends: list[dict[str, np.ndarray]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begins.append(values(self.model))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["score"] = self.scores[epoch]
        self.ends.append(values(self.model))


def require_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Two sets of values have the same bits."""
    assert {a for a in expected if found[a].tobytes() != expected[a].tobytes()} == set()


def until(patience: int = 1, **more: Any) -> Plateau:
    """A plateau of `score`."""
    return Plateau("score", patience, **more)


def at_epoch(
    number: int, act: Callable[[], None], moment: str = "on_epoch_begin"
) -> keras.callbacks.Callback:
    """A callback that acts at one epoch."""

    def look(epoch: int, logs: Any = None) -> None:
        if epoch == number:
            act()

    return keras.callbacks.LambdaCallback(**{moment: look})


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
    """The next phase has begun and has seen no step: that is not a lack of gradients."""
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
