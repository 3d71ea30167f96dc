"""What a call of `fit` did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.watched import Watched
from frostline.render.console import wrapped
from frostline.render.foreign import visible
from frostline.render.tables import count, share
from frostline.resolution.resolution import Resolution
from frostline.training.ledger import PhaseRun
from frostline.training.watch.report import lines_of
from frostline.verification.outcomes import Outcome, Verification
from frostline.verification.receipt import Receipt

_LOSSES = ("loss", "val_loss")
_COUNTED: dict[Outcome, str] = {
    "trained": "{} trained",
    "partial": "{} in part",
    "decay alone": "{} moved by decay or a penalty alone",
    "unmoved": "{} unmoved",
    "assigned": "{} assigned by code",
}
"""Outcomes that the verdict counts, in words."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a call of `fit` did; prints what trained, how the loss went, and what was proved.

    Attributes:
        history: The `keras.callbacks.History` that `model.fit` returned. After a schedule,
            `history.history["phase"]` names the phase of each epoch, or the phases, as `"first > second"`,
            where some end by steps within it.
        resolution: What the plan decided; of a schedule, the last phase's.
        verification: What the guard found; None with `guard=False`.
        receipt: The same in a form that others can check; None with `guard=False`.
        phases: The phases of a schedule, or the one plan, in order; behind them a record of what
            `EarlyStopping` put back, where it did.
        resumed: The epoch, counted from 0, that a run went on with after it had been interrupted; None where
            it began here. Of a run that had been finished before, the number of its epochs.
        not_run: The phases of a schedule that a callback stopped training before.
        notes: What was said when it began: that the optimizer was built anew, since it had been built for
            weights that the model does not have.
        changed: What differed when the run was resumed with `resume_changed="accept"`, and from which epoch.
        not_compared: What could not be compared with the run in the folder when it was resumed.
        gradients_not_checked: Why it was not looked at, before the first step, whether each weight that
            trains can receive a gradient; empty where it was.
        findings: What watching the training found, the gravest first (with `watch=True`).
        watched: What was seen while it was watched; None where nobody did.

    Example:
        >>> import keras, numpy as np
        >>> from frostline import Plan, fit
        >>> head = keras.layers.Dense(2, kernel_initializer="zeros", name="head")
        >>> model = keras.Sequential([keras.Input((3,)), head], name="net")
        >>> model.compile("sgd", "mse")
        >>> print(fit(model, Plan().train("head/kernel"), np.ones((8, 3)), np.ones((8, 2)), verbose=0))
        net: 1 epoch, trained 6 of 8 elements (75%)
        loss: 1
        verified: every frozen number is bit-identical (1 weight held over the whole run, 1 trained)
    """

    history: Any
    resolution: Resolution
    verification: Verification | None
    receipt: Receipt | None
    phases: tuple[PhaseRun, ...]
    resumed: int | None = None
    not_run: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    gradients_not_checked: str = ""
    findings: tuple[Finding, ...] = ()
    watched: Watched | None = None

    @property
    def verdict(self) -> str:
        """One line on what the guard found."""
        if self.verification is None:
            return "not verified"
        if not self.verification.ok:
            return f"NOT verified: {self.verification.verdict}"
        each = ", in each phase" if len(self.phases) > 1 else ""
        but = ", but nothing trained" if self.verification.nothing_trained else ""
        return f"verified: every frozen number is bit-identical{each}{but} ({_counts(self.verification)})"

    def __str__(self) -> str:
        lines = [_phase(phase) for phase in self.phases]
        lines += [f"{name}: not reached" for name in self.not_run]
        history = self.history.history
        lines += [_course(name, history[name]) for name in _LOSSES if history.get(name)]
        lines += [f"changed {one}" for one in self.changed]
        lines += [f"not compared: {one}" for one in self.not_compared]
        if self.gradients_not_checked:
            lines.append(f"gradients were not checked: {self.gradients_not_checked}")
        lines += [wrapped(line) for line in lines_of(self.findings, self.watched)]
        remarks = self.verification.remarks if self.verification is not None else ()
        return visible("\n".join([*lines, self.verdict, *remarks, *(f"note: {note}" for note in self.notes)]))


def _counts(verification: Verification) -> str:
    """How many weights had which outcome."""
    numbers = {outcome: len(verification.of(outcome)) for outcome in _COUNTED}
    moved = [words.format(numbers[o]) for o, words in _COUNTED.items() if numbers[o] or o == "trained"]
    return ", ".join((f"{count(len(verification.of('intact')), 'weight')} held over the whole run", *moved))


def _phase(phase: PhaseRun) -> str:
    trained = phase.resolution.trained_elements
    of = phase.resolution.elements
    elements = f"{trained:,} of {of:,} elements ({share(trained, of)})"
    return f"{phase.name}: {count(phase.epochs, 'epoch')}, trained {elements}"


def _course(name: str, values: list[float]) -> str:
    """Say where a value began and where it ended."""
    return f"{name}: " + " to ".join(f"{value:.4g}" for value in dict.fromkeys((values[0], values[-1])))
