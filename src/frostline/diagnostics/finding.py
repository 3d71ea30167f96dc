"""What an audit finds: one record for each fact, with its place, its figures and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from frostline.graph.ir import Where

Severity = Literal["error", "warning", "note"]
"""How bad a finding is.

- `error`: training does not do what was planned.
- `warning`: it probably does not do what was meant.
- `note`: something is left on the table, or good to know.
"""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about a model that its user should know.

    Attributes:
        code: Of the rule that found it, such as `FL101`.
        name: Of that rule, such as `gradient-cut`.
        severity: `error`, `warning` or `note`.
        address: The weight or layer it is about; `""` for the model itself.
        fact: One sentence, with figures.
        remedy: What to do about it.
        where: The user's line, where one is known.
    """

    code: str
    name: str
    severity: Severity
    address: str
    fact: str
    remedy: str
    where: Where | None = None

    def to_data(self) -> dict[str, Any]:
        """Return the finding as plain data, for JSON."""
        return asdict(self)


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by their severity, else in their order."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def worst(findings: tuple[Finding, ...]) -> Severity | None:
    """Return the gravest severity among findings, None where there are none."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in found), None)
