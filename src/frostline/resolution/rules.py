"""What the rules of a plan say of one weight: whether it trains, which elements of it, through what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from frostline.elements.algebra import covers, everything, is_everything, union, without
from frostline.elements.sets import Elements
from frostline.errors import FrostlineError, ParametrizationError, PlanError
from frostline.model.inventory import Weight
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Selection, selection_of
from frostline.plan.plan import Plan
from frostline.plan.rule import Rule


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of one weight.

    Attributes:
        trains: Whether anything of it trains.
        assigned: Whether code writes it, and no optimizer.
        rule: The number of the last rule that had a say, from 1; 0 for the plan's default.
        lr: Multiplier of the learning rate.
        decay: Multiplier of the weight decay.
        why: The rules in words.
        how: Which elements train, or through what it trains; None for the weight as a whole.
        idle: The numbers of the rules that add elements which trained already.
    """

    trains: bool
    rule: int
    lr: float
    decay: float
    why: str
    how: Parametrization | None = None
    idle: tuple[int, ...] = ()
    assigned: bool = False


def verdict(weight: Weight, plan: Plan, rules: Iterable[tuple[int, Rule]]) -> Verdict:
    """Read rules in order: one for the whole weight decides anew, one for elements adds or takes away.

    Args:
        weight: The weight.
        plan: The plan.
        rules: Those of its rules that pick the weight, with their numbers, in order.

    Raises:
        PlanError: A rule names elements that the weight does not have; elements at several rates; elements
            of a weight that trains through a parametrization, or that code assigns.
    """
    reading = _Reading(weight, plan)
    for number, rule in rules:
        reading.read(number, rule)
    return reading.verdict()


class _Reading:
    """How far the rules have been read."""

    def __init__(self, weight: Weight, plan: Plan) -> None:
        self._weight = weight
        self._default = plan.default
        self._elements: Elements | None = everything(weight.shape) if plan.default == "train" else None
        self._adapter: Parametrization | None = None
        self._assigned = False
        self._rates = (1.0, 1.0)
        self._said: list[tuple[int, Rule]] = []
        self._idle: list[int] = []

    def read(self, number: int, rule: Rule) -> None:
        """Take in one more rule."""
        if rule.elements is None:
            self._decide_anew(number, rule)
            return
        if self._adapter is not None or self._assigned:
            raise self._mixed(number, rule)
        chosen = self._chosen(number, rule, rule.elements)
        if rule.action == "train":
            self._add(number, rule, chosen)
        elif self._elements is not None:
            self._elements = without(self._elements, chosen)
            self._said.append((number, rule))

    def _decide_anew(self, number: int, rule: Rule) -> None:
        trains = rule.action == "train"
        self._assigned = rule.action == "assigned"
        self._adapter = rule.part
        self._elements = everything(self._weight.shape) if trains else None
        self._rates = (rule.lr, rule.decay)
        self._said, self._idle = [(number, rule)], []

    def _add(self, number: int, rule: Rule, chosen: Elements) -> None:
        before, rates = self._elements, (rule.lr, rule.decay)
        if before is None:
            self._elements, self._rates, self._said = chosen, rates, [(number, rule)]
            return
        if rates != self._rates and not covers(chosen, before):
            raise self._two_rates(number, rule)
        if covers(before, chosen) and rates == self._rates:
            self._idle.append(number)
        self._elements, self._rates = union(before, chosen), rates
        self._said.append((number, rule))

    def verdict(self) -> Verdict:
        """Say what the rules came to."""
        number = self._said[-1][0] if self._said else 0
        why = "; ".join(f"rule {n}: {rule}" for n, rule in self._said) or f"default: {self._default}"
        if self._elements is None:
            return Verdict(False, number, 1.0, 1.0, why, assigned=self._assigned)
        how = self._adapter
        if how is None and not is_everything(self._elements):
            # As its user wrote it, where one rule alone has a say.
            one = len(self._said) == 1 and self._said[0][1].action == "train"
            how = self._said[0][1].elements if one else selection_of(self._elements)
        return Verdict(True, number, *self._rates, why, how, tuple(self._idle))

    def _chosen(self, number: int, rule: Rule, elements: Selection) -> Elements:
        try:
            return elements.elements(self._weight.shape)
        except ParametrizationError as error:
            raise misfit(number, rule, self._weight, error) from None

    def _mixed(self, number: int, rule: Rule) -> PlanError:
        first, through = self._said[-1]
        whole = f"trains all of it via {through.part}" if through.part else "says that code assigns all of it"
        return PlanError(
            f"rule {number} ({rule}) selects elements of {self._weight.address!r}, but rule {first} {whole}",
            expected="for each weight either elements, or one parametrization, or assignment",
            remedy=f"put a rule that freezes or trains the weight as a whole between rules {first} and "
            f"{number}, or leave one of them out",
        )

    def _two_rates(self, number: int, rule: Rule) -> PlanError:
        return PlanError(
            f"rule {number} ({rule}) adds elements of {self._weight.address!r}, at other rates than the "
            "elements that train already",
            received=f"{_rates_text(rule.lr, rule.decay)}; before: {_rates_text(*self._rates)}",
            expected="one learning rate and one decay for all elements of a weight",
            remedy="give these rules the same lr and decay; to train only these elements, freeze the "
            "weight in an earlier rule",
        )


def misfit(number: int, rule: Rule | None, weight: Weight, error: FrostlineError) -> PlanError:
    """Return the error for a rule whose parametrization a weight cannot have."""
    whose = f"rule {number} ({rule})" if rule is not None else "the plan's default"
    return PlanError(
        f"{whose} does not fit {weight.address!r}: {error.what}",
        received=error.received,
        expected=error.expected,
        remedy=error.remedy,
    )


def _rates_text(lr: float, decay: float) -> str:
    return f"lr x {lr:g}, decay x {decay:g}"
