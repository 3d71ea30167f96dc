"""What a rule of the audit is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

from frostline.diagnostics.finding import Finding, Severity
from frostline.diagnostics.inspection import Inspection
from frostline.graph.ir import Where


class AuditRule:
    """One thing that an audit looks for. Each rule is a subclass, alone in its file.

    The docstring of the subclass has the headings `What it does`, `Why it matters`, `Example` and
    `Use instead`; its page in the documentation is made from it, and its tests from `failing` and `passing`.

    Attributes:
        code: `FL` and three digits: 1xx gradient flow, 2xx frozen parts that are not, 3xx optimizer and
            compile, 4xx saving and loading, 5xx speed and memory left on the table. 6xx, during training, are
            those of `TrainingRule`.
        name: Two to four words, joined by hyphens.
        severity: How bad its findings are.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield what is found."""
        raise NotImplementedError

    def failing(self) -> dict[str, Any]:
        """Return the arguments of `audit` for the smallest model in which the rule finds something."""
        raise NotImplementedError

    def passing(self) -> dict[str, Any]:
        """Return the same for a model as close to that as can be in which it finds nothing."""
        raise NotImplementedError

    def finding(
        self,
        address: str,
        fact: str,
        remedy: str,
        *,
        where: Where | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """Return a finding of this rule."""
        return Finding(self.code, self.name, severity or self.severity, address, fact, remedy, where)

    def text(self) -> str:
        """Return the docstring of the rule, without its indentation."""
        return inspect.getdoc(type(self)) or ""
