"""`audit`: a status for every weight of a model, and what else its user should know."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import ConsoleRenderable

from frostline.diagnostics.explanation import AS_PLANNED, Explanation, Status, reasons, shown
from frostline.diagnostics.finding import SEVERITIES, Finding, worst
from frostline.diagnostics.inspect_model import inspect_model
from frostline.diagnostics.inspection import Inspection, notes_of
from frostline.diagnostics.rules import all_rules
from frostline.errors import listed
from frostline.graph.ir import Graph
from frostline.plan.plan import Plan
from frostline.render.documents import json_text
from frostline.render.foreign import exact
from frostline.render.tables import Rendered, count, headed, plain, stacked, table
from frostline.resolution.resolution import Resolution


@dataclass(frozen=True)
class Audit(Rendered):
    """The status of every weight of a model, and what the rules found. Prints as a table, findings below it.

    Attributes:
        model: Name of the model.
        statuses: The status of each weight, of statistics that are to stay fixed, and of variables that the
            loss is computed from and that the model does not own, by address.
        findings: What the rules found, the gravest first.
        graph: The gradient graph of the loss.
        loss: The loss on the batch, penalties included; not a number where it was not computed.
        gradient_norms: The Euclidean norm of the gradient on the batch, penalties left out, of each weight
            that is to train and has one.
        explanations: For each weight that is to train and does not, why.
        notes: What is to be known of the loss as a whole.
    """

    model: str
    statuses: Mapping[str, Status]
    findings: tuple[Finding, ...]
    graph: Graph = field(repr=False)
    loss: float = float("nan")
    gradient_norms: Mapping[str, float] = field(default_factory=dict, repr=False)
    explanations: Mapping[str, Explanation] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every weight does what is planned for it, and no finding is an error."""
        by_added = {address for address, one in self.explanations.items() if one.ok}
        planned = (status in AS_PLANNED or address in by_added for address, status in self.statuses.items())
        return all(planned) and worst(self.findings) != "error"

    def of(self, status: Status) -> tuple[str, ...]:
        """Return the addresses with a status, in the model's order."""
        return tuple(address for address, one in self.statuses.items() if one == status)

    def to_json(self) -> str:
        """Return the audit as JSON, without the graph; what is not finite is `null` there."""
        return json_text(self.to_data())

    def to_data(self) -> dict[str, Any]:
        """Return the audit as plain data, without the graph."""
        return {
            "frostline": 1,
            "model": self.model,
            "ok": self.ok,
            "loss": self.loss if math.isfinite(self.loss) else None,
            "statuses": dict(self.statuses),
            "gradient_norms": dict(self.gradient_norms),
            "findings": [finding.to_data() for finding in self.findings],
            "explanations": {address: one.to_data() for address, one in self.explanations.items()},
            "notes": list(self.notes),
        }

    def __rich__(self) -> ConsoleRenderable:
        rows = [(listed(group, most=3), status, str(len(group))) for status, group in self._groups()]
        loss = "" if math.isnan(self.loss) else f", loss {self.loss:.6g} on this batch"
        head = headed(f"Audit of {self.model}{loss}")
        drawn = table(("weights", "status", "count"), rows, numbers=("count",))
        codes = [(finding.address, f"{finding.code} {finding.severity}") for finding in self._told]
        explained = reasons(self.explanations.values(), codes)
        notes = (f"note: {note}" for note in self.notes)
        return stacked(head, drawn, *explained, *self._found(), *notes, "", self._summary())

    @property
    def _told(self) -> tuple[Finding, ...]:
        """The findings that say no more than the explanation of their weight does."""
        remedies = {address: one.remedy for address, one in self.explanations.items()}
        return tuple(f for f in self.findings if remedies.get(f.address) == f.remedy)

    def _groups(self) -> Iterator[tuple[Status, list[str]]]:
        """Yield neighbours of one status together."""
        group: list[str] = []
        before: Status | None = None
        for address, status in self.statuses.items():
            if before is not None and status != before:
                yield before, group
                group = []
            group.append(address)
            before = status
        if before is not None:
            yield before, group

    def _found(self) -> Iterator[ConsoleRenderable | str]:
        for finding in self.findings:
            if finding in self._told:
                continue
            place = f" ({shown(finding.where)})" if finding.where else ""
            yield ""
            yield headed(
                f"{finding.code} {finding.severity}",
                (f"  {exact(finding.address)}" if finding.address else "", "bold"),
                (f": {finding.fact}{place}", ""),
            )
            yield plain(f"fix: {finding.remedy}", indent=2)

    def _summary(self) -> str:
        counts = Counter(finding.severity for finding in self.findings)
        found = [count(counts[severity], severity) for severity in SEVERITIES if counts[severity]]
        return f"{'ok' if self.ok else 'not ok'}: {listed(found, most=3) if found else 'nothing found'}"


def audit(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    plan: Plan | Resolution | None = None,
    loss: Any = None,
    sample_weight: Any = None,
) -> Audit:
    """Say what becomes of every weight of a model in training, and what its user should know.

    The loss that `fit` would compute is traced once and computed once on the batch; again where that gives
    reason to: penalties, gradients of zero or not finite, steps that look too large. The model, its
    optimizer, metrics, seeds and statistics are as before afterwards.

    Args:
        model: A built `keras.Model`.
        x: One batch of inputs, as `model.fit` takes them: arrays or tensors, or a nest of them.
        y: Its targets.
        plan: Look at the model as under this plan; else as its own flags say.
        loss: The loss, in place of the compiled one: a function of targets and predictions, or the name of
            one of Keras's.
        sample_weight: Weights of the samples of the batch.

    Returns:
        An `Audit`.

    Raises:
        ModelError: Not a Keras model.
        UnbuiltModelError: Its weights do not exist yet.
        AuditError: The model has no loss, or it needs targets and there are none.
        PlanError: The plan does not fit the model.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> model.compile("adam", "mse")
        >>> answer = audit(model, np.ones((4, 3)), np.zeros((4, 2)), plan=Plan().train("head/kernel"))
        >>> answer.statuses
        {'head/kernel': 'trains', 'head/bias': 'frozen'}
        >>> answer.ok
        True
    """
    with inspect_model(model, x, y, plan=plan, loss=loss, sample_weight=sample_weight) as inspection:
        findings = [finding for rule in all_rules() for finding in rule.check(inspection)]
        findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
        statuses = inspection.statuses
        dead = [
            a for a in inspection.planned.trained if statuses[a] in ("cut", "unused", "zero", "not_finite")
        ]
        return Audit(
            model=model.name,
            statuses=statuses,
            findings=tuple(findings),
            graph=inspection.trace.graph,
            loss=measured.loss if (measured := inspection.total or inspection.measured) else float("nan"),
            gradient_norms=_norms(inspection),
            explanations={a: inspection.explain(a) for a in statuses if a in dead},
            notes=tuple(notes_of(inspection)),
        )


def _norms(inspection: Inspection) -> dict[str, float]:
    """Return the norms of the gradients of those that have one; a parametrized weight counts as a whole."""
    sizes = {weight.address: inspection.gradient_norm(weight) for weight in inspection.weights}
    return {address: size for address, size in sizes.items() if size is not None}
