"""`frostline init`: labels, columns, arrays, folders and layers enter what it writes as values alone."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from frostline.errors import FrostlineError
from frostline.runs.config import load_run
from frostline.runs.starter_plan import starter_plan
from frostline.runs.starter_run import starter_run
from helpers.command_line import Runner
from helpers.foreign_text import HOSTILE, acting, texts

pytestmark = pytest.mark.eager
few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
LABEL = "cat\nunsafe: true\nimport: [helper]\n#"
KEYS = {
    "frostline",
    "model",
    "data",
    "validation",
    "compile",
    "plan",
    "epochs",
    "batch_size",
    "seed",
    "output",
}


def model_of(*names: str, name: str = "net") -> keras.Model:
    stack = [keras.layers.Dense(2, name=one) for one in names]
    last = keras.layers.Dense(2, activation="softmax", name="head")
    return keras.Sequential([keras.Input((2,)), *stack, last], name=name)


MODEL = model_of("a")


def write_table(path: Path, columns: list[str], labels: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([n, n + 1, label] for n, label in enumerate(labels * 3))


def started(folder: Path, data: Any, model: Any = MODEL, **more: Any) -> dict[str, Any]:
    """Return what stands in a config, or skip the example where there is an error in words."""
    before = set(sys.modules)
    try:
        text = starter_run(model, "strange:model", str(data), folder=folder, output="out", **more)
    except FrostlineError as error:
        assert acting(str(error)) == set()
        assume(False)
    assert acting(text) == set()
    assert set(sys.modules) == before
    found = yaml.safe_load(text)
    assert set(found) == KEYS
    return dict(found)


# The example that ran code ---------------------------------------------------------------------------


def test_a_label_runs_no_code(run: Runner, folder: Path) -> None:
    write_table(folder / "d.csv", ["a", "b", "target"], [LABEL, "dog"])
    done = run("init", "--run", "parts:plain", "d.csv", "--out", "run.yaml")
    assert (done.code, done.out) == (0, "")
    config = load_run(folder / "run.yaml")
    assert (config.data.imports, config.data.unsafe) == ([], False)
    text = (folder / "run.yaml").read_text(encoding="utf-8")
    assert r"in the order of the outputs: cat\nunsafe: true\nimport: [helper]\n#, dog" in text
    assert run("fit", "run.yaml", "--dry-run").code == 0
    assert not (folder / "owned").exists() and "helper" not in sys.modules


# Any text --------------------------------------------------------------------------------------------


@few
@given(labels=st.lists(texts, min_size=2, max_size=4, unique=True))
def test_labels(tmp_path_factory: pytest.TempPathFactory, labels: list[str]) -> None:
    folder = tmp_path_factory.mktemp("labels")
    write_table(folder / "d.csv", ["a", "b", "target"], labels)
    assert started(folder, folder / "d.csv")["data"] == {"csv": "d.csv", "target": "target"}


@few
@given(names=st.lists(texts, min_size=3, max_size=3, unique=True))
def test_columns(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("columns")
    write_table(folder / "d.csv", names, ["x", "y"])
    data = started(folder, folder / "d.csv")["data"]
    assert set(data) <= {"csv", "target", "delimiter"}
    assert data["csv"] == "d.csv"


@few
@given(name=texts)
def test_arrays(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    try:
        np.savez(folder / "d.npz", **{"y": np.zeros(4, "int64"), name: np.ones((4, 2), "float32")})
    except (ValueError, UnicodeError, OSError):
        assume(False)
    data = started(folder, folder / "d.npz")["data"]
    assert set(data) == {"npz", "x", "y"}
    with np.load(folder / "d.npz") as archive:
        assert {data["x"], data["y"]} == set(archive.files)


@few
@given(names=st.lists(texts, min_size=2, max_size=3, unique=True), file=texts)
def test_class_folders(tmp_path_factory: pytest.TempPathFactory, names: list[str], file: str) -> None:
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    place = folder / f"i{file.replace('/', '_')}"
    model = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax", name="h"),
        ]
    )
    try:
        for name in names:
            inner = place / f"c{name.replace('/', '_')}"
            inner.mkdir(parents=True)
            Image.new("RGB", (2, 2)).save(inner / "0.png")
    except (ValueError, OSError, UnicodeError):
        assume(False)
    found = started(folder, place, model)["data"]
    assert found == {"images": place.name, "range": [0, 1]}


@few
@given(layer=texts, name=texts)
def test_layers_and_models(layer: str, name: str) -> None:
    try:
        model = model_of(layer or "x", name=name or "x")
    except (ValueError, KeyError):  # such as Keras does not take, and PyTorch
        assume(False)
    for text in (starter_plan(model), starter_plan(model).replace("  # - train", "  - train")):
        assert acting(text) == set()
        found = yaml.safe_load(text)
        assert set(found) == {"frostline", "default", "batchnorm", "stochastic", "rules"}
        assert found["rules"][0] == {"train": "head/**"}
        assert all(set(rule) == {"train"} for rule in found["rules"])


@few
@given(output=texts, module=texts)
def test_what_the_command_line_says(
    tmp_path_factory: pytest.TempPathFactory, output: str, module: str
) -> None:
    folder = tmp_path_factory.mktemp("words")
    try:
        text = starter_run(
            MODEL, f"m:{module}", "d:f", folder=folder, output=output, imports=[module], unsafe=True
        )
    except FrostlineError as error:
        assert acting(str(error)) == set()
        return
    found = yaml.safe_load(text)
    assert (found["model"], found["import"], found["output"]) == (f"m:{module}", [module], output)


@pytest.fixture(autouse=True)
def _nothing_of_the_users_was_run(folder: Path) -> Iterator[None]:
    yield
    assert not (folder / "owned").exists()


def test_the_texts_have_what_ran_code() -> None:
    assert LABEL in HOSTILE
