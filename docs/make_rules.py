"""Writes `rules.md` from the docstrings of the rules: `python docs/make_rules.py`."""

from __future__ import annotations

import re
from pathlib import Path

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.rules import all_rules
from frostline.diagnostics.training_rule import TrainingRule
from frostline.diagnostics.training_rules import all_training_rules

Rule = AuditRule | TrainingRule

PAGE = Path(__file__).parent / "rules.md"

HEAD = """\
# Rules of the audit, and of watching a training

<!-- Written by docs/make_rules.py from the docstrings of the rules. Do not edit. -->

`fl.audit(model, x, y)` looks at a model as the next `fit` would train it, and reports what these rules
find. Nothing is trained, and the model is left as it was. [why.md](why.md) shows whole answers.

- **error**: training does not do what was planned.
- **warning**: it probably does not do what was meant.
- **note**: something is left on the table, or good to know.

A finding may be milder or graver than its rule where its text says why. Codes: `FL1xx` gradient flow,
`FL2xx` frozen parts that are not, `FL3xx` optimizer and compile, `FL4xx` saving and loading, `FL5xx` speed
and memory left on the table. `FL6xx`, during training, are those of `fl.fit(..., watch=True)` and of
`fl.callbacks.Watch`: see [fit.md](fit.md#watching-a-training).

| code | name | severity | what it finds |
| --- | --- | --- | --- |
"""


def page() -> str:
    """Return the page."""
    every: list[Rule] = [*all_rules(), *all_training_rules()]
    rows = [f"| [{r.code}](#{_anchor(r)}) | {r.name} | {r.severity} | {_title(r)} |\n" for r in every]
    return HEAD + "".join(rows) + "".join(f"\n{_section(rule)}" for rule in every)


def _title(rule: Rule) -> str:
    return rule.text().splitlines()[0].rstrip(".")


def _anchor(rule: Rule) -> str:
    return re.sub(r"[^a-z0-9_ -]", "", _heading(rule).lower()).replace(" ", "-")


def _heading(rule: Rule) -> str:
    return f"{rule.code} {_title(rule)}"


def _section(rule: Rule) -> str:
    parts = re.split(
        r"^(What it does|Why it matters|Example|Use instead):\n", rule.text(), flags=re.MULTILINE
    )
    told = dict(zip(parts[1::2], map(_unindented, parts[2::2]), strict=True))
    return "\n".join(
        (
            f"## {_heading(rule)}\n",
            f"`{rule.name}`, {rule.severity}\n",
            f"{told['What it does']}\n",
            f"**Why it matters.** {told['Why it matters']}\n",
            # Pieces of code, not whole programs; what is run in the tests are the rule's own two models.
            f"```py\n{told['Example']}\n```\n",
            "Use instead:\n",
            f"```py\n{told['Use instead']}\n```\n",
        )
    )


def _unindented(text: str) -> str:
    return "\n".join(line[4:] for line in text.strip("\n").splitlines()).strip("\n")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
