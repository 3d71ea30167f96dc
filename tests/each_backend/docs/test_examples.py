"""Every script in `examples/` runs and proves what it claims: those named after a backend on it alone."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import keras
import pytest

from helpers.folders import EXAMPLES

BACKENDS = ("tensorflow", "jax", "torch")
HERE = keras.backend.backend()


def runs_here(script: Path) -> bool:
    """A name that ends in a backend is for that one."""
    ending = script.stem.split("_")[-1]
    return ending not in BACKENDS or ending == HERE


SCRIPTS = sorted(script for script in EXAMPLES.glob("*.py") if runs_here(script))


def test_there_is_a_loop_for_this_backend() -> None:
    assert EXAMPLES / f"custom_loop_{HERE}.py" in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_runs(
    script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", HERE)
    assert re.search(r"require_ok\(\)|\.ok\b|fl\.why", script.read_text(encoding="utf-8")), "proves nothing"
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.every_backend
def test_what_the_custom_loop_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """The same on every backend, but for the losses, which fall."""
    runpy.run_path(str(EXAMPLES / f"custom_loop_{HERE}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    losses = [float(number) for number in re.findall(r"loss ([0-9.]+)", printed)]
    assert len(losses) == 2
    assert losses[1] < losses[0] < 0.6
    assert re.sub(r"loss [0-9.]+", "loss", printed).splitlines() == [
        "head only: loss",
        "trained: head/kernel, head/bias",
        "intact:  block_1/kernel, block_1/bias, block_2/kernel, block_2/bias",
        "head and block 2: loss",
        "trained: block_2/kernel, head/kernel",
        "intact:  block_1/kernel, block_1/bias, block_2/bias, head/bias",
    ]
