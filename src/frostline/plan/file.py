"""Plan files: YAML or JSON in and out, and errors with their line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from frostline.errors import PlanError, PlanFileError
from frostline.files.atomic import write_atomically
from frostline.files.document import Document, Format, Location
from frostline.files.yaml_reader import read_document
from frostline.plan.mask_file import read_mask, with_mask_files
from frostline.plan.plan import Plan, Rule
from frostline.plan.schedule import Schedule
from frostline.plan.schema import PlanData, RuleData, model_at

PLAN = Format(
    noun="plan",
    in_file=PlanFileError,
    in_data=PlanError,
    model_at=lambda _, at: model_at(at),
    # A selector of these signs is text, and is written without quotes.
    number_at=lambda at: at[-1:] in (("lr",), ("decay",), ("min_delta",), ("alpha",)),
    examples={
        "name": "a name such as probe",
        "monitor": "a name such as val_loss",
        "until": "a mapping such as {monitor: val_loss, patience: 3}",
        "phases": "a mapping such as {name: probe, epochs: 3}",
        "mask": "a mapping such as {file: mask.npy, digest: 'blake3:...'}",
        "file": "the name of a .npy file beside the plan",
        "digest": "'blake3:' and what b3sum prints for the file",
        "via": "a mapping such as {LowRank: {rank: 8, alpha: 16}}",
        "LowRank": "a mapping such as {rank: 8, alpha: 16}",
        "Scale": "a mapping such as {axis: -1}",
    },
    default_example="a selector: text such as 'head/**', or a mapping with any, all or not",
    first_line="frostline: 1",
    write_one="write one with `frostline init MODEL`",
    quote="quote selectors: train: 'head/**'",
    several="keep one of them; several rules go into the list under 'rules:'",
)
"""What the messages about plan files say."""


def plan_from_data(data: Any) -> Plan:
    """Make a plan from plain data. See `Plan.from_data`."""
    found = plan_or_schedule_from_data(data)
    if isinstance(found, Schedule):
        raise PlanError("the plan data has phases, so it is a schedule", remedy="use it as a Schedule")
    return found


def plan_or_schedule_from_data(data: Any) -> Plan | Schedule:
    """Make a plan, or with phases a schedule, from plain data.

    Raises:
        PlanError: The data is neither; says where and what was expected.
    """
    return read_plan(Document("plan data", data, PLAN))


def load_plan(path: str | Path) -> Plan:
    """Read a plan file. See `Plan.load`."""
    found = load_plan_or_schedule(path)
    if isinstance(found, Schedule):
        raise PlanFileError(
            f"{path} has phases, so it is a schedule", remedy=f"read it with Schedule.load({str(path)!r})"
        )
    return found


def load_schedule(path: str | Path) -> Schedule:
    """Read a plan file with phases. See `Schedule.load`."""
    found = load_plan_or_schedule(path)
    if isinstance(found, Plan):
        raise PlanFileError(
            f"{path} has no phases, so it is a plan",
            remedy=f"read it with Plan.load({str(path)!r}), or add phases: [{{name: all, epochs: 3}}]",
        )
    return found


def load_plan_or_schedule(path: str | Path) -> Plan | Schedule:
    """Read a plan file, with or without phases.

    Raises:
        PlanFileError: It cannot be read; says the file, the line and what was expected.
    """
    return read_plan(read_document(Path(path), PLAN))


def save_plan(plan: Plan | Schedule, path: str | Path) -> None:
    """Write a plan file, and beside it a file for each mask. See `Plan.save`."""
    path = Path(path)
    data = with_mask_files(plan.to_data(), path)
    if path.suffix == ".json":
        text = json.dumps(data, indent=2) + "\n"
    else:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    write_atomically(path, text.encode(), PlanFileError)


def read_plan(document: Document) -> Plan | Schedule:
    """Make a plan, or with phases a schedule, from a document, or from a part of one.

    Raises:
        FrostlineError: It is neither (the class of its format); says where and what was expected.
    """
    valid = document.validated(PlanData)
    plan = Plan(_rules(document, valid.rules, ("rules",)), valid.default, valid.batchnorm, valid.stochastic)
    if valid.phases is None:
        return plan
    phases = []
    for number, phase in enumerate(valid.phases):
        own = _rules(document, phase.rules, ("phases", number, "rules"))
        phases.append(document.made(partial(phase.phase, own), ("phases", number)))
    return document.made(lambda: Schedule(plan, tuple(phases)), ("phases",))


def _rules(document: Document, rules: list[RuleData], at: Location) -> tuple[Rule, ...]:
    return tuple(_rule(document, rule, (*at, number)) for number, rule in enumerate(rules))


def _rule(document: Document, rule: RuleData, at: Location) -> Rule:
    mask = None
    if rule.mask is not None:
        folder = Path(document.source).parent if document.lines else Path()
        mask = document.made(partial(read_mask, rule.mask, folder), (*at, "mask"))
    part = document.made(partial(rule.part, mask), (*at, rule.part_key))
    action = "freeze" if rule.train is None else "train"
    return document.made(partial(rule.rule, part), (*at, action))
