"""What a rule of the audit is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.finding_rule import FindingRule
from frostline.diagnostics.inspection import Inspection


class AuditRule(FindingRule):
    """One thing that an audit looks for."""

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield what is found."""
        raise NotImplementedError

    def failing(self) -> dict[str, Any]:
        """Return the arguments of `audit` for the smallest model in which the rule finds something."""
        raise NotImplementedError

    def passing(self) -> dict[str, Any]:
        """Return the same for a model as close to that as can be in which it finds nothing."""
        raise NotImplementedError
