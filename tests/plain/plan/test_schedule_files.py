"""Plan files with phases: what goes out comes in again, and every mistake is named with its file and line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline import Phase, Plan, Plateau, Schedule
from frostline.errors import PlanError, PlanFileError
from frostline.plan.schedule import load_plan_or_schedule
from helpers.messages import error_text

HEAD = Plan().train("head/**")


# Round trips --------------------------------------------------------------------------------------

names = st.sampled_from(("probe", "fine tune", "größer", "1", "null", "yes", "1e-4", "- a", "a: b", "# no"))
selectors = st.sampled_from(("head/**", "**", "re:.*bias", "last:2", "{a,b}/[0-9]", {"not": "a/b"}))
rates = st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)
counts = st.integers(1, 10**6)
plateaus = st.builds(
    Plateau,
    names,
    counts,
    st.floats(0, allow_nan=False, allow_infinity=False),
    st.sampled_from(("min", "max")),
)


@st.composite
def phases(draw: st.DrawFn, name: str) -> Phase:
    lr = draw(st.just(1.0) | rates)
    if draw(st.booleans()):
        phase = Phase(name, steps=draw(counts), lr=lr)
    else:
        until = draw(st.none() | plateaus)
        best = until is not None and draw(st.booleans())
        phase = Phase(name, epochs=draw(counts), until=until, lr=lr, restore_best=best)
    for of in draw(st.lists(selectors, max_size=3)):
        optional = draw(st.booleans())
        if draw(st.booleans()):
            phase = phase.train(of, lr=draw(rates), decay=draw(rates), optional=optional)
        else:
            phase = phase.freeze(of, optional=optional)
    return phase


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    plan = Plan(default=draw(st.sampled_from(("freeze", "train"))))
    for of in draw(st.lists(selectors, max_size=2)):
        plan = plan.train(of, lr=draw(rates))
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    return Schedule(plan, tuple(draw(phases(name)) for name in chosen))


@given(schedules(), st.sampled_from(["plan.yaml", "plan.json"]))
@settings(deadline=None, max_examples=60)
def test_what_was_saved_is_loaded(schedule: Schedule, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        schedule.save(path)
        assert Schedule.load(path) == Schedule.load(str(path)) == load_plan_or_schedule(path) == schedule
    jsonschema.validate(schedule.to_data(), fl.plan_schema())


def test_the_file_of_the_design(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "frostline: 1\n"
        "rules:\n"
        "  - train: head/**\n"
        "phases:\n"
        "  - {name: probe, epochs: 3}\n"
        "  - name: finetune\n"
        "    epochs: 5\n"
        "    lr: 1e-1\n"
        "    until: {monitor: val_loss, min_delta: 1e-4}\n"
        "    rules: [{train: backbone/**}]\n"
    )
    until = Plateau("val_loss", min_delta=1e-4)
    finetune = Phase("finetune", epochs=5, until=until, lr=0.1).train("backbone/**")
    schedule = Schedule(HEAD, (Phase("probe", epochs=3), finetune))
    assert Schedule.load(path) == schedule
    schedule.save(path)
    assert path.read_text().endswith(
        "phases:\n- name: probe\n  epochs: 3\n- name: finetune\n  epochs: 5\n  lr: 0.1\n  until:\n"
        "    monitor: val_loss\n    patience: 1\n    min_delta: 0.0001\n    mode: min\n"
        "  rules:\n  - train: backbone/**\n"
    )


# Errors -------------------------------------------------------------------------------------------

PHASE_KEYS = "name, epochs, steps, until, lr, rules, restore_best"
PHASE = "a mapping such as {name: probe, epochs: 3}"
UNTIL = "a mapping such as {monitor: val_loss, patience: 3}"


def wrong(line: int, key: str, received: str, expected: str) -> str:
    return error_text(f"FILE, line {line}: {key} has a wrong value", received=received, expected=expected)


def unknown(line: int, key: str, known: str, close: str) -> str:
    mend = f"did you mean {close!r}?" if close else ""
    return error_text(f"FILE, line {line}: unknown key {key!r}", expected=f"one of {known}", fix=mend)


def of_phase(key: str, value: str, received: str, expected: str) -> tuple[str, str]:
    """A wrong value of a key that stands on line 6, in the second phase."""
    body = f"- {{name: a, epochs: 1}}\n- name: b\n  epochs: 2\n  {key}: {value}"
    return body, wrong(6, f"phase 2 {key}", received, expected)


def of_until(key: str, value: str, received: str, expected: str) -> tuple[str, str]:
    """A wrong value of a key that stands on line 7, in what ends the first phase."""
    body = f"- name: a\n  epochs: 2\n  until:\n    monitor: loss\n    {key}: {value}"
    return body, wrong(7, f"phase 1 until {key}", received, expected)


# Each begins on line 3, behind `frostline: 1` and `phases:`.
BY_SCHEMA = {
    "a phase that is text": ("- probe", wrong(3, "phase 1", "'probe' (text)", PHASE)),
    "a name that is a number": (
        "- name: 5\n  epochs: 1",
        wrong(3, "phase 1 name", "5 (whole number)", "a name such as probe"),
    ),
    "an empty name": (
        "- epochs: 1\n  name: ''",
        wrong(4, "phase 1 name", "'' (text)", "a name such as probe"),
    ),
    "no name": ("- epochs: 1", error_text("FILE, line 3: the key 'name' of phase 1 is missing")),
    "half an epoch": (
        "- name: a\n  epochs: 1.5",
        wrong(4, "phase 1 epochs", "1.5 (number)", "a whole number"),
    ),
    "no epochs": (
        "- name: a\n  epochs: 0",
        wrong(4, "phase 1 epochs", "0 (whole number)", "greater than or equal to 1"),
    ),
    "epochs in words": (
        "- name: a\n  epochs: ten",
        wrong(4, "phase 1 epochs", "'ten' (text)", "a whole number"),
    ),
    "epochs of nothing": ("- name: a\n  epochs:", wrong(4, "phase 1 epochs", "nothing", "a whole number")),
    "steps that are a truth": (
        "- name: a\n  steps: yes",
        wrong(4, "phase 1 steps", "True (true/false)", "a whole number"),
    ),
    "a rate of 0": of_phase("lr", "0", "0 (whole number)", "greater than 0"),
    "a rate that is text": of_phase("lr", "fast", "'fast' (text)", "a number"),
    "best that is not a boolean": of_phase("restore_best", "1", "1 (whole number)", "true or false"),
    "until that is text": of_phase("until", "val_loss", "'val_loss' (text)", UNTIL),
    "until of nothing": of_phase("until", "", "nothing", UNTIL),
    "rules that are not a list": of_phase("rules", "{train: a}", "mapping {'train': 'a'}", "a list"),
    "a patience of 0": of_until("patience", "0", "0 (whole number)", "greater than or equal to 1"),
    "a delta below 0": of_until("min_delta", "-1e-4", "-0.0001 (number)", "greater than or equal to 0"),
    "an unknown mode": of_until("mode", "auto", "'auto' (text)", "'min' or 'max'"),
    "no monitor": (
        "- name: a\n  epochs: 1\n  until:\n    patience: 2",
        error_text("FILE, line 5: the key 'monitor' of phase 1 until is missing"),
    ),
    "a monitor that is a number": (
        "- name: a\n  epochs: 1\n  until:\n    monitor: 3",
        wrong(6, "phase 1 until monitor", "3 (whole number)", "a name such as val_loss"),
    ),
    "an unknown key of a phase": ("- name: a\n  epoch: 1", unknown(4, "epoch", PHASE_KEYS, "epochs")),
    "a misspelled key that must be there": ("- nam: a\n  epochs: 1", unknown(3, "nam", PHASE_KEYS, "name")),
    "a strange key of a phase": ("- name: a\n  epochs: 1\n  10: 1", unknown(5, "10", PHASE_KEYS, "")),
    "an unknown key of until": (
        "- name: a\n  epochs: 1\n  until: {monitor: loss,\n          patence: 2}",
        unknown(6, "patence", "monitor, patience, min_delta, mode", "patience"),
    ),
    "an unknown key of a rule": (
        "- name: a\n  epochs: 1\n  rules:\n  - trian: a",
        unknown(
            6,
            "trian",
            "train, freeze, assigned, lr, decay, optional, rows, columns, index, mask, via",
            "train",
        ),
    ),
    "a rule that is text": (
        "- name: a\n  epochs: 1\n  rules:\n  - freeze: b\n  - a",
        wrong(7, "phase 1 rule 2", "'a' (text)", "a mapping such as {train: 'head/**'}"),
    ),
    "a rate of 0 in a rule": (
        "- name: a\n  epochs: 1\n  rules:\n  - train: a\n    lr: 0",
        wrong(7, "phase 1 rule 1 lr", "0 (whole number)", "greater than 0"),
    ),
    "a rule with two actions": (
        "- name: a\n  epochs: 1\n  rules:\n  - {train: a, freeze: a}",
        error_text(
            "FILE, line 6: a rule needs exactly one of 'train', 'freeze' and 'assigned'",
            received="a rule with the keys train, freeze",
        ),
    ),
    "no end": (
        "- name: a\n- name: b\n  epochs: 1",
        error_text(
            "FILE, line 3: the phase 'a' has no end, or two",
            received="epochs=None, steps=None",
            expected="exactly one of epochs and steps",
            fix="with until, epochs is the most it may last",
        ),
    ),
    "two ends": (
        "- name: b\n  steps: 1\n- name: a\n  epochs: 1\n  steps: 2",
        error_text(
            "FILE, line 5: the phase 'a' has no end, or two",
            received="epochs=1, steps=2",
            expected="exactly one of epochs and steps",
            fix="with until, epochs is the most it may last",
        ),
    ),
}
BEYOND_SCHEMA = {
    "a rate without end": of_phase("lr", ".inf", "inf (number)", "a finite number"),
    "best of nothing": (
        "- name: a\n  epochs: 1\n  restore_best: true",
        error_text(
            "FILE, line 3: the phase 'a' is to restore its best weights, but monitors nothing",
            fix="say what to monitor: until=Plateau('val_loss', patience=3)",
        ),
    ),
    "a plateau of steps": (
        "- name: a\n  steps: 1\n  until: {monitor: loss}",
        error_text("FILE, line 3: the phase 'a' has a plateau, which needs epochs as its limit"),
    ),
    "one name twice": (
        "- {name: a, epochs: 1}\n- {name: b, epochs: 1}\n- {name: a, epochs: 1}",
        error_text("FILE, line 2: a schedule needs phases, each with a name of its own", received="a, b, a"),
    ),
    "a key twice": (
        "- name: a\n  epochs: 1\n  name: b",
        error_text(
            "FILE, line 5: the key 'name' stands twice",
            received="first on line 3, again on line 5",
            fix="keep one of them; several rules go into the list under 'rules:'",
        ),
    ),
    "an unreadable glob": (
        "- name: a\n  epochs: 1\n- name: b\n  epochs: 1\n  rules:\n  - train: a\n  - freeze: b**",
        error_text(
            "FILE, line 9: the glob 'b**' has '**' next to other signs, at position 2",
            expected="'**' as a whole segment, as in 'a/**/b'",
        ),
    ),
    "a frozen rate": (
        "- name: a\n  epochs: 1\n  rules:\n  - lr: 0.1\n    freeze: a",
        error_text(
            "FILE, line 7: the rule freeze 'a' has a learning rate or a decay",
            expected="lr and decay only on rules that train: frozen weights do not change",
        ),
    ),
}
CASES = BY_SCHEMA | BEYOND_SCHEMA

ONLY_A_SCHEDULE_SAYS = {
    "no end",
    "two ends",
    "best of nothing",
    "a plateau of steps",
    "one name twice",
    "an unreadable glob",
    "a frozen rate",
}
"""A plan makes no phases: what is wrong with them beyond keys and types is not its concern."""


def message_of_loading(path: Path, load: Any = Schedule.load) -> str:
    with pytest.raises(PlanFileError) as caught:
        load(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    body, message = CASES[case]
    path = tmp_path / "plan.yaml"
    path.write_text(f"frostline: 1\nphases:\n{body}\n")
    assert message_of_loading(path) == message_of_loading(path, load_plan_or_schedule) == message
    is_schedule = error_text("FILE has phases, so it is a schedule", fix="read it with Schedule.load('FILE')")
    assert message_of_loading(path, Plan.load) == (is_schedule if case in ONLY_A_SCHEDULE_SAYS else message)


@pytest.mark.parametrize("case", BY_SCHEMA)
def test_a_mistake_is_one_by_the_schema_too(case: str) -> None:
    data = yaml.safe_load(f"frostline: 1\nphases:\n{BY_SCHEMA[case][0]}\n")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, fl.plan_schema())


@pytest.mark.parametrize(
    ("phases", "received", "expected"),
    [
        ("[]", "list []", "at least one"),
        ("", "nothing", "a list"),
        ("probe", "'probe' (text)", "a list"),
        ("{name: a, epochs: 1}", "mapping {'name': 'a', 'epochs': 1}", "a list"),
    ],
)
def test_phases_that_are_not_a_list(tmp_path: Path, phases: str, received: str, expected: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(f"frostline: 1\nphases: {phases}\n")
    assert message_of_loading(path) == wrong(2, "phases", received, expected)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(path.read_text()), fl.plan_schema())


def test_a_mistake_in_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(
        '{"frostline": 1, "phases": [\n{"name": "a", "epochs": 1},\n{"name": "b",\n "epoch": 1}]}'
    )
    assert message_of_loading(path) == unknown(4, "epoch", PHASE_KEYS, "epochs")


def test_a_schedule_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    Schedule(HEAD, (Phase("a", epochs=1),)).save(path)
    message = error_text("FILE has phases, so it is a schedule", fix="read it with Schedule.load('FILE')")
    assert message_of_loading(path, Plan.load) == message
    with pytest.raises(PlanError) as caught:
        Plan.from_data(yaml.safe_load(path.read_text()))
    assert str(caught.value) == error_text(
        "the plan data has phases, so it is a schedule", fix="use it as a Schedule"
    )


def test_a_plan_is_no_schedule(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    HEAD.save(path)
    assert "phases" not in json.loads(path.read_text())
    assert message_of_loading(path) == error_text(
        "FILE has no phases, so it is a plan",
        fix="read it with Plan.load('FILE'), or add phases: [{name: all, epochs: 3}]",
    )
    assert load_plan_or_schedule(path) == HEAD
