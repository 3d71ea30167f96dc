"""Rules of a plan: one selector each, and what to do with the weights that it picks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

from frostline.errors import PlanError
from frostline.files.document import Document, Location
from frostline.parametrization.arguments import data_of_part, words_of
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Selection
from frostline.plan.mask_file import read_mask
from frostline.plan.matching import patterns_together
from frostline.plan.schema import ACTIONS, Action, RuleData
from frostline.plan.selectors import Selector, selector


@dataclass(frozen=True, slots=True)
class Rule:
    """One selector and what to do with the weights it picks.

    Attributes:
        action: `train`, `freeze`, or `assigned` for what the model's own code writes.
        selector: Which weights.
        lr: Multiplies the optimizer's learning rate at every step, for these weights.
        decay: Multiplies the optimizer's weight decay, for these weights.
        optional: Whether the rule may pick nothing.
        part: Which elements of each weight it speaks of (`Rows`, `Columns`, `Index`, `Mask`), or through what
            else the weight trains (`LowRank`, `Scale`); None for the weight as a whole.
    """

    action: Action
    selector: Selector
    lr: float = 1.0
    decay: float = 1.0
    optional: bool = False
    part: Parametrization | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise PlanError(
                "a rule does nothing that is known",
                received=repr(self.action),
                expected=" or ".join(map(repr, ACTIONS)),
            )
        for name in ("lr", "decay"):
            object.__setattr__(self, name, _multiplier(name, getattr(self, name)))
        if not isinstance(self.optional, bool):
            raise PlanError(
                f"optional must be True or False in the rule {self.action} {self.selector}",
                received=repr(self.optional),
            )
        if self.action != "train" and (self.lr, self.decay) != (1.0, 1.0):
            others = "frozen weights do not change"
            if self.action == "assigned":
                others = "the optimizer does not have what code assigns"
            raise PlanError(
                f"the rule {self.action} {self.selector} has a learning rate or a decay",
                expected=f"lr and decay only on rules that train: {others}",
            )
        if self.action == "assigned" and self.part is not None:
            raise PlanError(
                f"the rule assigned {self.selector} speaks of a part of a weight",
                received=words_of(self.part),
                expected="whole weights: of what code assigns, nothing is held",
            )
        if self.action == "freeze" and self.part is not None and self.elements is None:
            raise PlanError(
                f"the rule freeze {self.selector} has a parametrization",
                received=words_of(self.part),
                expected="via on rules that train",
            )

    @property
    def elements(self) -> Selection | None:
        """The elements it speaks of; None where it speaks of whole weights."""
        return self.part if isinstance(self.part, Selection) else None

    def __str__(self) -> str:
        extras = [words_of(self.part)] if self.part is not None else []
        extras += [
            f"{name} x {getattr(self, name):g}" for name in ("lr", "decay") if getattr(self, name) != 1
        ]
        extras += ["optional"] if self.optional else []
        return f"{self.action} {self.selector}" + (f" ({', '.join(extras)})" if extras else "")

    def to_data(self) -> dict[str, Any]:
        """Return the rule as it stands in a plan file."""
        data: dict[str, Any] = {self.action: self.selector.to_data()}
        for name, default in (("lr", 1.0), ("decay", 1.0), ("optional", False)):
            if getattr(self, name) != default:
                data[name] = getattr(self, name)
        return data | data_of_part(self.part)


def _multiplier(name: str, value: Any) -> float:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (name == "lr" and value == 0):
        raise PlanError(
            f"the multiplier {name} of a rule is out of range",
            received=repr(value),
            expected="a finite number above 0" if name == "lr" else "a finite number, 0 or above",
            remedy="to keep weights from moving, freeze them" if name == "lr" else None,
        )
    return float(value)


@patterns_together()
def read_rules(document: Document, rules: Sequence[RuleData], at: Location) -> tuple[Rule, ...]:
    """Make rules of what stands in a plan file, or in plain data.

    Args:
        document: Where they stand.
        rules: The list of them there, its keys and types already checked.
        at: The place of that list.

    Raises:
        FrostlineError: One cannot be read (the class of the document's format); says where.
    """
    return tuple(_read_rule(document, rule, (*at, number)) for number, rule in enumerate(rules))


def _read_rule(document: Document, rule: RuleData, at: Location) -> Rule:
    mask = None
    if rule.mask is not None:
        folder = Path(document.source).parent if document.lines else Path()
        mask = document.made(partial(read_mask, rule.mask, folder), (*at, "mask"))
    part = document.made(partial(rule.part, mask), (*at, rule.part_key))

    def made() -> Rule:
        chosen = selector(getattr(rule, rule.action))
        return Rule(rule.action, chosen, rule.lr, rule.decay, rule.optional, part)

    return document.made(made, (*at, rule.action))
