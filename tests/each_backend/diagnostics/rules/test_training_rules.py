"""Every rule about training finds its failing program and leaves its passing one alone."""

from __future__ import annotations

import re
from typing import Any

import keras
import pytest

import frostline as fl
from frostline.diagnostics.finding import SEVERITIES
from frostline.diagnostics.rules import all_rules
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules import all_training_rules

HEADINGS = ("What it does:", "Why it matters:", "Example:", "Use instead:")


@pytest.fixture(params=all_training_rules(), ids=lambda rule: rule.code)
def rule(request: Any) -> TrainingRule:
    return request.param


def trained(program: Program) -> fl.callbacks.Watch:
    arguments = dict(program.arguments)
    watch = fl.callbacks.Watch(program.x, program.y)
    callbacks = [*arguments.pop("callbacks", []), watch]
    program.model.fit(program.x, program.y, callbacks=callbacks, verbose=0, **arguments)
    assert all("time" in gap for gap in watch.watched.not_seen)
    return watch


@pytest.mark.every_backend
def test_its_failing_program_fails(rule: TrainingRule) -> None:
    keras.utils.set_random_seed(0)
    watch = trained(rule.failing())
    findings = [finding for finding in watch.findings if finding.code == rule.code]
    assert findings, str(watch)
    assert all(one.name == rule.name and one.fact and one.remedy for one in findings)
    assert f"{rule.code} {rule.severity}" in str(watch)


@pytest.mark.every_backend
def test_its_passing_program_passes(rule: TrainingRule) -> None:
    keras.utils.set_random_seed(0)
    assert trained(rule.passing()).findings == ()


def test_it_has_a_code_a_name_a_severity_and_a_file_of_its_own(rule: TrainingRule) -> None:
    assert re.fullmatch(r"FL6\d\d", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+){1,4}", rule.name)
    assert rule.severity in SEVERITIES
    file = type(rule).__module__.rpartition(".")[2]
    assert file == f"{rule.code.lower()}_{rule.name.replace('-', '_')}"


def test_it_says_what_it_does_and_why(rule: TrainingRule) -> None:
    lines = rule.text().splitlines()
    assert [line for line in lines if line in HEADINGS] == list(HEADINGS)


def test_codes_and_names_are_unique_among_all_rules() -> None:
    every = [*all_rules(), *all_training_rules()]
    assert len({rule.code for rule in every}) == len({rule.name for rule in every}) == len(every)
