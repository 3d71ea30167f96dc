"""Schedules as values: made by chaining, checked, printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from frostline import Phase, Plan, Plateau, Rule, Schedule
from frostline.errors import PlanError, SelectorError
from frostline.plan.schedule import most_steps
from frostline.plan.selectors import Glob
from helpers.messages import error_text, message_of

HEAD = Plan().train("head/**")


# Plateau ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "value", "best", "better"),
    [
        ("min", 0.5, None, True),
        ("min", float("nan"), None, False),
        ("min", float("nan"), 1.0, False),
        ("min", 0.8, 1.0, True),
        ("min", 0.95, 1.0, False),
        ("min", 1.2, 1.0, False),
        ("max", 1.2, 1.0, True),
        ("max", 1.05, 1.0, False),
        ("max", 0.8, 1.0, False),
        ("min", 1.0, float("inf"), True),
    ],
)
def test_what_improves(mode: Any, value: float, best: float | None, better: bool) -> None:
    assert Plateau("loss", min_delta=0.1, mode=mode).improves(value, best) is better


def test_equal_is_no_improvement() -> None:
    assert not Plateau("loss").improves(1.0, 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"monitor": ""}, error_text("a plateau monitors nothing", expected="a name such as 'val_loss'")),
        ({"monitor": None}, error_text("a plateau monitors nothing", expected="a name such as 'val_loss'")),
        *(
            (
                {"patience": value},
                error_text(
                    "the patience is out of range", received=repr(value), expected="a whole number from 1 up"
                ),
            )
            for value in (0, -1, 1.0, True, "2", None)
        ),
        *(
            (
                {"min_delta": value},
                error_text(
                    "the min_delta of a plateau is out of range",
                    received=repr(value),
                    expected="a finite number, 0 or above",
                ),
            )
            for value in (-0.1, float("nan"), float("inf"), True, "0.1", None)
        ),
        (
            {"mode": "auto"},
            error_text(
                "the mode of a plateau is not one of its values", received="'auto'", expected="'min' or 'max'"
            ),
        ),
    ],
)
def test_a_plateau_that_cannot_be(given: dict[str, Any], message: str) -> None:
    assert message_of(PlanError, lambda: Plateau(**{"monitor": "loss", **given})) == message


def test_a_plateau_prints() -> None:
    assert str(Plateau("val_loss")) == "until val_loss no longer falls for 1 epoch"
    assert str(Plateau("val_acc", patience=3, mode="max")) == "until val_acc no longer rises for 3 epochs"


# Phase --------------------------------------------------------------------------------------------

NO_END = "exactly one of epochs and steps"
LIMIT = "with until, epochs is the most it may last"
BY_WHAT = "say what to monitor: until=Plateau('val_loss', patience=3)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "", "epochs": 1}, error_text("a phase has no name", received="''")),
        ({"name": 3, "epochs": 1}, error_text("a phase has no name", received="3")),
        (
            {},
            error_text(
                "the phase 'one' has no end, or two",
                received="epochs=None, steps=None",
                expected=NO_END,
                fix=LIMIT,
            ),
        ),
        (
            {"epochs": 2, "steps": 3},
            error_text(
                "the phase 'one' has no end, or two",
                received="epochs=2, steps=3",
                expected=NO_END,
                fix=LIMIT,
            ),
        ),
        *(
            (
                {name: value},
                error_text(
                    f"the number of {name} is out of range",
                    received=repr(value),
                    expected="a whole number from 1 up",
                ),
            )
            for name in ("epochs", "steps")
            for value in (0, -2, 1.5, True, "3")
        ),
        (
            {"steps": 5, "until": Plateau("loss")},
            error_text("the phase 'one' has a plateau, which needs epochs as its limit"),
        ),
        (
            {"epochs": 5, "until": "val_loss"},
            error_text(
                "the phase 'one' does not end by a Plateau",
                received="until='val_loss'",
                fix=BY_WHAT,
            ),
        ),
        (
            {"epochs": 5, "restore_best": True},
            error_text("the phase 'one' is to restore its best weights, but monitors nothing", fix=BY_WHAT),
        ),
        *(
            (
                {"epochs": 1, "lr": value},
                error_text(
                    "the lr of the phase 'one' is out of range",
                    received=repr(value),
                    expected="a finite number above 0",
                ),
            )
            for value in (0, -1.0, float("nan"), float("inf"), True, "0.1", None)
        ),
        (
            {"epochs": 1, "rules": ("head/**",)},
            error_text(
                "the rules of the phase 'one' are not a tuple of Rule",
                received="('head/**',)",
                fix="use Phase(...).train(...) and .freeze(...)",
            ),
        ),
    ],
)
def test_a_phase_that_cannot_be(given: dict[str, Any], message: str) -> None:
    assert message_of(PlanError, lambda: Phase(**{"name": "one", **given})) == message


def test_rules_of_a_phase_are_made_like_those_of_a_plan() -> None:
    bare = Phase("one", steps=3)
    phase = bare.train("a", lr=2, decay=0, optional=True).freeze("b", optional=True).train("c")
    assert phase.rules == (
        Rule("train", Glob("a"), 2, 0, optional=True),
        Rule("freeze", Glob("b"), optional=True),
        Rule("train", Glob("c")),
    )
    assert bare.rules == ()
    assert (phase.name, phase.steps) == ("one", 3)
    with pytest.raises(FrozenInstanceError):
        phase.epochs = 3  # type: ignore[misc]
    with pytest.raises(SelectorError, match=r"^the glob 'a\*\*' has "):
        bare.train("a**")
    with pytest.raises(PlanError, match=r"^the multiplier lr of a rule is out of range"):
        bare.train("a", lr=0)


PRINTED = {
    "one: 1 epoch": Phase("one", epochs=1),
    "one: 2 epochs": Phase("one", epochs=2),
    "one: 1 step": Phase("one", steps=1),
    "one: 20 steps, lr x 0.5; freeze 'a'": Phase("one", steps=20, lr=0.5).freeze("a"),
    "one: at most 9 epochs, until loss no longer falls for 2 epochs, lr x 0.001, best weights restored; "
    "train 'a' (lr x 0.1); freeze 'b'": (
        Phase("one", epochs=9, until=Plateau("loss", 2), lr=1e-3, restore_best=True)
        .train("a", lr=0.1)
        .freeze("b")
    ),
}


@pytest.mark.parametrize("printed", PRINTED)
def test_a_phase_prints(printed: str) -> None:
    assert str(PRINTED[printed]) == printed


# Schedule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Schedule(HEAD, ()),
            error_text("a schedule needs phases, each with a name of its own", received="no phases"),
        ),
        (
            lambda: Schedule(HEAD, (Phase("a", epochs=1), Phase("b", epochs=1), Phase("a", steps=2))),
            error_text("a schedule needs phases, each with a name of its own", received="a, b, a"),
        ),
        (
            lambda: Schedule("head/**", (Phase("a", epochs=1),)),  # type: ignore[arg-type]
            error_text("a schedule has no plan", received="'head/**'", expected="a Plan"),
        ),
        *(
            (
                lambda phases=phases: Schedule(HEAD, phases),
                error_text(
                    "the phases of a schedule are not a tuple of Phase",
                    received=repr(phases),
                    fix="write Schedule(plan, (Phase('all', epochs=3),))",
                ),
            )
            for phases in (["probe"], ("probe",), Phase("a", epochs=1), None)
        ),
    ],
)
def test_a_schedule_that_cannot_be(make: Callable[[], Schedule], message: str) -> None:
    assert message_of(PlanError, make) == message


def test_a_schedule_prints() -> None:
    phases = (Phase("probe", epochs=3), Phase("all", epochs=5, lr=0.1).train("**"))
    assert str(Schedule(Plan(default="train", batchnorm="update").freeze("a"), phases)) == (
        "default: train\n"
        "batchnorm: update\n"
        "1. freeze 'a'\n"
        "phase probe: 3 epochs\n"
        "phase all: 5 epochs, lr x 0.1; train '**'"
    )


def test_the_plan_of_a_phase_has_the_rules_of_both() -> None:
    plan = Plan(batchnorm="update", stochastic="active").train("head/**", lr=0.5, decay=2)
    phase = Phase("more", epochs=1).train("body/**", optional=True).freeze("**/bias")
    found = Schedule(plan, (phase,)).plan_of(phase)
    assert found == plan.train("body/**", optional=True).freeze("**/bias")


def test_the_rate_of_a_phase_multiplies_those_of_all_rules() -> None:
    plan = Plan(stochastic="active").train("head/**", lr=0.5, decay=2).freeze("a").train("b")
    phase = Phase("more", epochs=1, lr=0.1).train("body/**", lr=3.0)
    assert Schedule(plan, (phase,)).plan_of(phase) == (
        Plan(stochastic="active")
        .train("head/**", lr=0.05, decay=2)
        .freeze("a")
        .train("b", lr=0.1)
        .train("body/**", lr=3.0 * 0.1)
    )


def test_the_rate_of_a_phase_multiplies_what_trains_by_default() -> None:
    plan = Plan(default="train").freeze("a").train("b", lr=0.5)
    phase = Phase("slow", epochs=1, lr=0.1)
    schedule = Schedule(plan, (phase,))
    assert schedule.plan_of(phase) == (
        Plan(default="train").train("**", lr=0.1).freeze("a").train("b", lr=0.05)
    )
    plain = Phase("plain", epochs=1)
    assert schedule.plan_of(plain) == plan


def test_plain_data_holds_all_that_is_not_default() -> None:
    phases = (
        Phase("probe", epochs=3),
        Phase("steps", steps=10, lr=2.0).freeze("b"),
        Phase("all", epochs=9, until=Plateau("val_loss", 2), restore_best=True).train("**", decay=0),
    )
    until = {"monitor": "val_loss", "patience": 2, "min_delta": 0.0, "mode": "min"}
    assert Schedule(HEAD, phases).to_data() == HEAD.to_data() | {
        "phases": [
            {"name": "probe", "epochs": 3},
            {"name": "steps", "steps": 10, "lr": 2.0, "rules": [{"freeze": "b"}]},
            {
                "name": "all",
                "epochs": 9,
                "restore_best": True,
                "until": until,
                "rules": [{"train": "**", "decay": 0}],
            },
        ]
    }


def test_a_schedule_with_a_function_leaves_no_file(tmp_path: Path) -> None:
    schedule = Schedule(HEAD, (Phase("a", epochs=1).train(bool),))
    with pytest.raises(PlanError, match="a Python function as its selector cannot be written"):
        schedule.save(tmp_path / "plan.yaml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("phases", "steps"),
    [
        ((Phase("a", epochs=2), Phase("b", epochs=3)), (8, 12)),
        ((Phase("a", steps=3), Phase("b", steps=3), Phase("c", epochs=1)), (3, 3, 6)),
        ((Phase("a", steps=4), Phase("b", epochs=1)), (4, 4)),
        ((Phase("a", epochs=1), Phase("b", steps=9)), (4, 9)),
    ],
)
def test_a_phase_of_epochs_has_the_rest_of_the_epoch_it_begins_in(
    phases: tuple[Phase, ...], steps: tuple[int, ...]
) -> None:
    assert most_steps(phases, 4) == steps
