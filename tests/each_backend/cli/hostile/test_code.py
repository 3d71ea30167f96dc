"""Code that a command runs: it may end nothing but itself, and print nothing among results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from frostline.cli import show
from helpers.command_line import Runner

pytestmark = pytest.mark.eager
ENDED = "\n  expected: code that returns, or fails with an Exception"
GUARD = "\n  fix:      put what ends the program under if __name__ == '__main__':"
CONFIG = {
    "frostline": 1,
    "model": "parts:plain",
    "data": {"npz": "data.npz"},
    "compile": {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"},
    "plan": {"rules": [{"train": "head/**"}]},
    "epochs": 1,
    "batch_size": 4,
    "output": "out",
}


def written(**changes: Any) -> str:
    Path("run.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))
    return "run.yaml"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("show", "parts:plain", "--import", "leaves"), "the module 'leaves' cannot be imported"),
        (("show", "leaves:model"), "the module 'leaves' cannot be imported"),
        (("show", "parts:end"), "parts:end failed"),
        (("audit", "parts:plain", "--data", "parts:data", "--loss", "mse"), "parts:data failed"),
        (
            ("audit", "parts:plain", "--data", "data.npz", "--loss", "parts:loss"),
            "the code that the command ran failed",
        ),
        (
            ("why", "parts:plain", "head/kernel", "--data", "data.npz", "--loss", "parts:loss"),
            "the code that the command ran failed",
        ),
        (
            ("audit", "parts:model_exit", "--data", "data.npz", "--loss", "sparse_categorical_crossentropy"),
            "the code that the command ran failed",
        ),
        (("init", "leaves:model", "--out", "plan.yaml"), "the module 'leaves' cannot be imported"),
        (("delta", "save", "parts:plain", "leaves:model", "-o", "d.safetensors"), "the module 'leaves'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_code_that_ends_the_program(run: Runner, folder: Path, words: tuple[str, ...], what: str) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {what}")
    assert "\n  received: SystemExit: 0 (" in done.err
    assert ", line 2)" in done.err or "/parts.py, line 13)" in done.err
    assert done.err.endswith(f"{ENDED}{GUARD}\n")


@pytest.mark.parametrize(
    ("how", "said"),
    [("own", "Own: mine"), ("closed", "GeneratorExit: "), ("typer", "Exit: 0")],
)
def test_other_ways_to_end_it(run: Runner, folder: Path, how: str, said: str) -> None:
    done = run(
        "audit", f"parts:model_{how}", "--data", "data.npz", "--loss", "sparse_categorical_crossentropy"
    )
    assert (done.code, done.out) == (2, "")
    assert said.split(":")[0] in done.err and "parts.py" in done.err
    assert "Traceback" not in done.err


FITS: dict[str, dict[str, Any]] = {
    "a callback": {"callbacks": ["parts:AtEnd"]},
    "batches": {"data": {"function": "parts:batches"}},
    "a loss": {"compile": {"optimizer": "sgd", "loss": "parts:loss"}},
    "a layer": {"model": "parts:model_exit", "batch_size": 8},
    "data": {"data": {"function": "parts:data"}},
    "a module": {"import": ["leaves"]},
}


@pytest.mark.parametrize("changes", FITS.values(), ids=FITS)
@pytest.mark.parametrize("dry", [False, True])
def test_a_training_that_its_code_ends(run: Runner, folder: Path, changes: dict[str, Any], dry: bool) -> None:
    if dry and "callbacks" in changes:
        return
    done = run("fit", written(**changes), "--json", *(["--dry-run"] if dry else []))
    assert (done.code, done.out) == (2, "")
    # TensorFlow tells what a thread of its own raised, and not where.
    assert "SystemExit: 0" in done.err and "defect of Frostline" not in done.err
    assert not (folder / "out" / "model.keras").exists()


def test_the_log_says_what_ended_a_training(run: Runner, folder: Path) -> None:
    done = run("fit", written(callbacks=["parts:AtEnd"]))
    assert done.err == (
        "error: the training was ended by the code that the run uses.\n"
        f"  received: SystemExit: 0 ({folder}/parts.py, line 13){ENDED}{GUARD}\n"
    )
    assert "raise ENDS[how]" in (folder / "out" / "log.txt").read_text()


def test_a_training_whose_code_goes_to_another_folder(run: Runner, folder: Path) -> None:
    message = run("fit", written(callbacks=["parts:Moves"])).err
    assert message == (
        "error: the code that the run uses changed the current folder.\n"
        f"  received: /\n  expected: {folder}\n"
        "  fix:      open files in it by their whole paths in place of os.chdir\n"
    )
    assert Path.cwd() == folder


def test_ctrl_c_is_no_error_of_the_code(run: Runner, folder: Path) -> None:
    done = run("show", "parts:plain", "--import", "stops")
    assert (done.code, done.out) == (130, "")


# What it prints ----------------------------------------------------------------------------------------

LOUD = {
    "audit": ("audit", "loud:model", "--data", "data.npz"),
    "fit": ("fit", "run.yaml"),
}


@pytest.mark.parametrize(
    "words", [LOUD["fit"], pytest.param(LOUD["audit"], marks=pytest.mark.slow)], ids=["fit", "audit"]
)
def test_what_code_prints_is_no_result(folder: Path, words: tuple[str, ...]) -> None:
    written(model="loud:model", compile=CONFIG["compile"], callbacks=[])
    code = "import sys; from frostline.cli.app import main; sys.argv[0] = 'frostline'; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words, "--json"], capture_output=True, text=True
    )
    assert isinstance(json.loads(done.stdout), dict), done.stderr
    assert "loud" not in done.stdout and done.stderr.count("loud") >= 4


# Defects of our own ------------------------------------------------------------------------------------


def test_what_nobody_foresaw_is_no_finding(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("\x1b[2Jnobody foresaw this")

    monkeypatch.setattr(show, "_table", fails)
    from frostline.model import user_code

    monkeypatch.setattr(user_code, "place_in_users_code", lambda error: "")
    done = run("show", "parts:plain")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Traceback") and "\x1b" not in done.err
    assert done.err.endswith("error: this is a defect of Frostline; please report the lines above.\n")


def test_names_of_figures_are_data(run: Runner) -> None:
    done = run("fit", written(callbacks=["parts:Notes"]))
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + done.err
    head = Path("out/history.csv").read_text().splitlines()[0]
    assert head == r"epoch,loss,5,a\udcff\x1b[31m,learning_rate,seconds"
