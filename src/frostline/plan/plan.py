"""Plans: ordered rules that say what trains. Pure values, without a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from frostline.errors import PlanError
from frostline.parametrization.arguments import data_of_part, part_of, words_of
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Selection
from frostline.plan.selectors import Selector, selector

if TYPE_CHECKING:
    from frostline.resolution.resolve import Resolution

Action = Literal["train", "freeze"]
BatchNormPolicy = Literal["inference", "update"]
StochasticPolicy = Literal["inference", "active"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One selector and what to do with the weights it picks.

    Attributes:
        action: `train` or `freeze`.
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
        if self.action not in ("train", "freeze"):
            raise PlanError("a rule neither trains nor freezes", received=repr(self.action))
        for name in ("lr", "decay"):
            object.__setattr__(self, name, _multiplier(name, getattr(self, name)))
        if not isinstance(self.optional, bool):
            raise PlanError(
                f"the rule {self.action} {self.selector} says neither yes nor no to optional",
                received=repr(self.optional),
                expected="True or False",
            )
        if self.action == "freeze" and (self.lr, self.decay) != (1.0, 1.0):
            raise PlanError(
                f"the rule freeze {self.selector} has a learning rate or a decay",
                expected="lr and decay on rules that train: frozen weights do not move at all",
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


@dataclass(frozen=True, slots=True)
class Plan:
    """What trains: ordered rules, of which the last that picks a weight decides, and a default.

    Attributes:
        rules: The rules, in order.
        default: What happens to a weight that no rule picks.
        batchnorm: How layers with moving statistics (BatchNormalization) run where all their weights are
            frozen: `inference` uses the statistics as they are; `update` keeps moving them.
        stochastic: How dropout and noise run inside frozen blocks: `inference` (off) or `active`.

    Example:
        >>> plan = Plan().train("head/**").train("backbone/block_5*/**", lr=0.1).freeze("**/bias")
        >>> print(plan)
        default: freeze
        1. train 'head/**'
        2. train 'backbone/block_5*/**' (lr x 0.1)
        3. freeze '**/bias'
    """

    rules: tuple[Rule, ...] = ()
    default: Action = "freeze"
    batchnorm: BatchNormPolicy = "inference"
    stochastic: StochasticPolicy = "inference"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("default", ("freeze", "train")),
            ("batchnorm", ("inference", "update")),
            ("stochastic", ("inference", "active")),
        ):
            if getattr(self, name) not in allowed:
                raise PlanError(
                    f"the plan's {name} is not one of its values",
                    received=repr(getattr(self, name)),
                    expected=" or ".join(map(repr, allowed)),
                )
        if not isinstance(self.rules, tuple) or not all(isinstance(r, Rule) for r in self.rules):
            raise PlanError(
                "the plan's rules are not a tuple of Rule",
                received=repr(self.rules),
                remedy="use Plan().train(...) and .freeze(...), or Plan.from_data(...)",
            )

    def train(
        self,
        of: Any,
        *,
        lr: float = 1.0,
        decay: float = 1.0,
        optional: bool = False,
        rows: Any = None,
        columns: Any = None,
        index: Any = None,
        mask: Any = None,
        via: Parametrization | None = None,
    ) -> Plan:
        """Return this plan with one more rule, that trains.

        Rules that name elements add up: the elements train beside those that train already. A rule for the
        whole weight, `via` included, decides anew.

        Args:
            of: A selector: a glob on addresses, `re:`, `type:`, `first:`, `last:`, `layer:`, a function of
                one `Weight`, or a combination made with `&`, `|`, `~`.
            lr: Multiplies the optimizer's learning rate, above 0.
            decay: Multiplies the optimizer's weight decay, 0 or above.
            optional: Whether it may pick nothing.
            rows: Only these entries along the first axis: a slice, one place, several, or text such as
                `"30522:"`. Negative places count from the end.
            columns: Only these entries along the last axis, such as output channels.
            index: Only the block where places along several axes cross: a tuple of such places.
            mask: Only the elements where a boolean array of the weight's shape is True.
            via: Train through this parametrization, such as `LowRank(rank=8)`; the weight itself stays fixed.

        Raises:
            SelectorError: The selector cannot be read.
            PlanError: A multiplier is out of range, or elements are named in two ways or not readable.

        Example:
            >>> plan = Plan().train("tokens/embeddings", rows="30522:").train("head/kernel", columns=[0, 3])
            >>> print(plan)
            default: freeze
            1. train 'tokens/embeddings' (rows 30522:)
            2. train 'head/kernel' (columns 0, 3)
        """
        part = part_of(rows=rows, columns=columns, index=index, mask=mask, via=via)
        return replace(self, rules=(*self.rules, Rule("train", selector(of), lr, decay, optional, part)))

    def freeze(
        self,
        of: Any,
        *,
        optional: bool = False,
        rows: Any = None,
        columns: Any = None,
        index: Any = None,
        mask: Any = None,
    ) -> Plan:
        """Return this plan with one more rule, that freezes.

        Args:
            of: A selector, as for `train`.
            optional: Whether it may pick nothing.
            rows: Only these entries along the first axis, as for `train`; the other elements stay as earlier
                rules have them.
            columns: The same along the last axis.
            index: The same along several axes.
            mask: The same by a boolean array, True where an element freezes.

        Raises:
            SelectorError: The selector cannot be read.
            PlanError: Elements are named in two ways or not readable.
        """
        part = part_of(rows=rows, columns=columns, index=index, mask=mask, via=None)
        rule = Rule("freeze", selector(of), optional=optional, part=part)
        return replace(self, rules=(*self.rules, rule))

    def __add__(self, other: Plan) -> Plan:
        """Return this plan with the rules of another behind its own; default and policies stay."""
        if not isinstance(other, Plan):
            return NotImplemented
        return replace(self, rules=self.rules + other.rules)

    def __str__(self) -> str:
        lines = [f"default: {self.default}"]
        if self.batchnorm != "inference":
            lines.append(f"batchnorm: {self.batchnorm}")
        if self.stochastic != "inference":
            lines.append(f"stochastic: {self.stochastic}")
        return "\n".join(lines + [f"{n}. {rule}" for n, rule in enumerate(self.rules, 1)])

    def resolve(self, model: Any) -> Resolution:
        """Say for every weight of a model whether it trains, and which rule decided.

        Raises:
            UnmatchedRuleError: A rule picks nothing and is not optional.
            UnbuiltModelError: The model has no weights yet.
        """
        from frostline.resolution.resolve import resolve

        return resolve(model, self)

    def to_data(self) -> dict[str, Any]:
        """Return the plan as plain data, as it stands in a plan file.

        Raises:
            PlanError: A selector is a Python function.
        """
        return {
            "frostline": 1,
            "default": self.default,
            "batchnorm": self.batchnorm,
            "stochastic": self.stochastic,
            "rules": [rule.to_data() for rule in self.rules],
        }

    @classmethod
    def from_data(cls, data: Any) -> Plan:
        """Make a plan from plain data, the reverse of `to_data`.

        Raises:
            PlanError: The data is not a plan; says where and what was expected.
        """
        from frostline.plan.file import plan_from_data

        return plan_from_data(data)

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan file, YAML or JSON.

        Raises:
            PlanFileError: It cannot be read; says the file, the line and what was expected.
        """
        from frostline.plan.file import load_plan

        return load_plan(path)

    def save(self, path: str | Path) -> None:
        """Write the plan to a file, atomically; YAML, or JSON where the name ends in `.json`.

        A mask goes into a `.npy` file beside it, named by its digest.

        Raises:
            PlanError: A selector is a Python function.
            PlanFileError: The file cannot be written.
        """
        from frostline.plan.file import save_plan

        save_plan(self, path)
