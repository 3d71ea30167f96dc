"""Reads the programs of the benchmark: header, marks, and the mended twin. Needs no Keras.

A program is one file of `programs/`:

- its docstring says in one sentence what is wrong;
- `FAULT` is its header, a literal (see `KEYS`);
- `program()` returns `(model, x, y)`, the model compiled, or `(loss, variables)` for a loop of one's own,
  as `fl.explain` takes them; `plan()`, if it is there, returns the plan under which the model is to train;
- `# <- here` ends each line at which the fault happens when the loss is computed;
- `# mended: CODE` stands below a line and replaces it in the twin; further ones directly below are added.

The twin is thus the program but for these lines, with all line numbers as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "programs"
BACKENDS = ("torch", "jax", "tensorflow")

KINDS = {
    "K1": "not finite",
    "K2": "moved by a penalty only",
    "K3": "zero, and stays so (its twin is zero at this point only)",
    "K4": "steps far too small or too large",
    "K5": "a penalty hides that gradients vanish",
    "K6": "units of a layer stay equal",
    "K7": "no effect (a note)",
    "K8": "statistics never move",
    "K9": "zero: units off or saturated, masks, underflow",
    "K10": "loss, output and targets do not fit",
    "K11": "loss scaling",
    "runs away": "the first steps throw the weights away",
    "cut": "no gradient through an operation",
    "left framework": "computed outside the framework",
    "no route": "the loss does not use it",
    "untracked": "a variable that the model does not know",
    "made in call": "layers made anew at each call",
    "flags": "flags that do not do what they seem to",
    "stale": "compiled before it was changed",
    "plan": "a plan that trains nothing where it should",
}

STATUSES = {
    "trains",
    "partial",
    "frozen",
    "cut",
    "unused",
    "zero",
    "leaks",
    "stale",
    "untracked",
    "not_finite",
}

SYMPTOMS = {
    "nan": "the weights named become NaN or infinite; in the twin all weights stay finite",
    "loss not finite": "the loss is NaN or infinite; the twin's never is",
    "still": "the weights named keep every bit; in the twin each moves",
    "still columns": "all but one of the columns of the kernel named keep every bit; in the twin more move",
    "blind": "the weights named end the same whatever the targets are; in the twin they do not",
    "tiny": "each weight named moves by less than a millionth of itself in a step; in the twin by more",
    "equal": "the units of each kernel named stay equal to one another; in the twin they do not",
    "moves": "the weights named move, though they are frozen; in the twin they do not",
    "raises": "plain `fit` raises; that of the twin does not",
    "explodes": "a later loss is above ten times the first, or not finite; the twin's falls",
    "loss above 50": "the first loss is above 50 with one-hot targets; the twin's is below",
    "unlearned": "the error stays above 0.6 of that of a constant; the twin's falls below half of it",
    "unbounded": "the loss falls below zero, which it cannot where targets are in range",
    "outputs outside 0..1": "outputs leave 0..1 under a loss of probabilities; the twin's do not",
    "targets do not sum to 1": "rows of targets do not sum to one under a softmax; the twin has no softmax",
    "targets out of reach": "targets lie outside of what the last activation can give; the twin's do not",
    "loss has a floor": "the loss cannot come near zero whatever the weights; the twin's can",
    "batch dependence": "the loss of the whole batch is not the mean of the losses of its samples",
    "no effect": "the loss on these data stays as it is when the weights named are changed",
    "not saved": "a second model with the same weights gives other outputs; in the twin the same",
    "hidden variable": "what `HIDDEN` of the program holds changes the loss, and is not among the weights",
    "hidden layer": "the model has fewer weights than its twin",
    "random": "two calls in training mode differ; in the twin they do not",
}

KEYS = {
    "kind": "one of KINDS",
    "backends": "those on which the program exists; all three if left out",
    "statuses": "by address of the weight, `*` and `?` allowed: its right status",
    "reason": "of `cut`: the reasons, all of them",
    "says": "a regular expression that the finding's words must match (case aside)",
    "why": "a regular expression that the answer of `fl.why` must match",
    "severity": "`note` where nothing above a note is right",
    "layer": "the layer that a finding or cut must name, where no line of the program is at fault",
    "symptom": "what plain training shows: symptom, or several separated by `|`, and the weights",
    "steps": "how many steps the truth is measured over; 5 if left out",
    "source": "where the fault comes from; an entry of sources.json, or words",
}

_HERE = re.compile(r"# <- here$")
_MENDED = re.compile(r"^\s*# mended: ?(.*)$")


@dataclass(frozen=True)
class Fault:
    """One program of the benchmark, read and not run."""

    name: str
    path: Path
    doc: str
    header: Mapping[str, Any]
    text: str = field(repr=False)

    @property
    def kind(self) -> str:
        return str(self.header["kind"])

    @property
    def backends(self) -> tuple[str, ...]:
        return tuple(self.header.get("backends", BACKENDS))

    @property
    def statuses(self) -> dict[str, str]:
        return dict(self.header.get("statuses", {}))

    @property
    def marks(self) -> set[int]:
        """The lines at fault."""
        return {n for n, line in enumerate(self.text.splitlines(), start=1) if _HERE.search(line)}

    @property
    def mended(self) -> str:
        """The text of the twin."""
        out: list[str] = []
        indent = None
        for line in self.text.splitlines():
            found = _MENDED.match(line)
            if found is None:
                indent = None
                out.append(line)
            elif indent is None:
                indent = re.match(r"\s*", out[-1])[0]
                out[-1:] = [indent + found[1] if found[1] else "", ""]
            else:
                out.append(indent + found[1])
        return "\n".join(out) + "\n"


def matches(pattern: str, address: str) -> bool:
    """Whether an address of a weight is one that a header names; it may stand below an outer model."""
    return fnmatchcase(address, pattern) or fnmatchcase(address, f"*/{pattern}")


def read(path: Path) -> Fault:
    """Read one program.

    Raises:
        ValueError: Its header is not a literal dict.
    """
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "FAULT":
            header = ast.literal_eval(node.value)
            return Fault(path.stem, path, ast.get_docstring(tree) or "", header, text)
    raise ValueError(f"{path.name}: no FAULT")


def every(backend: str | None = None) -> list[Fault]:
    """All programs, or those that exist on a backend, by name."""
    found = [read(path) for path in sorted(FOLDER.glob("*.py"))]
    return [fault for fault in found if backend is None or backend in fault.backends]


def symptoms(fault: Fault) -> dict[str, list[str]]:
    """The symptoms that a header claims, any of which is enough, and the weights that show them."""
    [(names, weights)] = fault.header["symptom"].items()
    return {name: list(weights) for name in names.split("|")}


def complaints(fault: Fault, sources: set[str] = frozenset()) -> list[str]:
    """What is wrong with a program's header and marks; nothing where it is in order."""
    header, found = fault.header, []

    def check(right: bool, what: str) -> None:
        if not right:
            found.append(f"{fault.name}: {what}")

    check(set(header) <= set(KEYS), f"unknown keys {sorted(set(header) - set(KEYS))}")
    check(header.get("kind") in KINDS, f"kind {header.get('kind')!r}")
    check(bool(fault.doc), "no docstring")
    check(set(fault.backends) <= set(BACKENDS), f"backends {fault.backends}")
    check(set(fault.statuses.values()) <= STATUSES, f"statuses {fault.statuses}")
    check(bool(fault.statuses) or "says" in header, "neither statuses nor says")
    check(len(header.get("symptom", {})) == 1, "one symptom, or several joined by |")
    check(set(symptoms(fault)) <= set(SYMPTOMS), f"symptom {header.get('symptom')}")
    check(bool(header.get("source")), "no source")
    check(header.get("severity", "note") == "note", "severity is `note` or left out")
    for key in ("says", "why"):
        re.compile(header.get(key, ""))
    published = "/" in header["source"] and header["source"].split("/")[0] in {
        s.split("/")[0] for s in sources
    }
    check(not published or header["source"] in sources, f"source {header['source']!r} is not in sources.json")
    check(fault.text != fault.mended, "no line is mended")
    lines = [line for line in fault.text.splitlines() if line.strip() and not _MENDED.match(line)]
    check(_size(fault) <= 45, f"{_size(fault)} lines of code")
    check(len(lines) >= 10, f"{len(lines)} lines")
    ast.parse(fault.mended)
    return found


def _size(fault: Fault) -> int:
    """Lines of the program without its docstring, header and mended lines."""
    tree = ast.parse(fault.text)
    left_out: set[int] = set()
    for node in tree.body[:1] + [
        n for n in tree.body if getattr(n, "targets", [None])[0:1] and _is_header(n)
    ]:
        left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(fault.text.splitlines(), start=1)
    return sum(1 for n, line in lines if n not in left_out and line.strip() and not _MENDED.match(line))


def _is_header(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "FAULT"
