"""Plans: ordered rules that say what trains. Pure values, without a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.errors import PlanError, PlanFileError
from frostline.files.document import Document
from frostline.files.yaml_reader import read_document
from frostline.parametrization.arguments import part_of
from frostline.parametrization.base import Parametrization
from frostline.plan.file import PLAN, write_plan
from frostline.plan.rule import Rule, read_rules
from frostline.plan.schema import BatchNormPolicy, Default, PlanData, StochasticPolicy
from frostline.plan.selectors import selector

if TYPE_CHECKING:
    from frostline.resolution.resolution import Resolution


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
    default: Default = "freeze"
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

    def assigned(self, of: Any, *, optional: bool = False) -> Plan:
        """Return this plan with one more rule, for what the model's own code assigns.

        Teachers and target networks that follow by moving average, codebooks, running normalizations: the
        optimizer does not have them, they are expected to move, and the proof says so. Layers that hold such
        weights run as their caller asks, in training mode or not.

        Args:
            of: A selector, as for `train`; statistics may be among what it picks.
            optional: Whether it may pick nothing.

        Raises:
            SelectorError: The selector cannot be read.

        Example:
            >>> print(Plan().train("online/**").assigned("target/**"))
            default: freeze
            1. train 'online/**'
            2. assigned 'target/**'
        """
        return replace(self, rules=(*self.rules, Rule("assigned", selector(of), optional=optional)))

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
        document = Document("plan data", data, PLAN)
        valid = document.validated(PlanData)
        if valid.phases is not None:
            raise PlanError("the plan data has phases, so it is a schedule", remedy="use it as a Schedule")
        return read_plan(document, valid)

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan file, YAML or JSON.

        Raises:
            PlanFileError: It cannot be read; says the file, the line and what was expected.
        """
        document = read_document(Path(path), PLAN)
        valid = document.validated(PlanData)
        if valid.phases is not None:
            raise PlanFileError(
                f"{path} has phases, so it is a schedule",
                remedy=f"read it with Schedule.load({str(path)!r})",
            )
        return read_plan(document, valid)

    def save(self, path: str | Path) -> None:
        """Write the plan to a file, atomically; YAML, or JSON where the name ends in `.json`.

        A mask goes into a `.npy` file beside it, named by its digest.

        Raises:
            PlanError: A selector is a Python function.
            PlanFileError: The file cannot be written.
        """
        write_plan(self.to_data(), path)


def read_plan(document: Document, valid: PlanData) -> Plan:
    """Make a plan of a document, or of a part of one; phases are left to the caller.

    Args:
        document: The document, which knows the line of everything in it.
        valid: What stands in it, keys and types already checked.

    Raises:
        FrostlineError: A rule cannot be read (the class of the document's format); says where.
    """
    rules = read_rules(document, valid.rules, ("rules",))
    return Plan(rules, valid.default, valid.batchnorm, valid.stochastic)
