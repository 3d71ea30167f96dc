"""Schedules in `fl.fit`: the numbers of as many calls, what moves when, and where each phase ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline import Phase, Plan, Schedule
from frostline.errors import PlanError
from helpers.checks import (
    all_weights,
    changed,
    flags_that_train,
    frostline_fit,
    require_slots,
    same_arrays,
    slots_by_address,
    values,
    weights_in,
)
from helpers.small_models import batch_norm, compiled, data_for, square_layers

Optimizer = keras.optimizers.Optimizer

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd_momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.05),
    "adamw_ema": lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1, use_ema=True, ema_momentum=0.5),
}
each_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)

TWO = Schedule(Plan().train("c/**"), (Phase("head", epochs=2), Phase("all", epochs=3, lr=0.1).train("**")))
THREE = Schedule(
    Plan().train("c/**", lr=0.5),
    (
        Phase("c", epochs=1),
        # `c` leaves, and comes back.
        Phase("a and b", epochs=2, lr=2.0).train("a/**").train("b/**", decay=3.0).freeze("c/**"),
        Phase("all", epochs=1).train("**"),
    ),
)


def one_by_one(model: keras.Model, schedule: Schedule) -> list[fl.Run]:
    """Train the phases of a schedule in a call of `fl.fit` each."""
    return [frostline_fit(model, schedule.plan_of(p), epochs=p.epochs) for p in schedule.phases]


def require_close(model: keras.Model, other: keras.Model) -> None:
    """Values and slots of two models are equal, but for rounding."""
    for found, expected in ((values(model), values(other)), (slots_of(model), slots_of(other))):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def slots_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The optimizer's slots in one flat mapping."""
    return {f"{a}:{name}": v for a, held in slots_by_address(model).items() for name, v in held.items()}


def names_of(run: fl.Run) -> list[str]:
    """The phases that a run went through."""
    return [phase.name for phase in run.phases]


class Seen(keras.callbacks.Callback):
    """Keeps values and slots at the beginning and the end of every epoch, and counts steps."""

    def __init__(self) -> None:
        super().__init__()
        self.begins: list[dict[str, np.ndarray]] = []
        self.ends: list[dict[str, np.ndarray]] = []
        self.slots: list[dict[str, dict[str, np.ndarray]]] = []
        self.end_slots: list[dict[str, dict[str, np.ndarray]]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begins.append(values(self.model))
        self.slots.append(slots_by_address(self.model))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ends.append(values(self.model))
        self.end_slots.append(slots_by_address(self.model))


# --- the numbers of as many calls -------------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize("schedule", [TWO, THREE], ids=["two", "three"])
def test_a_schedule_equals_as_many_calls_of_fit(make: Callable[[], Optimizer], schedule: Schedule) -> None:
    model, other = (compiled(square_layers(), optimizer=make()) for _ in range(2))
    run = frostline_fit(model, schedule)
    runs = one_by_one(other, schedule)

    require_close(model, other)
    assert int(model.optimizer.iterations) == int(other.optimizer.iterations) == 2 * len(run.history.epoch)
    losses = [loss for one in runs for loss in one.history.history["loss"]]
    np.testing.assert_allclose(run.history.history["loss"], losses, rtol=1e-5)
    assert run.history.epoch == list(range(len(losses)))
    assert run.history.history["phase"] == [p.name for p in schedule.phases for _ in range(p.epochs or 0)]


@each_optimizer
def test_each_phase_moves_what_it_trains(make: Callable[[], Optimizer]) -> None:
    model = compiled(square_layers(), optimizer=make())
    before, start = values(model), fl.fingerprint(model)
    run = frostline_fit(model, THREE)

    picked = [weights_in(model, "c"), weights_in(model, "a", "b"), all_weights(model)]
    assert [set(p.verification.of("trained")) for p in run.phases] == picked
    assert [set(p.verification.of("intact")) for p in run.phases] == [all_weights(model) - p for p in picked]
    assert [(p.name, p.epochs) for p in run.phases] == [("c", 1), ("a and b", 2), ("all", 1)]
    assert [p.verification.no_gradient for p in run.phases] == [(), (), ()]

    receipt = run.receipt
    assert [set(p.trained) for p in receipt.phases] == picked
    assert [v.of("trained") for v in receipt.phase_verifications.values()] == [
        p.verification.of("trained") for p in run.phases
    ]
    assert set(receipt.trained) == set(run.verification.of("trained")) == all_weights(model)
    assert receipt.check(before=start, after=fl.fingerprint(model)) == []
    assert changed(model, before) == all_weights(model)
    assert run.resolution is run.phases[-1].resolution
    # The last plan stays on the model.
    assert flags_that_train(model) == all_weights(model)
    require_slots(model, all_weights(model))


def test_a_receipt_of_a_schedule_goes_through_a_file(tmp_path: Path) -> None:
    model = compiled(square_layers())
    before = fl.fingerprint(model)
    run = frostline_fit(model, TWO)
    run.receipt.save(tmp_path / "receipt.json")
    read = fl.Receipt.load(tmp_path / "receipt.json")
    assert read == run.receipt
    assert read.plan == TWO.to_data()
    assert read.check(before=before, after=fl.fingerprint(model)) == []


def test_an_altered_phase_is_found() -> None:
    """Who hides what moved, or when, is found by the digests of the phases."""
    model = compiled(square_layers())
    receipt = frostline_fit(model, TWO).receipt
    head, everything = receipt.phases

    hidden = replace(everything, trained=tuple(a for a in everything.trained if a != "a/kernel"))
    assert replace(receipt, phases=(head, hidden)).check() == [
        "by the receipt itself, a/kernel was frozen and changed in the phase all"
    ]
    early = replace(head, after=everything.after)
    assert replace(receipt, phases=(early, everything)).check() == [
        f"by the receipt itself, {layer}/{kind} was frozen and changed in the phase head"
        for layer in "ab"
        for kind in ("kernel", "bias")
    ]
    assert replace(receipt, phases=(head,)).check() == [
        "by the receipt itself, its last phase does not end with the model that came out"
    ]


def test_without_guard() -> None:
    model = compiled(square_layers())
    before = values(model)
    run = frostline_fit(model, Schedule(TWO.plan, TWO.phases[:1]), guard=False)
    assert changed(model, before) == weights_in(model, "c")
    run = frostline_fit(model, TWO, guard=False)
    assert (run.verification, run.receipt) == (None, None)
    assert [(p.name, p.epochs, p.verification) for p in run.phases] == [("head", 2, None), ("all", 3, None)]
    assert run.history.history["phase"] == ["head"] * 2 + ["all"] * 3


# --- learning rates ---------------------------------------------------------------------------


def test_the_rate_of_a_phase_multiplies() -> None:
    """SGD without momentum: a phase at half the rate is a fit at half the rate."""
    model, other = (compiled(square_layers(), optimizer=keras.optimizers.SGD(0.1)) for _ in range(2))
    plan = Plan().train("b/**", lr=0.2).train("c/**")
    frostline_fit(model, Schedule(plan, (Phase("one", epochs=1), Phase("half", epochs=2, lr=0.5))))
    frostline_fit(other, plan)
    other.optimizer.learning_rate = 0.05
    frostline_fit(other, plan, epochs=2)
    require_close(model, other)


def test_the_rate_of_a_phase_multiplies_what_trains_by_default() -> None:
    """As does it for a plan that trains by default; frozen statistics stay."""
    model, other = (compiled(batch_norm(), optimizer=keras.optimizers.SGD(0.1)) for _ in range(2))
    plan = Plan(default="train").freeze("bn/**")
    run = frostline_fit(model, Schedule(plan, (Phase("half", epochs=2, lr=0.5),)))
    other.optimizer.learning_rate = 0.05
    frostline_fit(other, plan, epochs=2)
    require_close(model, other)
    assert set(run.verification.of("trained")) == weights_in(model, "a", "b")
    assert set(run.verification.of("held")) == {"bn/moving_mean", "bn/moving_variance"}


# --- leaving and joining ----------------------------------------------------------------------

LEAVING: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1, use_ema=True),
    "adamw": lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1, use_ema=True, ema_momentum=0.5),
    "lion": lambda: keras.optimizers.Lion(0.01, weight_decay=0.1, global_clipnorm=1.0),
}


@pytest.mark.parametrize("make", LEAVING.values(), ids=LEAVING)
def test_a_weight_that_leaves_stops_dead_and_gets_its_slots_back(make: Callable[[], Optimizer]) -> None:
    """Neither momentum nor decay nor averaging moves it, and its slots wait for it."""
    model, seen = compiled(square_layers(), optimizer=make()), Seen()
    phases = (
        Phase("all", epochs=2),
        Phase("without c", epochs=2).freeze("c/**"),
        Phase("all again", epochs=1),
    )
    frostline_fit(model, Schedule(Plan(default="train"), phases), callbacks=[seen])
    gone = weights_in(model, "c")
    for address in all_weights(model):
        stays = [held[address] for held in (*seen.begins[2:5], *seen.ends[2:4])]
        assert same_arrays(stays[:1] * 5, stays) == (address in gone)
    assert not gone & set(seen.slots[2])
    assert all(slot.any() for address in gone for slot in seen.end_slots[1][address].values())
    for address in gone:
        assert seen.slots[4][address].keys() == seen.end_slots[1][address].keys()
        assert same_arrays(seen.slots[4][address].values(), seen.end_slots[1][address].values())
        assert not same_arrays([seen.begins[4][address]], [seen.ends[4][address]])
    require_slots(model, all_weights(model))


def adam(value: np.ndarray, gradients: Iterable[np.ndarray], rate: float) -> np.ndarray:
    """Adam by its formulas, for one weight, from its first step on."""
    first = second = np.zeros_like(value)
    for step, gradient in enumerate(gradients, 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        value = value - rate * mean / (np.sqrt(square) + 1e-12)
    return value


def test_who_joins_late_is_corrected_from_its_own_first_step() -> None:
    """Two heads side by side and a loss linear in them, so that the gradients are known."""
    inputs = keras.Input((4,), name="x")
    heads = [keras.layers.Dense(2, use_bias=False, name=name)(inputs) for name in "ab"]
    model = keras.Model(inputs, keras.layers.Concatenate(name="both")(heads), name="two_heads")
    optimizer = keras.optimizers.Adam(0.02, epsilon=1e-12)
    compiled(model, optimizer=optimizer, loss=lambda y, p: keras.ops.mean(y * p))
    rng = np.random.default_rng(2)
    x, y = (rng.normal(size=(8, 4)).astype("float32") for _ in range(2))
    batches = [x[rows].T @ y[rows].astype("float64") / 16 for rows in (slice(0, 4), slice(4, 8))]
    before = values(model)

    phases = (Phase("a", epochs=2), Phase("both", epochs=2).train("b/**"), Phase("slow", steps=3, lr=0.1))
    run = fl.fit(model, Schedule(Plan().train("a/**"), phases), x, y, batch_size=4, shuffle=False, verbose=0)
    assert names_of(run) == ["a", "both", "slow"]
    expected = adam(before["b/kernel"].astype("float64"), [g[:, 2:] for g in batches * 2], 0.02)
    np.testing.assert_allclose(values(model)["b/kernel"], expected, rtol=2e-5, atol=2e-6)


# --- where phases end -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd_momentum", "adam"])
def test_a_phase_may_end_within_an_epoch(name: str) -> None:
    """Three steps of two an epoch; the rest of the second epoch is the next phase's, and not counted."""
    model, other = (compiled(square_layers(), optimizer=OPTIMIZERS[name]()) for _ in range(2))
    phases = (Phase("three", steps=3), Phase("more", epochs=1).train("a/**"), Phase("last", steps=1, lr=0.1))
    schedule = Schedule(Plan().train("c/**"), phases)
    run = frostline_fit(model, schedule)

    x, y = data_for(other)
    one, two, three = map(schedule.plan_of, phases)
    parts = (
        (one, slice(0, 8)),
        (one, slice(0, 4)),
        (two, slice(4, 8)),
        (two, slice(0, 8)),
        (three, slice(0, 4)),
    )
    for plan, rows in parts:
        fl.fit(other, plan, x[rows], y[rows], batch_size=4, shuffle=False, verbose=0)
    require_close(model, other)
    assert run.history.history["phase"] == ["three", "three > more", "more", "last"]
    assert [p.epochs for p in run.phases] == [1, 1, 1]
    assert int(model.optimizer.iterations) == 7
    assert flags_that_train(model) == weights_in(model, "c")


def test_phases_of_steps_may_share_an_epoch() -> None:
    """Three phases in one epoch of four steps; the last step of it opens the fourth."""
    model = compiled(square_layers())
    phases = [Phase(name, steps=1).train(f"{name}/**") for name in "abc"]
    schedule = Schedule(Plan(), (*phases, Phase("all", steps=2).train("**")))
    run = frostline_fit(model, schedule, batch_size=2)
    assert [set(p.verification.of("trained")) for p in run.phases] == [
        weights_in(model, "a"),
        weights_in(model, "b"),
        weights_in(model, "c"),
        all_weights(model),
    ]
    assert run.history.history["phase"] == ["a > b > c > all", "all"]
    assert int(model.optimizer.iterations) == 5


def test_steps_that_end_with_an_epoch_have_all_of_it() -> None:
    model = compiled(square_layers())
    phases = (Phase("two", steps=2), Phase("four", steps=4), Phase("last", epochs=1).train("a/**"))
    run = frostline_fit(model, Schedule(Plan().train("c/**"), phases))
    assert run.history.history["phase"] == ["two", "four", "four", "last"]
    assert int(model.optimizer.iterations) == 8


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has it on TF and JAX only")
@pytest.mark.parametrize(("steps", "taken"), [(2, 2), (3, 4), (6, 6)])
@pytest.mark.every_backend
def test_steps_executed_at_once(steps: int, taken: int) -> None:
    """A phase ends with the execution that holds its last step, and says so where that is a later one."""
    model, other = square_layers(), square_layers()
    for one in (model, other):
        one.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", steps_per_execution=2)
    phases = (Phase("steps", steps=steps), Phase("last", steps=2).train("a/**"))
    schedule = Schedule(Plan().train("c/**"), phases)
    late = pytest.warns(UserWarning, match="'steps' took 4 steps instead of 3: with steps_per_execution")
    with late if taken != steps else nullcontext():
        run = frostline_fit(model, schedule, batch_size=2)
    assert int(model.optimizer.iterations) == taken + 2

    x, y = (np.concatenate([part, part]) for part in data_for(other))
    first, last = map(schedule.plan_of, phases)
    for plan, start, stop in ((first, 0, taken), (last, taken, taken + 2)):
        rows = slice(2 * start, 2 * stop)
        fl.fit(other, plan, x[rows], y[rows], batch_size=2, shuffle=False, verbose=0)
    require_close(model, other)
    assert run.verification.ok


# --- refusals ---------------------------------------------------------------------------------


def test_a_phase_that_trains_nothing_is_refused_before_any_training() -> None:
    model = compiled(square_layers())
    before, flags = values(model), flags_that_train(model)
    phases = (Phase("head", epochs=1), Phase("idle", epochs=1).freeze("**"))
    with pytest.raises(PlanError) as caught:
        frostline_fit(model, Schedule(Plan().train("c/**"), phases))
    assert str(caught.value) == (
        "the phase 'idle' trains nothing in the model 'square_layers'.\n"
        "  received: default: freeze; 1. train 'c/**'; 2. freeze '**'\n"
        "  fix:      add a rule that trains: .train('last:1') trains the last layer"
    )
    assert changed(model, before) == set()
    assert flags_that_train(model) == flags


def test_a_rule_of_a_later_phase_that_picks_nothing_is_refused_before_any_training() -> None:
    model = compiled(square_layers())
    before = values(model)
    phases = (Phase("head", epochs=1), Phase("more", epochs=1).train("d/**"))
    with pytest.raises(PlanError, match="d/"):
        frostline_fit(model, Schedule(Plan().train("c/**"), phases))
    assert changed(model, before) == set()


@pytest.mark.parametrize(("name", "value"), [("epochs", 3), ("initial_epoch", 1)])
def test_epochs_beside_a_schedule_are_refused(name: str, value: int) -> None:
    model = compiled(square_layers())
    before = values(model)
    with pytest.raises(PlanError) as caught:
        frostline_fit(model, TWO, **{name: value})
    assert str(caught.value) == (
        f"{name} cannot be combined with a schedule, whose phases say how long they last.\n"
        f"  received: {name}={value}\n"
        "  fix:      leave it out, or give the phases other epochs"
    )
    assert changed(model, before) == set()
