"""What rules have in common, whether they read a model or a training."""

from __future__ import annotations

import inspect
from typing import ClassVar

from frostline.diagnostics.finding import Finding, Severity
from frostline.graph.ir import Where


class FindingRule:
    """Something that is looked for. Each rule is a class of its own, alone in its file.

    Its docstring has the headings `What it does`, `Why it matters`, `Example` and `Use instead`; its page in
    the documentation is made from it, and its tests from what `failing` and `passing` return.

    Attributes:
        code: `FL` and three digits: 1xx gradient flow, 2xx frozen parts that are not, 3xx optimizer and
            compile, 4xx saving and loading, 5xx speed and memory left on the table, 6xx during training.
        name: Two to five words, joined by hyphens.
        severity: How bad its findings are.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]

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
