"""Schedules: phases in order, each a plan with an end. Pure values, without a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from frostline.errors import PlanError, PlanFileError
from frostline.files.document import Document
from frostline.files.yaml_reader import read_document
from frostline.plan.file import PLAN, write_plan
from frostline.plan.matching import patterns_together
from frostline.plan.phase import Phase, read_phase
from frostline.plan.plan import Plan, read_plan
from frostline.plan.rule import Rule
from frostline.plan.schema import PlanData
from frostline.plan.selectors import selector


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases in order, on top of one plan.

    Attributes:
        plan: What holds in every phase.
        phases: At least one, each with a name of its own.

    Example:
        >>> plan = Plan().train("head/**")
        >>> phases = (Phase("probe", epochs=3), Phase("finetune", epochs=5, lr=0.1).train("backbone/**"))
        >>> print(Schedule(plan, phases))
        default: freeze
        1. train 'head/**'
        phase probe: 3 epochs
        phase finetune: 5 epochs, lr x 0.1; train 'backbone/**'
    """

    plan: Plan
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.plan, Plan):
            raise PlanError("a schedule has no plan", received=repr(self.plan), expected="a Plan")
        if not isinstance(self.phases, tuple) or not all(isinstance(p, Phase) for p in self.phases):
            raise PlanError(
                "the phases of a schedule are not a tuple of Phase",
                received=repr(self.phases),
                remedy="write Schedule(plan, (Phase('all', epochs=3),))",
            )
        names = [phase.name for phase in self.phases]
        if not names or len(set(names)) < len(names):
            raise PlanError(
                "a schedule needs phases, each with a name of its own",
                received=", ".join(names) or "no phases",
            )

    def plan_of(self, phase: Phase) -> Plan:
        """Return the plan that holds in a phase: the rules of both, its lr multiplied into them."""
        rules = (*self.plan.rules, *phase.rules)
        if phase.lr != 1:
            if self.plan.default == "train":
                # What trains by default has no rule that could carry a rate.
                rules = (Rule("train", selector("**")), *rules)
            rules = tuple(replace(r, lr=r.lr * phase.lr) if r.action == "train" else r for r in rules)
        return replace(self.plan, rules=rules)

    def to_data(self) -> dict[str, Any]:
        """Return the schedule as plain data, as it stands in a plan file.

        Raises:
            PlanError: A selector is a Python function.
        """
        return {**self.plan.to_data(), "phases": [phase.to_data() for phase in self.phases]}

    @classmethod
    def load(cls, path: str | Path) -> Schedule:
        """Read a plan file with phases, YAML or JSON.

        Raises:
            PlanFileError: It cannot be read, or has no phases; says the file, the line and what was expected.
        """
        found = load_plan_or_schedule(path)
        if isinstance(found, Plan):
            raise PlanFileError(
                f"{path} has no phases, so it is a plan",
                remedy=f"read it with Plan.load({str(path)!r}), or add phases: [{{name: all, epochs: 3}}]",
            )
        return found

    def save(self, path: str | Path) -> None:
        """Write the schedule to a file, as `Plan.save`.

        Raises:
            PlanError: A selector is a Python function.
            PlanFileError: The file cannot be written.
        """
        write_plan(self.to_data(), path)

    def __str__(self) -> str:
        return "\n".join([str(self.plan), *(f"phase {phase}" for phase in self.phases)])


def plan_or_schedule_from_data(data: Any) -> Plan | Schedule:
    """Make a plan, or with phases a schedule, from plain data.

    Raises:
        PlanError: The data is neither; says where and what was expected.
    """
    return read_plan_or_schedule(Document("plan data", data, PLAN))


def load_plan_or_schedule(path: str | Path) -> Plan | Schedule:
    """Read a plan file, with or without phases.

    Raises:
        PlanFileError: It cannot be read; says the file, the line and what was expected.
    """
    return read_plan_or_schedule(read_document(Path(path), PLAN))


@patterns_together()
def read_plan_or_schedule(document: Document) -> Plan | Schedule:
    """Make a plan, or with phases a schedule, from a document, or from a part of one.

    Raises:
        FrostlineError: It is neither (the class of its format); says where and what was expected.
    """
    valid: PlanData = document.validated(PlanData)
    plan = read_plan(document, valid)
    if valid.phases is None:
        return plan
    phases = tuple(read_phase(document, data, number) for number, data in enumerate(valid.phases))
    return document.made(lambda: Schedule(plan, phases), ("phases",))


def most_steps(phases: Sequence[Phase], an_epoch: int) -> tuple[int, ...]:
    """Return how many steps each phase takes at most.

    Args:
        phases: One after another, from the beginning of an epoch on.
        an_epoch: The steps of a whole epoch. A phase of epochs has the rest of the one it begins in, too.

    Example:
        >>> most_steps((Phase("probe", steps=6), Phase("finetune", epochs=1)), 4)
        (6, 6)
    """
    ends = [0]
    for phase in phases:
        if phase.epochs is None:
            ends.append(ends[-1] + (phase.steps or 0))
        else:
            ends.append((math.ceil(ends[-1] / an_epoch) + phase.epochs) * an_epoch)
    return tuple(end - begin for begin, end in pairwise(ends))
