"""What a rule about a training is: it reads what was seen while the model trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.finding_rule import FindingRule
from frostline.diagnostics.watched import Watched


@dataclass(frozen=True, slots=True)
class Program:
    """A small training, for the tests of a rule.

    Attributes:
        model: The compiled model.
        x: As for `model.fit`.
        y: As for `model.fit`.
        arguments: All else that `model.fit` takes.
    """

    model: Any
    x: Any
    y: Any
    arguments: dict[str, Any] = field(default_factory=dict)


class TrainingRule(FindingRule):
    """One thing that watching a training looks for; its programs are really trained by the tests."""

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield what is found in what was seen so far."""
        raise NotImplementedError

    def failing(self) -> Program:
        """Return the smallest training in which the rule finds something."""
        raise NotImplementedError

    def passing(self) -> Program:
        """Return one as close to that as can be in which it finds nothing."""
        raise NotImplementedError
