"""Run configs: what they may say, and every mistake named with its line, before Keras is imported."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

import frostline as fl
from frostline.data.sources import CsvData, NpzData
from frostline.runs.config import load_run
from frostline.runs.schema import RunData
from helpers.config_files import BASE, KEYS, PHASES, load
from helpers.folders import SCHEMAS

PUBLISHED = SCHEMAS / "run.json"
SCHEMA_OF_PLANS = SCHEMAS / "plan.json"


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


def test_every_key_is_described() -> None:
    names = [field.alias or name for name, field in RunData.model_fields.items()]
    assert ", ".join(names) == KEYS
    assert all(field.description for field in RunData.model_fields.values())
