"""What a rule about a training is: it reads what was seen while the model trained."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from frostline.diagnostics.finding import Finding, Severity
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


class TrainingRule:
    """One thing that watching a training looks for. Each rule is a subclass, alone in its file.

    The docstring of the subclass has the headings of an `AuditRule`; `failing` and `passing` are programs
    that the tests really train.

    Attributes:
        code: `FL6` and two digits.
        name: Two to five words, joined by hyphens.
        severity: How bad its findings are.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield what is found in what was seen so far."""
        raise NotImplementedError

    def failing(self) -> Program:
        """Return the smallest training in which the rule finds something."""
        raise NotImplementedError

    def passing(self) -> Program:
        """Return one as close to that as can be in which it finds nothing."""
        raise NotImplementedError

    def finding(self, address: str, fact: str, remedy: str, *, severity: Severity | None = None) -> Finding:
        """Return a finding of this rule."""
        return Finding(self.code, self.name, severity or self.severity, address, fact, remedy)

    def text(self) -> str:
        """Return the docstring of the rule, without its indentation."""
        return inspect.getdoc(type(self)) or ""
