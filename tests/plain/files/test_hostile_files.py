"""Files that are traps: one error for each, in words, soon, in little memory; nothing in them is run."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import pytest
from blake3 import blake3

from frostline.cli.app import main
from helpers.hostile import CASES, check_refused
from helpers.readers import PLAIN, READERS, placed

RUN = (
    "frostline: 1\nmodel: {model}\ndata: {data}\nepochs: 2\nplan: {plan}\n"
    "compile: {{optimizer: adam, loss: mse}}\noutput: out\n"
)
PARTS = {"model": "mine:model", "data": "{function: mine:data}", "plan": "{rules: [{train: 'head/**'}]}"}


@pytest.mark.parametrize("name", [name for name, (kind, _, _) in CASES.items() if kind in PLAIN])
def test_the_library_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(name, tmp_path)


def words_for(kind: str, folder: Path, path: Path) -> tuple[str, ...] | None:
    """The command that comes to such a file without a backend; None where there is none."""
    parts = dict(PARTS)
    if kind == "receipt":
        return "verify", path.name
    if kind == "delta":
        return "delta", "show", path.name
    if kind == "run config":
        return "fit", path.name, "--dry-run"
    if kind in ("plan", "plan in JSON"):
        parts["plan"] = path.name
    elif kind == "mask":
        digest = blake3(path.read_bytes()).hexdigest()
        rule = f"train: 'a/**', mask: {{file: {path.name}, digest: 'blake3:{digest}'}}"
        parts["plan"] = f"{{rules: [{{{rule}}}]}}"
    elif kind == "model":
        parts["model"] = path.name
    elif kind == "arrays":
        parts["data"] = f"{{npz: {path.name}, x: x, y: y}}"
    else:
        return None
    (folder / "run.yaml").write_text(RUN.format(**parts))
    return "fit", "run.yaml", "--dry-run"


ON_THE_COMMAND_LINE = [
    name
    for name, (kind, _, _) in CASES.items()
    if kind in ("receipt", "delta", "run config", "plan", "plan in JSON", "mask", "model", "arrays")
    # What the members hold is read with the model, in a process with a backend.
    and name != "arrays of Python objects"
]


@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
def test_the_command_line_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kind, content, text = CASES[name]
    path = placed(READERS[kind], tmp_path, content())
    monkeypatch.chdir(tmp_path)
    words = words_for(kind, tmp_path, path)
    assert words is not None
    before = {one.name for one in tmp_path.iterdir()}
    monkeypatch.setattr(sys, "argv", ["frostline", *words])
    began, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("error: ")
    assert text in err
    assert "Traceback" not in err
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500 << 10  # in kB
    assert {one.name for one in tmp_path.iterdir()} == before
