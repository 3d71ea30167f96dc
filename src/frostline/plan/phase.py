"""Phases of a schedule: rules that come after the plan's, and an end. Pure values, without a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from frostline.errors import PlanError
from frostline.files.document import Document
from frostline.plan.plan import Plan
from frostline.plan.rule import Rule, read_rules
from frostline.plan.schema import Mode, PhaseData
from frostline.render.foreign import exact


@dataclass(frozen=True, slots=True)
class Plateau:
    """The end of a phase when a monitored value stops improving.

    Attributes:
        monitor: Name of the value in the epoch's logs, such as `val_loss`.
        patience: How many epochs without improvement end the phase.
        min_delta: What counts as an improvement, 0 or above.
        mode: Whether `min` or `max` is better.
    """

    monitor: str
    patience: int = 1
    min_delta: float = 0.0
    mode: Mode = "min"

    def __post_init__(self) -> None:
        if not isinstance(self.monitor, str) or not self.monitor:
            raise PlanError("a plateau monitors nothing", expected="a name such as 'val_loss'")
        _require_count("patience", self.patience)
        if not _is_number(self.min_delta) or self.min_delta < 0:
            raise PlanError(
                "the min_delta of a plateau is out of range",
                received=repr(self.min_delta),
                expected="a finite number, 0 or above",
            )
        if self.mode not in ("min", "max"):
            raise PlanError(
                "the mode of a plateau is not one of its values",
                received=repr(self.mode),
                expected="'min' or 'max'",
            )

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best` by more than `min_delta`; anything is better than None."""
        if best is None:
            return not math.isnan(value)
        gain = best - value if self.mode == "min" else value - best
        return gain > self.min_delta

    def to_data(self) -> dict[str, Any]:
        """Return the plateau as it stands in a plan file."""
        return {
            "monitor": self.monitor,
            "patience": self.patience,
            "min_delta": self.min_delta,
            "mode": self.mode,
        }

    def __str__(self) -> str:
        word = "falls" if self.mode == "min" else "rises"
        plural = "" if self.patience == 1 else "s"
        return f"until {exact(self.monitor)} no longer {word} for {self.patience} epoch{plural}"


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training run: rules that come after the plan's, and an end.

    Attributes:
        name: Names it in histories and messages.
        epochs: How many epochs it lasts; with `until`, at most.
        steps: How many training steps it lasts, in place of `epochs`. With `steps_per_execution` it ends with
            the execution that holds the last of them, and a warning says if that is later.
        until: Ends it earlier, when a monitored value stops improving.
        lr: Multiplies the learning rate of everything that trains in it.
        rules: Rules that come after the plan's in this phase alone.
        restore_best: Whether to end with the weights of its best epoch by `until`.

    Example:
        >>> print(Phase("finetune", epochs=5, lr=0.1).train("backbone/**"))
        finetune: 5 epochs, lr x 0.1; train 'backbone/**'
    """

    name: str
    epochs: int | None = None
    steps: int | None = None
    until: Plateau | None = None
    lr: float = 1.0
    rules: tuple[Rule, ...] = ()
    restore_best: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise PlanError("a phase has no name", received=repr(self.name))
        if (self.epochs is None) == (self.steps is None):
            raise PlanError(
                f"the phase {self.name!r} has no end, or two",
                received=f"epochs={self.epochs}, steps={self.steps}",
                expected="exactly one of epochs and steps",
                remedy="with until, epochs is the most it may last",
            )
        for name in ("epochs", "steps"):
            if getattr(self, name) is not None:
                _require_count(f"number of {name}", getattr(self, name))
                object.__setattr__(self, name, int(getattr(self, name)))
        if not isinstance(self.until, Plateau | None):
            raise PlanError(
                f"the phase {self.name!r} does not end by a Plateau",
                received=f"until={self.until!r}",
                remedy="say what to monitor: until=Plateau('val_loss', patience=3)",
            )
        if self.until is not None and self.epochs is None:
            raise PlanError(f"the phase {self.name!r} has a plateau, which needs epochs as its limit")
        if self.restore_best and self.until is None:
            raise PlanError(
                f"the phase {self.name!r} is to restore its best weights, but monitors nothing",
                remedy="say what to monitor: until=Plateau('val_loss', patience=3)",
            )
        if not _is_number(self.lr) or self.lr <= 0:
            raise PlanError(
                f"the lr of the phase {self.name!r} is out of range",
                received=repr(self.lr),
                expected="a finite number above 0",
            )
        if not isinstance(self.rules, tuple) or not all(isinstance(r, Rule) for r in self.rules):
            raise PlanError(
                f"the rules of the phase {self.name!r} are not a tuple of Rule",
                received=repr(self.rules),
                remedy="use Phase(...).train(...) and .freeze(...)",
            )

    def train(self, of: Any, **what: Any) -> Phase:
        """Return this phase with one more rule, that trains; arguments as for `Plan.train`."""
        return replace(self, rules=self.rules + Plan().train(of, **what).rules)

    def freeze(self, of: Any, **what: Any) -> Phase:
        """Return this phase with one more rule, that freezes; arguments as for `Plan.freeze`."""
        return replace(self, rules=self.rules + Plan().freeze(of, **what).rules)

    def assigned(self, of: Any, **what: Any) -> Phase:
        """Return this phase with one more rule, for what code assigns; arguments as for `Plan.assigned`."""
        return replace(self, rules=self.rules + Plan().assigned(of, **what).rules)

    def to_data(self) -> dict[str, Any]:
        """Return the phase as it stands in a plan file."""
        data: dict[str, Any] = {"name": self.name}
        for name, default in (("epochs", None), ("steps", None), ("lr", 1.0), ("restore_best", False)):
            if getattr(self, name) != default:
                data[name] = getattr(self, name)
        if self.until is not None:
            data["until"] = self.until.to_data()
        if self.rules:
            data["rules"] = [rule.to_data() for rule in self.rules]
        return data

    def __str__(self) -> str:
        number, noun = (self.epochs, "epoch") if self.epochs is not None else (self.steps, "step")
        parts = [f"{number} {noun}{'' if number == 1 else 's'}"]
        if self.until is not None:
            parts = [f"at most {parts[0]}, {self.until}"]
        parts += [f"lr x {self.lr:g}"] if self.lr != 1 else []
        parts += ["best weights restored"] if self.restore_best else []
        return f"{exact(self.name)}: {', '.join(parts)}{''.join(f'; {rule}' for rule in self.rules)}"


def read_phase(document: Document, data: PhaseData, number: int) -> Phase:
    """Make a phase of what stands in a plan file, or in plain data.

    Args:
        document: Where it stands.
        data: The phase there, its keys and types already checked.
        number: Its place in the list of phases.

    Raises:
        FrostlineError: It cannot be read (the class of the document's format); says where.
    """
    rules = read_rules(document, data.rules, ("phases", number, "rules"))

    def made() -> Phase:
        until = Plateau(**data.until.model_dump()) if data.until is not None else None
        return Phase(data.name, data.epochs, data.steps, until, data.lr, rules, data.restore_best)

    return document.made(made, ("phases", number))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _require_count(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise PlanError(
            f"the {name} is out of range", received=repr(value), expected="a whole number from 1 up"
        )
