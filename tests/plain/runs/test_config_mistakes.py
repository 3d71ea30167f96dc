"""Run configs with mistakes: each is named with its file and line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import frostline as fl
from frostline.errors import FrostlineError, PlanFileError, RunConfigError
from helpers.config_files import BASE, KEYS, PHASES, load
from helpers.messages import error_text

SOURCE = "a mapping with exactly one of npz, csv, images, function, such as {{npz: data.npz}}"


def message(text: str, error: type[FrostlineError] = RunConfigError) -> str:
    with pytest.raises(error) as caught:
        load(text)
    return str(caught.value)


# The schema -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"modle": "a"},
        {"data": {}},
        {"data": {"npz": "a", "csv": "b"}},
        {"data": {"npz": "a", "target": "b"}},
        {"plan": {"rulse": []}},
        {"plan": 3},
        {"epochs": 0},
        {"validation": 1.5},
        {"backend": "mxnet"},
        {"compile": {"loss": "mse"}},
    ],
    ids=str,
)
def test_what_is_refused_is_invalid_by_the_schema(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(BASE) | change, fl.run_schema())


# Mistakes ---------------------------------------------------------------------------------------------


def line(number: int, what: str, **more: str) -> str:
    return error_text(f"run.yaml, line {number}: {what}", **more)


MISTAKES = {
    "an unknown key": (
        BASE.replace("model", "modle"),
        line(2, "unknown key 'modle'", expected=f"one of {KEYS}", fix="did you mean 'model'?"),
    ),
    "an unknown key of the data": (
        BASE.replace("data.npz", "data.npz\n  z: ids"),
        line(5, "unknown key 'z'", expected="one of npz, x, y, sample_weight", fix="did you mean 'npz'?"),
    ),
    "an unknown key of the plan": (
        BASE.replace("rules:", "rulse:"),
        line(
            6,
            "unknown key 'rulse'",
            expected="one of frostline, default, batchnorm, stochastic, rules, phases",
            fix="did you mean 'rules'?",
        ),
    ),
    "an unknown key of compile": (
        f"{BASE}compile:\n  optimiser: adam\n  loss: mse\n",
        line(
            11,
            "unknown key 'optimiser'",
            expected="one of optimizer, loss, metrics, loss_weights, jit_compile, steps_per_execution",
            fix="did you mean 'optimizer'?",
        ),
    ),
    "a key that is missing": (
        BASE.replace("output: out\n", ""),
        line(1, "the key 'output' is missing"),
    ),
    "no version": (
        BASE.replace("frostline: 1\n", ""),
        line(1, "the key 'frostline' is missing", fix="begin the run with 'frostline: 1'"),
    ),
    "another version": (
        BASE.replace("frostline: 1", "frostline: 2"),
        line(1, "frostline has a wrong value", received="2 (whole number)", expected="1"),
    ),
    "no kind of data": (
        BASE.replace("npz: ", "nzp: "),
        line(3, "data has a wrong value", received="mapping {{'nzp': 'data.npz'}}", expected=SOURCE),
    ),
    "two kinds of data": (
        BASE.replace("data.npz", "data.npz\n  csv: table.csv"),
        line(
            3,
            "data has a wrong value",
            received="mapping {{'npz': 'data.npz', 'csv': 'table.csv'}}",
            expected=SOURCE,
        ),
    ),
    "a wrong fraction": (
        f"{BASE}validation: 1.5\n",
        line(10, "validation has a wrong value", received="1.5 (number)", expected="less than 1"),
    ),
    "epochs that are not a number": (
        BASE.replace("epochs: 2", "epochs: many"),
        line(8, "epochs has a wrong value", received="'many' (text)", expected="a whole number"),
    ),
    "a batch beyond what is counted": (
        f"{BASE}batch_size: 9223372036854775808\n",
        line(
            10,
            "batch_size has a wrong value",
            received="9223372036854775808 (whole number)",
            expected="less than or equal to 1000000000",
        ),
    ),
    "no epochs": (
        BASE.replace("epochs: 2\n", ""),
        line(1, "the key 'epochs' is missing", fix="add epochs: 10, or phases to the plan"),
    ),
    "epochs beside phases": (
        f"{PHASES}epochs: 3\nvalidation: 0.2\n",
        line(
            11,
            "epochs cannot be combined with a plan with phases, which say how long they last",
            received="epochs: 3",
            fix="leave it out, or give the phases other epochs",
        ),
    ),
    "a rule without a selector": (
        BASE.replace("- train: 'head/**'", "- lr: 0.1"),
        line(
            7,
            "a rule needs exactly one of 'train', 'freeze' and 'assigned'",
            received="a rule with the keys lr",
        ),
    ),
    "a selector that cannot be read": (
        BASE.replace("'head/**'", "head**"),
        line(
            7,
            "the glob 'head**' has '**' next to other signs, at position 5",
            expected="'**' as a whole segment, as in 'a/**/b'",
        ),
    ),
    "a plateau on the validation that is not there": (
        PHASES,
        line(
            9,
            "'val_loss' is monitored, but the run has no validation",
            fix="add validation: 0.2, or a second source of data",
        ),
    ),
    "an early stop on the validation that is not there": (
        f"{BASE}stop_early:\n  monitor: val_loss\n",
        line(
            11,
            "'val_loss' is monitored, but the run has no validation",
            fix="add validation: 0.2, or a second source of data",
        ),
    ),
    "best weights over phases": (
        f"{PHASES}validation: 0.2\nstop_early: {{monitor: loss, restore_best: true}}\n",
        line(
            12,
            "with phases the best weights are restored by phase, since a phase may freeze what an earlier "
            "one trained",
            fix="put restore_best: true on the phases, beside their until:",
        ),
    ),
    "a callback that is not a function": (
        f"{BASE}callbacks: [mine]\n",
        line(10, "callback 1 has a wrong value", received="'mine' (text)", expected="module:function"),
    ),
    "a missing model": (
        BASE.replace("base.keras", "bsae.keras"),
        line(
            2,
            "there is no model 'bsae.keras'",
            expected="a .keras file, or module:function",
            fix="the folder '.' has base.keras",
        ),
    ),
    "missing data": (
        BASE.replace("data.npz", "dta.npz"),
        line(
            4,
            "there is no .npz file 'dta.npz'",
            expected="a path that begins at the folder of the config",
            fix="the folder '.' has data.npz",
        ),
    ),
    "a missing plan file": (
        f"{BASE[: BASE.index('plan:')]}plan: pln.yaml\nepochs: 2\noutput: out\n",
        line(
            5,
            "there is no plan file 'pln.yaml'",
            expected="a path that begins at the folder of the config",
            fix="the folder '.' has plan.yaml, run.yaml, wrong.yaml",
        ),
    ),
    "an array that is not there": (
        BASE.replace("data.npz", "data.npz\n  x: idss"),
        line(
            4,
            "'data.npz' has no array 'idss'",
            received="it has x, y, ids",
            fix="did you mean ids?",
        ),
    ),
    "a column that is not there": (
        BASE.replace("npz: data.npz", "csv: table.csv\n  target: knd"),
        line(4, "'table.csv' has no column 'knd'", received="it has a, b, kind", fix="did you mean kind?"),
    ),
    "no target": (
        BASE.replace("npz: data.npz", "csv: table.csv"),
        line(3, "the key 'target' of data is missing", fix="name the column to predict: target: price"),
    ),
    "a class that is not there": (
        BASE.replace("npz: data.npz", "images: images\n  classes: [cats, dog]"),
        line(
            4,
            "'images' has no folder for the class 'dog'",
            received="it has cats, dogs",
            fix="did you mean dogs?",
        ),
    ),
    "a plan in place of a run": (
        "frostline: 1\nrules: []\n",
        line(
            1,
            "this is a plan, not a run",
            expected="a run: a model, data, a plan, and where the results go",
            fix="write one with `frostline init --run MODEL DATA`, and in it: plan: run.yaml",
        ),
    ),
    "a duplicate key": (
        f"{BASE}epochs: 3\n",
        line(
            10,
            "the key 'epochs' stands twice",
            received="first on line 8, again on line 10",
            fix="keep one of them",
        ),
    ),
    "nothing": (
        "",
        "run.yaml is empty.\n  fix:      write one with `frostline init --run MODEL DATA`",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_with_its_line(folder: Path, case: str) -> None:
    text, expected = MISTAKES[case]
    assert message(text) == expected.replace("{{", "{").replace("}}", "}")


def test_a_mistake_in_the_plan_file_is_named_with_the_line_of_that_file(folder: Path) -> None:
    text = f"{BASE[: BASE.index('plan:')]}plan: wrong.yaml\nepochs: 2\noutput: out\n"
    assert message(text, PlanFileError).startswith("wrong.yaml, line 2: unknown key 'rulse'.")


def test_a_bad_config_ends_before_anything_heavy_is_imported(folder: Path) -> None:
    (folder / "run.yaml").write_text(BASE.replace("model", "modle"))
    code = (
        "import sys\nfrom frostline.cli.app import main\nsys.argv = ['frostline', 'fit', 'run.yaml']\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n"
        "    heavy = {'keras', 'tensorflow', 'jax', 'jaxlib', 'torch'} & set(sys.modules)\n"
        "    print(ended.code, sorted(heavy))"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
    assert done.stderr.startswith("error: run.yaml, line 2: unknown key 'modle'.")
    assert time.monotonic() - began < 10
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["images"]
