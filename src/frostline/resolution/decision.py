"""What a plan decides for one weight: the record, and how the verdict of its rules becomes one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline._keras.variables import owns
from frostline.errors import ParametrizationError, PlanError
from frostline.model.inventory import Inventory, Weight
from frostline.parametrization.base import Parametrization
from frostline.plan.plan import Plan
from frostline.plan.rule import Rule
from frostline.resolution.rules import Verdict, misfit


@dataclass(frozen=True, slots=True)
class Decision:
    """What the plan says of one weight or statistic.

    Attributes:
        weight: The weight.
        trains: Whether it trains; for a statistic, whether it may move.
        rule: The number of the rule that decided, from 1; 0 for the plan's default.
        lr: Multiplier of the learning rate.
        decay: Multiplier of the weight decay.
        why: The rules in words.
        how: Which of its elements train, or through what it trains, by the plan or by `parametrize`; None
            where it trains as a whole, or not at all.
        path: How layers compute with it then: `lookup`, `columns` or `general`; else empty.
        assigned: Whether the model's own code is to write it; the optimizer does not have it.
    """

    weight: Weight
    trains: bool
    rule: int
    lr: float
    decay: float
    why: str
    how: Parametrization | None = None
    path: str = ""
    assigned: bool = False

    @property
    def may_move(self) -> bool:
        """Whether anything of it may change: by the optimizer, by its layer, or by code that assigns it."""
        return self.trains or self.assigned

    @property
    def status(self) -> str:
        """`trains`, `partial`, `assigned` or `frozen`; for a statistic, `moves`, `assigned` or `held`."""
        if self.assigned:
            return "assigned"
        if self.weight.role == "weight":
            trains = "partial" if self.how is not None else "trains"
            return trains if self.trains else "frozen"
        return "moves" if self.trains else "held"

    @property
    def trained_elements(self) -> int:
        """How many numbers the optimizer updates for it."""
        if not self.trains:
            return 0
        return self.weight.size if self.how is None else sum(math.prod(shape) for shape, _ in self._parts)

    @property
    def replaced_elements(self) -> int:
        """How many of its own elements change by that: none where parts are added to or multiply it."""
        return self.trained_elements if self.how is None or self.how.keeps_elements else 0

    @property
    def part(self) -> str:
        """Which of its elements train, or through what, and how layers compute with it, in words."""
        return f"{self.how}, path: {self.path}" if self.how is not None else ""

    @property
    def _parts(self) -> list[tuple[tuple[int, ...], str]]:
        if self.how is None:
            return [(self.weight.shape, self.weight.dtype)]
        return list(self.how.part_shapes(self.weight.shape, self.weight.dtype).values())

    def stand_ins(self) -> list[Any]:
        """Return variables like those that an optimizer would update; those of the model, where it can."""
        if self.how is None:
            return [self.weight.storage]
        import keras

        return [keras.Variable("zeros", shape=shape, dtype=dtype) for shape, dtype in self._parts]

    def to_data(self) -> dict[str, Any]:
        """Return the decision as plain data, for JSON."""
        weight = self.weight
        data: dict[str, Any] = {
            "address": weight.address,
            "role": weight.role,
            "shape": list(weight.shape),
            "dtype": weight.dtype,
            "status": self.status,
            "rule": self.rule,
            "why": self.why,
        }
        if weight.aliases:
            data["aliases"] = list(weight.aliases)
        if self.trains and weight.role == "weight":
            data |= {"lr": self.lr, "decay": self.decay}
        if self.how is not None:
            data["part"] = {
                "elements": self.trained_elements,
                "what": str(self.how),
                "path": self.path,
            }
        return data


def elements_text(group: Sequence[Decision]) -> str:
    """Say how many elements weights have, and how many of them train, or how many numbers beside them."""
    size = sum(d.weight.size for d in group)
    if group[0].how is None:
        return f"{size:,}"
    trained = sum(d.trained_elements for d in group)
    return f"{trained:,} of {size:,}" if group[0].how.keeps_elements else f"{size:,} + {trained:,}"


def decide(weight: Weight, inventory: Inventory, plan: Plan, said: Verdict) -> Decision:
    """Return the decision for a weight, from what the rules say of it.

    Raises:
        PlanError: The weight cannot be parametrized in this way, or was by hand in another.
    """
    # Not at the top: receipts are read, and checked in themselves, without Keras or a backend.
    from frostline.parametrization.checks import require_possible
    from frostline.parametrization.fast_paths import path_of

    made_of = weight.combination
    by_hand = made_of is not None and not made_of.by_plan
    rule = plan.rules[said.rule - 1] if said.rule else None
    if by_hand:
        _require_no_quarrel(weight, said, rule)
    how, path = said.how, ""
    if by_hand and said.trains:
        how, path = made_of.how, made_of.path
    elif how is not None:
        holders = [node for node in inventory.layers if owns(node.layer, weight.variable)]
        try:
            require_possible(weight, holders, how, instead=True)
        except ParametrizationError as error:
            raise misfit(said.rule, rule, weight, error) from None
        path = path_of([node.layer for node in holders], weight.variable, how)
    return Decision(weight, said.trains, said.rule, said.lr, said.decay, said.why, how, path, said.assigned)


def _require_no_quarrel(weight: Weight, said: Verdict, rule: Rule | None) -> None:
    """Refuse a plan that says otherwise than the user, who parametrized the weight by hand."""
    made_of = weight.combination
    if said.how is not None:
        raise PlanError(
            f"{weight.address!r} was already parametrized by frostline.parametrize, so rule {said.rule} "
            f"({rule}) cannot choose which part of it trains",
            received=f"{said.how}, on top of {made_of.how}",
            expected="one of the two",
            remedy=f"remove the first one, by its remove() or frostline.merge(model), or train its part: "
            f".train({weight.address!r})",
        )
    if not said.trains and rule is not None:
        does, action = ("leaves to code", "assigned") if said.assigned else ("freezes", "frozen")
        raise PlanError(
            f"rule {said.rule} ({rule}) {does} {weight.address!r}, part of which frostline.parametrize "
            "made trainable",
            received=f"{made_of.how} on {weight.address!r}, {action} by the plan",
            expected="a weight that is trained in part, or one that is frozen",
            remedy=f"train the part by a later rule, .train({weight.address!r}), or remove the "
            "parametrization by its remove() or frostline.merge(model)",
        )


def notes_on_parts(
    plan: Plan, decisions: Sequence[Decision], verdicts: Mapping[str, Verdict]
) -> Iterator[str]:
    """Yield what the user should know about rules that add nothing, and parts that do not train."""
    for decision in decisions:
        address = decision.weight.address
        for number in verdicts[address].idle:
            yield (
                f"rule {number} ({plan.rules[number - 1]}) adds nothing to {address!r}: those elements "
                "already train; to train only them, freeze the weight in an earlier rule"
            )
        if decision.weight.combination is not None and not decision.trains:
            made_of = decision.weight.combination
            if not made_of.by_plan:
                yield (
                    f"{address!r} is parametrized ({made_of.how}) and no rule of the plan trains it, so its "
                    "trained part stays as it is"
                )
