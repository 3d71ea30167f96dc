"""`frostline show` and `frostline plan`: what they print, and the command as it is installed.

See also `test_cli_init`, `test_cli_verify`, and `test_cli_refused` for what no command can use.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import frostline as fl
from helpers import small_models
from helpers.command_line import Runner

BACKEND = keras.backend.backend()


# show ---------------------------------------------------------------------------------------------


def test_show(run: Runner) -> None:
    done = run("show", "base.keras")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        "two_layers",
        "layer  type   weights       elements  flagged to train",
        "a      Dense  kernel, bias        15  2 of 2",
        "head   Dense  kernel, bias         8  2 of 2",
        "",
        "two_layers: 4 weights, 23 elements, 92 B; Keras would train 23 of them now",
        "addresses of the weights: --full",
    ]


def test_show_full(run: Runner) -> None:
    assert run("show", "bn.keras", "--full").lines[1:6] == [
        "address             shape  elements  dtype    role       Keras's flag",
        "a/kernel            4 x 3        12  float32  weight     trains",
        "a/bias              3             3  float32  weight     trains",
        "bn/gamma            3             3  float32  weight     trains",
        "bn/beta             3             3  float32  weight     trains",
    ]


def test_show_json(run: Runner) -> None:
    data = run("show", "bn.keras", "--json").data
    assert (data["frostline"], data["model"]) == (1, "batch_norm")
    assert [w["address"] for w in data["weights"]] == [
        w.address for w in fl.inventory(small_models.batch_norm()).of_role("weight", "statistic")
    ]
    assert data["weights"][4] == {
        "address": "bn/moving_mean",
        "aliases": [],
        "role": "statistic",
        "shape": [3],
        "dtype": "float32",
        "elements": 3,
        "flag": False,
    }


def test_a_function_instead_of_a_file(run: Runner) -> None:
    assert run("show", "my_models:good").lines[0] == "good"


@pytest.mark.parametrize("name", ["Registered", "Plain"])
def test_classes_of_other_modules(run: Runner, name: str) -> None:
    done = run("show", f"{name.lower()}.keras", "--import", "my_layers")
    assert done.code == 0
    assert done.lines[2].split() == ["head", name, "kernel,", "bias", "10", "2", "of", "2"]


def test_python_code_in_a_file(run: Runner) -> None:
    done = run("show", "lambda.keras", "--unsafe")
    assert done.code == 0
    assert done.lines[0] == "python"


# plan ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["plan.yaml", "plan.json"])
def test_plan(run: Runner, plan: str) -> None:
    done = run("plan", "base.keras", plan, "--optimizer", "adam")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        "Plan for two_layers",
        "weights  shape      elements  status  why",
        "a/**     2 weights        15  frozen  default: freeze",
        "head/**  2 weights         8  trains  rule 1: train 'head/**' (lr x 0.1)",
        "",
        "trains 8 of 23 elements (35%), in 2 of 4 weights",
        "run in inference mode: a (1 layer in all)",
        "optimizer memory (Adam): 64 B, against 184 B if all trained",
    ]


def test_plan_full(run: Runner) -> None:
    assert run("plan", "base.keras", "plan.yaml", "--full").lines[2:6] == [
        "a/kernel     4 x 3        12  frozen  default: freeze",
        "a/bias       3             3  frozen  default: freeze",
        "head/kernel  3 x 2         6  trains  rule 1: train 'head/**' (lr x 0.1)",
        "head/bias    2             2  trains  rule 1: train 'head/**' (lr x 0.1)",
    ]


def test_plan_json(run: Runner) -> None:
    data = run("plan", "base.keras", "plan.yaml", "--json").data
    assert {key: data[key] for key in data if key != "weights"} == {
        "frostline": 1,
        "model": "two_layers",
        "plan": ["train 'head/**' (lr x 0.1)"],
        "default": "freeze",
        "trained_elements": 8,
        "frozen_elements": 15,
        "inference": ["a"],
        "notes": [],
    }
    assert data["weights"][2] == {
        "address": "head/kernel",
        "role": "weight",
        "shape": [3, 2],
        "dtype": "float32",
        "status": "trains",
        "rule": 1,
        "why": "rule 1: train 'head/**' (lr x 0.1)",
        "lr": 0.1,
        "decay": 1.0,
    }


def test_a_plan_that_trains_nothing_says_so(run: Runner) -> None:
    done = run("plan", "base.keras", "optional.yaml")
    assert done.code == 0
    assert done.lines[-3:-1] == [
        "trains 0 of 23 elements (0%), in 0 of 4 weights",
        "run in inference mode: the whole model (3 layers in all)",
    ]


# The command itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("shw", "base.keras"), ("show",), ("show", "base.keras", "--ful"), ("plan", "base.keras")]
)
def test_words_that_it_does_not_know(run: Runner, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: frostline")


def frostline(*words: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("frostline")
    return subprocess.run([command, *words], capture_output=True, text=True, check=False)


def test_the_installed_command(folder: Path) -> None:
    done = frostline("plan", "base.keras", "plan.yaml", "--backend", BACKEND, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["trained_elements"] == 8
    done = frostline("show", "nowhere.keras")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no model 'nowhere.keras'.\n")
