"""What happened in each phase of a training run, held against what was planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from frostline.diagnostics.second_look import SecondLook
from frostline.model.inventory import inventory
from frostline.optimizers.state import steps_made
from frostline.resolution.parts import Parts
from frostline.resolution.resolution import Resolution
from frostline.training.missing_gradients import (
    Look,
    Steps,
    evidence_over,
    gradient_evidence,
    no_gradient,
    nothing_moved,
)
from frostline.verification.fingerprint import Fingerprint, fingerprint_of
from frostline.verification.outcomes import Evidence, Verification
from frostline.verification.receipt import PhaseRecord
from frostline.verification.verify import compare

RESTORED = "best weights restored"
"""The name of what a callback put back behind the last phase."""


@dataclass(frozen=True, slots=True)
class PhaseRun:
    """A phase that has ended.

    Attributes:
        name: Its name; that of the model where there was one plan and no schedule.
        resolution: What its plan decided.
        epochs: How many epochs ended in it.
        verification: What moved in it; None with `guard=False`.
    """

    name: str
    resolution: Resolution
    epochs: int
    verification: Verification | None


@dataclass(slots=True)
class Ledger:
    """Takes fingerprints between phases and fails where a frozen number changed.

    Attributes:
        model: The model.
        before: Its fingerprint before training; None with `guard=False`.
        parts: What trains of the weights that train in part, in each phase and over all.
        runs: The phases that have ended.
        records: The same as a receipt keeps them.
        reachable: Whether it is known that gradients can reach all that trains. Then what did not move is no
            sign that they cannot: the rate may have been 0, or the loss.
        look: Looks at the loss once more, where what training left behind does not tell.
        unchecked: Why that was not looked at before training; empty where it was.
        steps_at_begin: How many steps the optimizer had made when the phase that runs began; None where that
            is not known.
        used_before: Whether the optimizer had made steps before this training, or nobody knows.
        finite: Whether a run that leaves NaN or infinity fails. Otherwise it is not verified, no more.
    """

    model: Any
    before: Fingerprint | None
    parts: Parts
    runs: list[PhaseRun] = field(default_factory=list)
    records: list[PhaseRecord] = field(default_factory=list)
    reachable: bool = False
    unchecked: str = ""
    steps_at_begin: int | None = None
    finite: bool = True
    used_before: bool = field(init=False)
    look: Look = field(default=lambda *_: SecondLook(failure="its data are not at hand"))

    def __post_init__(self) -> None:
        self.used_before = self.steps_at_begin != 0

    def close(
        self,
        name: str,
        resolution: Resolution,
        epochs: int,
        *,
        stepped: bool = True,
        after: Fingerprint | None = None,
    ) -> None:
        """Write down that a phase has ended.

        Args:
            name: Its name.
            resolution: What its plan decided.
            epochs: How many epochs ended in it.
            stepped: Whether any training step ran in it.
            after: Its fingerprint at the end of the phase; by default as the model is now.

        Raises:
            VerificationError: A frozen number changed, or one became NaN or infinite (with `finite`).
            NoGradientError: No weight that was to train received a gradient.
        """
        if self.before is None:
            self.runs.append(PhaseRun(name, resolution, epochs, None))
            return
        earlier = self.records[-1].after if self.records else self.before
        record = PhaseRecord(
            name,
            tuple(d.weight.address for d in resolution.trained),
            tuple(d.weight.address for d in resolution.moving),
            after or self.now(),
            Parts.of((resolution,)).over_all,
            tuple(d.weight.address for d in resolution.assigned),
        )
        verification = record.verification(earlier)
        verification.require_ok(finite=self.finite)
        if stepped:
            record = replace(record, evidence=self._evidence(resolution, verification))
        self.steps_at_begin = steps_made(self.model.optimizer)
        self.records.append(record)
        self.runs.append(PhaseRun(name, resolution, epochs, record.verification(earlier)))

    def _evidence(self, resolution: Resolution, verification: Verification) -> Evidence:
        """Say what a phase shows of gradients; raise where nothing that was to train had one."""
        steps = Steps(self.model.optimizer, self.steps_at_begin)
        evidence = gradient_evidence(
            steps,
            resolution,
            verification,
            self.look,
            reachable=self.reachable,
            filled=self._filled(resolution),
        )
        # Where gradients are known to arrive, a weight that did not move had a rate of 0, steps lost in
        # rounding, or a loss that was 0 already. None of these is a fault of the model.
        if not self.reachable:
            if len(evidence.no_gradient) == len(resolution.trained):
                raise no_gradient(self.model, evidence.no_gradient)
            unexplained = {*evidence.no_gradient, *evidence.untold} & evidence.why_unmoved.keys()
            if len(unexplained) == len(resolution.trained):
                raise nothing_moved(self.model, evidence.why_unmoved)
        return evidence

    def _filled(self, resolution: Resolution) -> frozenset[str]:
        """Return the addresses whose slots may hold gradients from before the phase that ends now.

        An optimizer that had made steps when training began may have made them with any weight.
        """
        if self.used_before:
            return frozenset(decision.weight.address for decision in resolution.trained)
        return frozenset(address for record in self.records for address in record.trained)

    @property
    def evidence(self) -> Evidence:
        """What all phases that have ended show of gradients together."""
        return evidence_over([(record.trained, record.evidence) for record in self.records])

    def now(self) -> Fingerprint:
        """Take the fingerprint of the model as it is, with what stays frozen of each weight in any phase."""
        # The inventory of now: parts of weights come and go between phases.
        return fingerprint_of(inventory(self.model), self.parts)

    def close_restored(self) -> None:
        """Write down what callbacks put back behind the last phase, if anything.

        Raises:
            VerificationError: Something changed that no phase had trained.
        """
        if self.before is None:
            return
        earlier, now = self.records[-1].after, self.now()
        may_move = {a for r in self.records for a in (*r.trained, *r.moving, *r.assigned)}
        parts = self.parts.over_all
        moved = compare(earlier, now, may_move, (), parts).of("trained", "partial", "moved", "changed")
        if not moved:
            return
        # The record names only what moved, as if a phase had trained just that: what else any phase trained
        # stood still here, and would be reported as trained without moving.
        trained = tuple(dict.fromkeys(a for r in self.records for a in r.trained if a in moved))
        moving = tuple(dict.fromkeys(a for r in self.records for a in r.moving if a in moved))
        assigned = tuple(dict.fromkeys(a for r in self.records for a in r.assigned if a in moved))
        parts = {address: part for address, part in parts.items() if address in trained}
        record = PhaseRecord(RESTORED, trained, moving, now, parts, assigned)
        verification = record.verification(earlier)
        verification.require_ok(finite=self.finite)
        self.records.append(record)
        self.runs.append(PhaseRun(RESTORED, self.runs[-1].resolution, 0, verification))

    def to_data(self) -> dict[str, Any]:
        """Return what was written down as plain data, for JSON."""
        closed = [[run.name, run.epochs] for run in self.runs]
        return {
            "before": self.before.to_data() if self.before is not None else None,
            "records": [record.to_data() for record in self.records],
            "closed": closed,
            "used_before": self.used_before,
        }

    @classmethod
    def from_data(cls, model: Any, data: Mapping[str, Any], resolutions: Sequence[Resolution]) -> Ledger:
        """Make a ledger from plain data, the reverse of `to_data`; phases that ended do so in order."""
        before = Fingerprint.from_data(data["before"]) if data["before"] is not None else None
        parts = Parts.of(resolutions)
        ledger = cls(model, before, parts, records=[PhaseRecord.from_data(one) for one in data["records"]])
        ledger.used_before = bool(data.get("used_before", False))  # 0.1 did not record it
        starts = (before, *(record.after for record in ledger.records))
        # A third entry, in checkpoints of 0.1: what got no gradient.
        for number, (name, epochs, *older) in enumerate(data["closed"]):
            verification, start = None, starts[number] if before is not None else None
            if start is not None:
                if older and older[0]:
                    evidence = Evidence(no_gradient=tuple(older[0]))
                    ledger.records[number] = replace(ledger.records[number], evidence=evidence)
                verification = ledger.records[number].verification(start)
            # What was put back stands behind whichever phase was the last.
            resolution = ledger.runs[-1].resolution if name == RESTORED else resolutions[number]
            ledger.runs.append(PhaseRun(name, resolution, epochs, verification))
        return ledger
