"""Every rule finds its failing example, leaves its passing one alone, and says what a rule must say."""

from __future__ import annotations

import re
from typing import Any

import pytest

import frostline as fl
from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import SEVERITIES
from frostline.diagnostics.rules import all_rules

HEADINGS = ("What it does:", "Why it matters:", "Example:", "Use instead:")


@pytest.fixture(params=all_rules(), ids=lambda rule: rule.code)
def rule(request: Any) -> AuditRule:
    return request.param


def found(rule: AuditRule, arguments: dict[str, Any]) -> list[fl.Finding]:
    return [finding for finding in fl.audit(**arguments).findings if finding.code == rule.code]


def test_its_failing_example_fails(rule: AuditRule) -> None:
    findings = found(rule, rule.failing())
    assert findings
    assert all(finding.name == rule.name for finding in findings)
    assert all(finding.fact and finding.remedy for finding in findings)


def test_its_passing_example_passes(rule: AuditRule) -> None:
    assert found(rule, rule.passing()) == []


def test_it_has_a_code_a_name_a_severity_and_a_file_of_its_own(rule: AuditRule) -> None:
    assert re.fullmatch(r"FL[1-5]\d\d", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+){1,4}", rule.name)
    assert rule.severity in SEVERITIES
    file = type(rule).__module__.rpartition(".")[2]
    assert file == f"{rule.code.lower()}_{rule.name.replace('-', '_')}"


def test_it_says_what_it_does_and_why(rule: AuditRule) -> None:
    lines = rule.text().splitlines()
    assert [line for line in lines if line in HEADINGS] == list(HEADINGS)


def test_codes_and_names_are_unique() -> None:
    every = all_rules()
    assert len({rule.code for rule in every}) == len({rule.name for rule in every}) == len(every)
