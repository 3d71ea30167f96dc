"""Run configs: what they may say, and every mistake named with its line, before Keras is imported."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml

import frostline as fl
from frostline.data.csv_table import load_csv
from frostline.data.npz import load_npz
from frostline.data.samples import Samples
from frostline.data.sources import CsvData, NpzData
from frostline.errors import DataError, FrostlineError, PlanFileError, RunConfigError
from frostline.runs.config import RunConfig, load_run
from frostline.runs.schema import RunData
from helpers.folders import SCHEMAS
from helpers.messages import error_text

PUBLISHED = SCHEMAS / "run.json"
SCHEMA_OF_PLANS = SCHEMAS / "plan.json"
KEYS = (
    "frostline, model, data, validation, plan, compile, epochs, batch_size, seed, output, stop_early, "
    "reduce_lr, callbacks, backend, import, unsafe"
)
SOURCE = "a mapping with exactly one of npz, csv, images, function, such as {{npz: data.npz}}"
BASE = """\
frostline: 1
model: base.keras
data:
  npz: data.npz
plan:
  rules:
    - train: 'head/**'
epochs: 2
output: out
"""
PHASES = BASE.replace("epochs: 2\n", "").replace(
    "output", "  phases:\n    - {name: probe, epochs: 3, until: {monitor: val_loss}}\noutput"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and a plan; the process stands in it."""
    with zipfile.ZipFile(tmp_path / "base.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 2)), y=np.zeros(4), ids=np.zeros((4, 3)))
    (tmp_path / "table.csv").write_text("a,b,kind\n1,2,ant\n3,4,bee\n")
    (tmp_path / "plan.yaml").write_text("frostline: 1\nrules: [{train: 'head/**'}]\n")
    (tmp_path / "wrong.yaml").write_text("frostline: 1\nrulse: []\n")
    for name in ("cats", "dogs"):
        (tmp_path / "images" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str) -> RunConfig:
    Path("run.yaml").write_text(text)
    return load_run("run.yaml")


def message(text: str, error: type[FrostlineError] = RunConfigError) -> str:
    with pytest.raises(error) as caught:
        load(text)
    return str(caught.value)


# What may be said -----------------------------------------------------------------------------------


def test_a_config(folder: Path) -> None:
    config = load(BASE)
    assert config.plan == fl.Plan().train("head/**")
    assert (config.model, config.output) == ("base.keras", Path("out"))
    assert config.data.data == NpzData(npz="data.npz")
    assert (config.data.batch_size, config.data.seed, config.data.validation) == (32, 0, None)


def test_json_is_read_too(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps(yaml.safe_load(BASE)))
    assert load_run("run.json").data == load(BASE).data


@pytest.mark.parametrize("plan", ["plan.yaml", "{rules: [{train: 'head/**'}]}"])
def test_a_plan_in_a_file_or_in_place(folder: Path, plan: str) -> None:
    text = f"{BASE[: BASE.index('plan:')]}plan: {plan}\nepochs: 2\noutput: out\n"
    assert load(text).plan == fl.Plan().train("head/**")


def test_phases(folder: Path) -> None:
    config = load(f"{PHASES}validation: 0.5\n")
    assert isinstance(config.plan, fl.Schedule)
    assert config.plan.phases == (fl.Phase("probe", epochs=3, until=fl.Plateau("val_loss")),)


def test_paths_begin_at_the_folder_of_the_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(BASE)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    config = load_run("../run.yaml")
    assert Path(config.model).resolve() == folder / "base.keras"
    assert config.output.resolve() == folder / "out"


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "0.0001"])
def test_numbers_with_an_exponent_are_numbers(folder: Path, number: str) -> None:
    text = f"{BASE}compile:\n  optimizer: {{name: adam, learning_rate: {number}}}\n  loss: mse\n"
    assert load(text).data.compile.optimizer == {"name": "adam", "learning_rate": 0.0001}


def test_names_that_look_like_numbers_are_names(folder: Path) -> None:
    np.savez(folder / "data.npz", **{"1e5": np.zeros((4, 2)), "y": np.zeros(4)})
    assert load(BASE.replace("data.npz", "data.npz\n  x: 1e5")).data.data.x == "1e5"


def test_the_second_source_takes_the_rest_from_the_first(folder: Path) -> None:
    (folder / "more.csv").write_text("kind,a,b\nant,1,2\n")
    text = BASE.replace("npz: data.npz", "csv: table.csv\n  target: kind\n  classes: [ant, bee]")
    config = load(f"{text}validation: {{csv: more.csv}}\n")
    assert config.validation == CsvData(csv="more.csv", target="kind", classes=["ant", "bee"])


# The schema -------------------------------------------------------------------------------------------


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == fl.run_schema()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(fl.run_schema())


@pytest.mark.parametrize("text", [BASE, PHASES, f"{BASE}validation: 0.2\n"])
def test_what_is_read_is_valid_by_the_schema(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), fl.run_schema())


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


def test_every_key_is_described() -> None:
    names = [field.alias or name for name, field in RunData.model_fields.items()]
    assert ", ".join(names) == KEYS
    assert all(field.description for field in RunData.model_fields.values())


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
    "no epochs": (
        BASE.replace("epochs: 2\n", ""),
        line(1, "the key 'epochs' is missing", fix="add epochs: 10, or phases to the plan"),
    ),
    "epochs beside phases": (
        f"{PHASES}epochs: 3\nvalidation: 0.2\n",
        line(
            11,
            "the plan has phases, which say how long they last, so epochs has no place beside them",
            received="epochs: 3",
            fix="leave it out, or give the phases other epochs",
        ),
    ),
    "a rule without a selector": (
        BASE.replace("- train: 'head/**'", "- lr: 0.1"),
        line(
            7,
            "a rule needs exactly one of 'train' and 'freeze'",
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
            "with phases the best weights are restored by phase, since a phase may freeze what one before "
            "it trained",
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


# Tables -----------------------------------------------------------------------------------------------


def table(text: str | bytes, target: str | list[str] = "y", **more: Any) -> Samples:
    Path("t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_csv(Path("t.csv"), CsvData(csv="t.csv", target=target, **more))


def test_a_table_of_numbers(folder: Path) -> None:
    found = table("a,y,b\n1,10,2\n\n3,20,4.5e0\n")
    np.testing.assert_array_equal(found.x, np.array([[1, 2], [3, 4.5]], "float32"))
    np.testing.assert_array_equal(found.y, np.array([10, 20], "float32"))
    assert (found.x.dtype, found.y.dtype, found.classes) == ("float32", "float32", ())
    assert found.rows.tolist() == [2, 4]


def test_labels_become_numbers_in_sorted_order(folder: Path) -> None:
    found = table('a,y\n1,bee\n2,ant\n3,"cat, small"\n')
    assert (found.y.tolist(), found.classes) == ([1, 0, 2], ("ant", "bee", "cat, small"))
    assert found.y.dtype == "int32"


def test_labels_in_an_order_of_ones_own_and_one_hot(folder: Path) -> None:
    found = table("a,y\n1,2\n2,1\n", classes=["2", "1"], labels="one_hot")
    assert found.y.tolist() == [[1, 0], [0, 1]]


def test_columns_by_name(folder: Path) -> None:
    text = "\ufeffid;a;w;y;b\nn1;1;5;7;8\nn2;2;6;9;10\n"
    found = table(text, ["y", "b"], features=["a"], sample_weight="w", delimiter=";")
    assert (found.x.tolist(), found.y.tolist()) == ([[1], [2]], [[7, 8], [9, 10]])
    assert found.weight.tolist() == [5, 6]


BAD_TABLES = {
    "a ragged line": (
        'a,b,y\n1,2,3\n"x\ny",2\n',
        error_text(
            "'t.csv', line 4 has too few values",
            received="2 values: x\ny, 2",
            expected="3 values: a, b, y",
        ),
    ),
    "a line too long": (
        "a,y\n1,2,3\n",
        error_text(
            "'t.csv', line 2 has too many values",
            received="3 values: 1, 2, 3",
            expected="2 values: a, y",
            fix="put text that holds the delimiter in double quotes",
        ),
    ),
    "a word among numbers": (
        "a,y\n1,2\nmany,3\n",
        error_text(
            "'t.csv', line 3: the column 'a' holds no finite number",
            received="'many'",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "an empty value": (
        "a,y\n1,2\n ,3\n",
        error_text(
            "'t.csv', line 3: the column 'a' holds no finite number",
            received="an empty value",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "not a number": (
        "a,y\n1,2\nnan,3\n",
        error_text(
            "'t.csv', line 3: the column 'a' holds no finite number",
            received="'nan'",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "a word among targets": (
        "a,y\n1,2\n2,high\n",
        error_text(
            "'t.csv', line 3: the column 'y' holds no finite number",
            received="'high'",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "another delimiter": (
        "a;y\n1;2\n",
        error_text(
            "'t.csv' has no column 'y'",
            received="it has a;y",
            fix='say what stands between two values: delimiter: ";"',
        ),
    ),
    "a column twice": (
        "a,a,y\n1,2,3\n",
        error_text("'t.csv', line 1: the column 'a' stands twice", received="a, a, y"),
    ),
    "no samples": ("a,y\n", error_text("t.csv has no samples")),
    "nothing": (
        "",
        error_text("'t.csv' is empty", expected="a line of column names, then one line per sample"),
    ),
    "Latin-1": (b"a,y\n1,2\ncaf\xe9,3\n", error_text("'t.csv' is not text in UTF-8", received="byte 0xe9")),
    "an open quote": (
        'a,y\n1,"2\n',
        error_text("'t.csv' is not a table of comma-separated values: unexpected end of data"),
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_named_with_its_line(folder: Path, case: str) -> None:
    text, expected = BAD_TABLES[case]
    with pytest.raises(DataError) as caught:
        table(text)
    assert str(caught.value) == expected


def test_a_label_that_the_config_does_not_know(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        table("a,y\n1,ant\n2,be\n", classes=["ant", "bee"])
    assert str(caught.value) == error_text(
        "'t.csv', line 3: the column 'y' holds an unknown label",
        received="'be'",
        expected="one of ant, bee",
        fix="did you mean 'bee'?",
    )


# Archives ---------------------------------------------------------------------------------------------


def archive(**arrays: Any) -> str:
    np.savez("bad.npz", **arrays)
    with pytest.raises(DataError) as caught:
        load_npz(Path("bad.npz"), NpzData(npz="bad.npz"))
    return str(caught.value)


def test_arrays_of_different_lengths(folder: Path) -> None:
    assert archive(x=np.zeros((4, 2)), y=np.zeros(3)) == error_text(
        "the arrays of bad.npz have different numbers of samples", received="x has 4, y has 3"
    )


def test_arrays_of_objects(folder: Path) -> None:
    assert archive(x=np.array([1, "a"], object), y=np.zeros(2)) == error_text(
        "the array 'x' of 'bad.npz' cannot be read",
        received="an array of Python objects",
        expected="an array of numbers",
        fix="save it with one type and one shape for all samples",
    )


def test_arrays_of_text(folder: Path) -> None:
    assert archive(x=np.array(["a", "b"]), y=np.zeros(2)) == error_text(
        "x of bad.npz holds no numbers", received="an array of <U1"
    )


def test_several_inputs_by_name(folder: Path) -> None:
    found = load_npz(Path("data.npz"), NpzData(npz="data.npz", x={"left": "x", "right": "ids"}))
    assert {name: value.shape for name, value in found.x.items()} == {"left": (4, 2), "right": (4, 3)}


# Splitting --------------------------------------------------------------------------------------------


def test_a_split_is_the_same_for_the_same_seed_and_loses_nothing() -> None:
    samples = Samples(x=np.arange(10), y=np.arange(10))
    train, held = samples.split(0.3, seed=1)
    again = samples.split(0.3, seed=1)
    assert (len(train), len(held)) == (7, 3)
    assert sorted([*train.x, *held.x]) == list(range(10))
    assert held.x.tolist() == again[1].x.tolist()
    assert held.x.tolist() != [7, 8, 9]
    assert samples.split(0.3, seed=2)[1].x.tolist() != held.x.tolist()


@pytest.mark.parametrize(("fraction", "held"), [(0.001, 1), (0.999, 9)])
def test_both_sides_of_a_split_keep_a_sample(fraction: float, held: int) -> None:
    assert len(Samples(x=np.arange(10)).split(fraction, seed=0)[1]) == held


def test_one_sample_cannot_be_split() -> None:
    with pytest.raises(DataError) as caught:
        Samples(x=np.arange(1), source="t.csv").split(0.5, seed=0)
    assert str(caught.value) == error_text(
        "t.csv has too few samples to hold some out for validation",
        received="1 in all",
        expected="at least 2",
    )
