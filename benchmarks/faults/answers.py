"""Asks Frostline about a program, and judges the answer by the program's header. README.md has the rules."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.programs import Fault, matches
from benchmarks.faults.running import Made, make

import frostline as fl

ABOVE_A_NOTE = ("error", "warning")


@dataclass
class Answer:
    """What Frostline said of one program, in the terms of the benchmark."""

    statuses: dict[str, str] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    cuts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    places: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of a loop of one's own the line that makes a gradient zero or not finite, by the name of the weight."""
    why: str = ""
    raised: str = ""
    loop: bool = False
    """Of a loop of one's own, which has statuses and no findings."""


@dataclass
class Verdict:
    """How an answer compares with the truth; None where the header says nothing of it."""

    found: bool
    noticed: bool
    """Anything above a note, or any status that does not train: a hint, not an answer."""
    reason: bool | None
    line: bool | None
    layer: bool | None
    raised: str = ""
    said: list[str] = field(default_factory=list)


def ask(made: Made, fault: Fault) -> Answer:
    """Ask `fl.audit` (`fl.explain` for a loop of one's own), and `fl.why` where the header names a weight.

    A raw exception is an answer too: the wrong one. A FrostlineError is what the user is told.
    """
    try:
        return _of_a_loss(made) if made.model is None else _of_a_model(made, fault)
    except fl.FrostlineError as error:
        return Answer(raised=f"FrostlineError: {str(error)[:300]}")
    except Exception as error:  # counted as not found, and kept in the scores
        return Answer(raised=f"{type(error).__name__}: {str(error)[:200]}")


def _of_a_loss(made: Made) -> Answer:
    said = fl.explain(made.loss, made.variables)
    statuses = {name: one.status for name, one in said.items()}
    cuts = {name: _cuts(one) for name, one in said.items()}
    places = {name: {"where": asdict(one.where)} for name, one in said.items() if one.where}
    return Answer(statuses, [], cuts, places, str(said), loop=True)


def _of_a_model(made: Made, fault: Fault) -> Answer:
    said = fl.audit(made.model, made.x, made.y, plan=made.plan)
    findings = [asdict(finding) for finding in said.findings]
    cuts = {address: _cuts(one) for address, one in said.explanations.items()}
    why = ""
    wanted = [a for a in said.statuses if any(matches(p, a) for p in fault.statuses)]
    if wanted and said.statuses[wanted[0]] != "untracked":
        one = fl.why(made.model, wanted[0], made.x, made.y, plan=made.plan)
        cuts.setdefault(wanted[0], []).extend(_cuts(one))
        why = str(one)
    return Answer(dict(said.statuses), findings, cuts, why=why)


def _cuts(explanation: Any) -> list[dict[str, Any]]:
    return [asdict(cut) for cut in explanation.cuts]


def judge(fault: Fault, answer: Answer) -> Verdict:
    """Compare the answer about the faulty program with its header."""
    said = [f"{f['code']} {f['severity']}" for f in answer.findings]
    said += sorted({s for s in answer.statuses.values() if s not in ("trains", "frozen")})
    loud = [f for f in answer.findings if f["severity"] in ABOVE_A_NOTE]
    dead = any(s not in ("trains", "frozen", "partial") for s in answer.statuses.values())
    if answer.raised and not answer.raised.startswith("FrostlineError"):
        reason = False if {"says", "reason"} & set(fault.header) else None
        line, layer = (False if fault.marks else None), (False if "layer" in fault.header else None)
        return Verdict(False, False, reason, line, layer, answer.raised, said)
    statuses = _statuses_right(fault, answer)
    about = _about(fault, answer)
    spoken = bool(about) or _by_words(fault, answer)
    reason = _reason(fault, answer)
    told = "says" not in fault.header or spoken
    found = statuses and told and _why_right(fault, answer)
    if "says" not in fault.header and set(fault.statuses.values()) - {"trains", "frozen"}:
        found = found and (bool(loud) or answer.loop)
    return Verdict(
        found,
        bool(loud) or dead or bool(answer.raised),
        reason if reason is not None else (spoken if "says" in fault.header else None),
        _line(fault, answer, about),
        _layer(fault, answer, about),
        answer.raised,
        said,
    )


def _statuses_right(fault: Fault, answer: Answer) -> bool:
    """Every weight that the header names has its status."""
    for pattern, status in fault.statuses.items():
        got = [s for address, s in answer.statuses.items() if matches(pattern, address)]
        if not got or any(s != status for s in got):
            return False
    return True


def _about(fault: Fault, answer: Answer) -> list[dict[str, Any]]:
    """The findings whose words are of this fault; of those above a note, but where a note is right."""
    right = ("note",) if fault.header.get("severity") == "note" else ABOVE_A_NOTE
    pattern = fault.header.get("says", "")
    return [f for f in answer.findings if f["severity"] in right and _says(pattern, _text(f))]


def _text(finding: dict[str, Any]) -> str:
    where = finding.get("where") or {}
    return f"{finding['name']} {finding['address']} {finding['fact']} {where.get('source') or ''}"


def _says(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None


def _by_words(fault: Fault, answer: Answer) -> bool:
    """A loop of one's own has no findings, and an error has only words."""
    pattern = fault.header.get("says", "")
    if answer.raised:
        return _says(pattern, answer.raised)
    return answer.loop and _says(pattern, answer.why)


def _why_right(fault: Fault, answer: Answer) -> bool:
    return "why" not in fault.header or _says(fault.header["why"], answer.why)


def _named_cuts(fault: Fault, answer: Answer) -> list[dict[str, Any]]:
    return [cut for address, cuts in answer.cuts.items() if _is_dead(fault, address) for cut in cuts]


def _is_dead(fault: Fault, address: str) -> bool:
    wanted = [p for p, status in fault.statuses.items() if status not in ("trains", "frozen")]
    return any(matches(pattern, address) for pattern in wanted)


def _reason(fault: Fault, answer: Answer) -> bool | None:
    if "reason" not in fault.header:
        return None
    return {cut["reason"] for cut in _named_cuts(fault, answer)} == set(fault.header["reason"])


def _line(fault: Fault, answer: Answer, about: list[dict[str, Any]]) -> bool | None:
    """Of the places in the program that the answer gives for the fault, all are marked, and there is one."""
    if not fault.marks:
        return None
    said = [one for address, one in answer.places.items() if _is_dead(fault, address)]
    places = [one["where"] for one in [*about, *said, *_named_cuts(fault, answer)] if one.get("where")]
    lines = {w["line"] for w in places if Path(w["file"]).name == fault.path.name}
    return bool(lines) and lines <= fault.marks


def _layer(fault: Fault, answer: Answer, about: list[dict[str, Any]]) -> bool | None:
    """The layer at fault is named, where no line of the program is."""
    if "layer" not in fault.header:
        return None
    layer = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(fault.header['layer'])}(?![A-Za-z0-9_])")
    told = [f"{f['address']} {f['fact']}" for f in about] + [
        str(c["layer"]) for c in _named_cuts(fault, answer)
    ]
    return any(layer.search(text) for text in told)


def false_alarms(answer: Answer) -> list[str]:
    """What is said of a mended twin above a note, an error, or a status that is dead."""
    loud = [
        f"{f['code']} {f['severity']}: {f['fact'][:120]}" for f in answer.findings if f["severity"] != "note"
    ]
    dead = [f"{a}: {s}" for a, s in answer.statuses.items() if s not in ("trains", "frozen", "partial")]
    return [*loud, *(dead if not loud else []), *([answer.raised] if answer.raised else [])]


def evaluate(fault: Fault) -> dict[str, Any]:
    """The verdict on a program and the false alarms on its twin, as plain data."""
    verdict = asdict(judge(fault, ask(make(fault), fault)))
    alarms = false_alarms(ask(make(fault, twin=True), fault))
    return {"kind": fault.kind, **verdict, "false_alarms": alarms}
