"""Receipts: what a training run did, in a file that anyone can check."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import ConsoleRenderable

from frostline.errors import FrostlineError, ModelFileError, listed
from frostline.files.atomic import replaced_atomically
from frostline.files.json_text import parsed_json
from frostline.files.limits import UnreadableError
from frostline.files.reading import read_text
from frostline.files.sealed import BrokenSealError, sealed, unsealed
from frostline.model.alignment import align
from frostline.model.inventory import inventory
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule, plan_or_schedule_from_data
from frostline.render.tables import Rendered, count, stacked
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.verification.fingerprint import Fingerprint, known
from frostline.verification.outcomes import Evidence, Verification
from frostline.verification.verify import compare

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """What a phase of a schedule did.

    Attributes:
        name: Its name.
        trained: Addresses of the weights that were to train in it.
        moving: Addresses of the statistics that were allowed to move in it.
        after: The fingerprint at its end.
        parts: What was to train of the weights that it trained in part, in words, by address.
        assigned: Addresses of what code was to assign in it.
        evidence: What training saw of the gradients in it.
    """

    name: str
    trained: tuple[str, ...]
    moving: tuple[str, ...]
    after: Fingerprint = field(repr=False)
    parts: Mapping[str, str] = field(default_factory=dict, hash=False)
    assigned: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    def verification(self, before: Fingerprint) -> Verification:
        """Return what became of every variable in it, from a fingerprint of its beginning."""
        return compare(
            before,
            self.after,
            self.trained,
            self.moving,
            self.parts,
            assigned=self.assigned,
            evidence=self.evidence,
        )

    def to_data(self) -> dict[str, Any]:
        """Return the record as plain data, for JSON."""
        return {
            "name": self.name,
            "trained": list(self.trained),
            "moving": list(self.moving),
            "assigned": list(self.assigned),
            "parts": dict(self.parts),
            "gradients": self.evidence.to_data(),
            "after": self.after.to_data(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> PhaseRecord:
        """Make a record from plain data, the reverse of `to_data`."""
        after = Fingerprint.from_data(data["after"])
        return cls(
            str(data["name"]),
            tuple(data["trained"]),
            tuple(data["moving"]),
            after,
            _parts_of(data, after),
            tuple(data.get("assigned", ())),
            Evidence.from_data(data.get("gradients", {})),
        )


@dataclass(frozen=True)
class Receipt(Rendered):
    """What a training run did.

    Attributes:
        model: The model's name.
        plan: The plan as in a plan file, or as text where it holds a Python function.
        trained: Addresses of the weights that were to train.
        moving: Addresses of the statistics that were allowed to move.
        before: The fingerprint before training.
        after: The fingerprint after.
        data: Digest of each array trained on, or the reason why there is none.
        versions: Of Frostline, Keras, the backend, NumPy and Python.
        started: When training began, ISO 8601, UTC.
        seconds: How long it took.
        phases: What each phase of a schedule did; empty where there was one plan.
        parts: What was to train of the weights that trained in part, in words, by address: over all phases.
        assigned: Addresses of what code was to assign, in any phase.
        evidence: What training saw of the gradients, over all phases.
        changed: What differed when the run was resumed all the same, and from which epoch.
        not_compared: What could not be compared when it was resumed.
        gradients_not_checked: Why it was not looked at whether each trained weight can receive a gradient.
    """

    model: str
    plan: Any
    trained: tuple[str, ...]
    moving: tuple[str, ...]
    before: Fingerprint = field(repr=False)
    after: Fingerprint = field(repr=False)
    data: Mapping[str, str]
    versions: Mapping[str, str]
    started: str
    seconds: float
    phases: tuple[PhaseRecord, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    assigned: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    gradients_not_checked: str = ""

    @property
    def verification(self) -> Verification:
        """What the two fingerprints prove, worked out anew; of gradients, what the run says of them."""
        return self._whole.verification(self.before)

    @property
    def _whole(self) -> PhaseRecord:
        """The whole run as one phase."""
        return PhaseRecord(
            self.model, self.trained, self.moving, self.after, self.parts, self.assigned, self.evidence
        )

    @property
    def phase_verifications(self) -> dict[str, Verification]:
        """The same for each phase of a schedule, by its name."""
        starts = (self.before, *(phase.after for phase in self.phases))
        return {
            phase.name: phase.verification(start) for start, phase in zip(starts, self.phases, strict=False)
        }

    def to_data(self) -> dict[str, Any]:
        """Return the receipt as plain data, with its own digest."""
        data = {
            "frostline_receipt": SCHEMA,
            "model": self.model,
            "plan": self.plan,
            "trained": list(self.trained),
            "moving": list(self.moving),
            "assigned": list(self.assigned),
            "parts": dict(self.parts),
            "gradients": self.evidence.to_data(),
            "before": self.before.to_data(),
            "after": self.after.to_data(),
            "data": dict(self.data),
            "versions": dict(self.versions),
            "started": self.started,
            "seconds": self.seconds,
            "phases": [phase.to_data() for phase in self.phases],
            "verification": self.verification.to_data(),
        }
        # Only where there is something to say: a run that went on as it was has the receipt of a whole one.
        data |= {"changed": list(self.changed)} if self.changed else {}
        data |= {"not_compared": list(self.not_compared)} if self.not_compared else {}
        if self.gradients_not_checked:
            data["gradients_not_checked"] = self.gradients_not_checked
        return sealed(data)

    def save(self, path: str | Path) -> None:
        """Write the receipt as JSON, atomically. It takes its name once it can be read.

        Raises:
            ModelFileError: The file cannot be written, or not be read again.
        """
        text = json.dumps(self.to_data(), indent=1) + "\n"
        with replaced_atomically(Path(path), ModelFileError) as temporary:
            temporary.write_bytes(text.encode())
            Receipt.load(temporary)

    @classmethod
    def load(cls, path: str | Path) -> Receipt:
        """Read a receipt.

        Raises:
            ModelFileError: It is not a receipt, or it was altered since it was written.
        """
        path = Path(path)
        text = read_text(path, ModelFileError, "receipt")
        try:
            data = parsed_json(text)
        except json.JSONDecodeError as error:
            raise _unreadable(path, f"line {error.lineno}: {error.msg}") from None
        except UnreadableError as error:
            raise _unreadable(path, str(error)) from None
        if not isinstance(data, dict) or data.get("frostline_receipt") != SCHEMA:
            raise _unreadable(path, f"no key 'frostline_receipt' with the value {SCHEMA}")
        try:
            return cls._from_data(unsealed(data))
        except BrokenSealError as seal:
            raise ModelFileError(
                f"the receipt {str(path)!r} was altered after it was written",
                received=f"content with the digest {seal.found[:16]}…",
                expected=f"the digest in it, {str(seal.claimed)[:16]}…",
                remedy="ask for the file that the training run wrote",
            ) from None
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _unreadable(path, f"{type(error).__name__}: {error}") from None

    @classmethod
    def _from_data(cls, data: dict[str, Any]) -> Receipt:
        after = Fingerprint.from_data(data["after"])
        return cls(
            model=str(data["model"]),
            plan=data["plan"],
            trained=tuple(map(str, data["trained"])),
            moving=tuple(map(str, data["moving"])),
            before=Fingerprint.from_data(data["before"]),
            after=after,
            data=dict(data["data"]),
            versions=dict(data["versions"]),
            started=str(data["started"]),
            seconds=float(data["seconds"]),
            phases=tuple(PhaseRecord.from_data(phase) for phase in data["phases"]),
            parts=_parts_of(data, after),
            changed=tuple(map(str, data.get("changed", ()))),
            not_compared=tuple(map(str, data.get("not_compared", ()))),
            assigned=tuple(map(str, data.get("assigned", ()))),
            evidence=Evidence.from_data(data.get("gradients", {})),
            gradients_not_checked=str(data.get("gradients_not_checked", "")),
        )

    def check(
        self,
        *,
        before: Fingerprint | None = None,
        after: Fingerprint | None = None,
        strict: bool = False,
    ) -> list[str]:
        """Hold the receipt against the models it speaks of.

        Args:
            before: Fingerprint of the model that training began with, taken by the one who checks.
            after: Fingerprint of the model that came out.
            strict: Whether a weight is the same only under the same address; see `frostline.verify`.

        Returns:
            One sentence for each thing that does not hold; none where all does.
        """
        verifications = {"": self.verification, **self.phase_verifications}
        problems = [
            f"by the receipt itself, {f.address} {_BROKEN[f.outcome]}"
            + (f" in the phase {name}" if name else "")
            for name, verification in verifications.items()
            for f in verification.findings
            if f.violation
        ]
        if self.phases and self.phases[-1].after != self.after:
            problems.append("by the receipt itself, its last phase does not end with the model that came out")
        for name, claimed, found in (("before", self.before, before), ("after", self.after, after)):
            if found is not None:
                problems += _differences(name, claimed, found, strict=strict)
        return problems

    def check_plan(self, model: Any, *, strict: bool = False) -> list[str]:
        """Hold what the receipt says was trained against what the plan in it decides.

        Args:
            model: The model that training began with.
            strict: Whether a weight is the same only under the same address.

        Returns:
            One sentence for each thing that does not hold: what trained without being planned to, and what
            was planned to train and is not in the receipt. None where `plan_unchecked` says why.
        """
        if self.plan_unchecked:
            return []
        try:
            resolutions = [resolve(model, plan) for plan in self._plans()]
        except FrostlineError as error:
            return [f"the plan in the receipt is not one for this model: {error.what}"]
        present = known({w.address: w for w in inventory(model)})
        names = align(known(self.before), present, strict=strict).names
        planned = {d.weight.address for r in resolutions for d in r.changing}
        planned -= self.before.not_in_0_1(present)
        listed_in = {names.get(a, a): a for a in (*self.trained, *self.moving, *self.assigned)}
        problems = []
        if strange := [own for address, own in listed_in.items() if address not in planned]:
            problems.append(f"by the plan in the receipt, {listed(strange)} had to stay fixed")
        if left_out := [address for address in planned if address not in listed_in]:
            problems.append(
                f"by the plan in the receipt, {listed(sorted(left_out))} had to train, "
                "which it lists as fixed"
            )
        return problems + self._other_action(resolutions, names)

    def _other_action(self, resolutions: Sequence[Resolution], names: Mapping[str, str]) -> list[str]:
        """Say what the receipt lists as trained that its plan leaves to code, and the reverse."""
        to_code = {d.weight.address for r in resolutions for d in r.assigned}
        by_training = {d.weight.address for r in resolutions for d in (*r.trained, *r.moving)}
        both = (
            ("assigned by code", self.assigned, to_code),
            ("trained", (*self.trained, *self.moving), by_training),
        )
        return [
            f"the receipt lists {listed(other)} as {word}, and its plan does not"
            for word, claimed, planned in both
            if (other := [a for a in claimed if names.get(a, a) in (to_code | by_training) - planned])
        ]

    @property
    def plan_unchecked(self) -> str:
        """Why the plan in the receipt cannot be held against what trained; empty where it can."""
        if self.plan is None:
            return "the receipt has none"
        if not isinstance(self.plan, Mapping):
            return "it is kept as text, since a file cannot hold the Python function in it"
        return ""

    def _plans(self) -> list[Plan]:
        """Return the plans of the phases that ran, or the one plan."""
        plan = plan_or_schedule_from_data(self.plan)
        if not isinstance(plan, Schedule):
            return [plan]
        ran = {phase.name for phase in self.phases}
        return [plan.plan_of(phase) for phase in plan.phases if phase.name in ran]

    def __rich__(self) -> ConsoleRenderable:
        return stacked(
            f"Receipt for {self.model}, {self.started}, {self.seconds:.1f} s",
            f"trained {count(len(self.trained), 'weight')}; "
            + (f"left {count(len(self.assigned), 'variable')} to code; " if self.assigned else "")
            + f"before {self.before.combined[:16]}, after {self.after.combined[:16]}",
            *(
                f"phase {phase.name}: trained {count(len(phase.trained), 'weight')}, ended with "
                f"{phase.after.combined[:16]}"
                for phase in self.phases
            ),
            *(f"resumed with changes {one}" for one in self.changed),
            *(f"resumed without comparing {one}" for one in self.not_compared),
            *(
                ["gradients were not checked: " + self.gradients_not_checked]
                * bool(self.gradients_not_checked)
            ),
            self.verification.renderable("the receipt says"),
        )


_BROKEN: dict[str, str] = {
    "missing": "is missing",
    "changed": "was frozen and changed",
    "not finite": "became NaN or infinite",
}


def _parts_of(data: Mapping[str, Any], after: Fingerprint) -> dict[str, str]:
    """Return the parts that a record names; older ones leave it to the fingerprint to name them."""
    if "parts" in data:
        return {str(address): str(part) for address, part in data["parts"].items()}
    return {address: digest.part for address, digest in after.items() if digest.part}


def _differences(name: str, claimed: Fingerprint, found: Fingerprint, *, strict: bool) -> list[str]:
    roles = ("weight", "statistic")
    here = {a: d for a, d in found.items() if d.role in roles}
    names = claimed.alignment(found, strict=strict).names
    said = {a: d for a, d in claimed.renamed(names).items() if d.role in roles}
    problems = []
    if missing := [a for a in said if a not in here]:
        problems.append(f"the model {name} training lacks {listed(missing)}")
    unrecorded = claimed.not_in_0_1(known(here))
    if extra := [a for a in here if a not in said and a not in unrecorded]:
        problems.append(f"the model {name} training has {listed(extra)}, which the receipt does not know")
    if other := [a for a in said if a in here and not said[a].same_values(here[a])]:
        problems.append(
            f"the model {name} training has other values than the receipt says in "
            f"{count(len(other), 'variable')}: {listed(other)}"
        )
    return problems


def _unreadable(path: Path, why: str) -> FrostlineError:
    return ModelFileError(
        f"{str(path)!r} is not a receipt that this version of Frostline reads",
        received=why,
        expected=f"the JSON that Receipt.save writes, version {SCHEMA}",
    )
