"""Before a run: `frostline init --run` writes its config, `fit --dry-run` says what it would take."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from frostline.errors import RunConfigError
from frostline.runs.config import load_run
from frostline.runs.estimate import estimate, measured
from frostline.runs.prepare import prepare
from helpers.checks import changed, values
from helpers.command_line import Runner, contents
from helpers.run_configs import BASE, PHASES, SOURCES, write

pytestmark = pytest.mark.eager

# Estimates --------------------------------------------------------------------------------------------


def test_a_dry_run_touches_no_file(run: Runner, folder: Path) -> None:
    write(epochs=None, plan=BASE["plan"] | {"phases": PHASES})
    before = contents(folder)
    done = run("fit", "run.yaml", "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert contents(folder) == before
    assert not Path("out").exists()
    text = "\n".join(done.lines)
    assert "phase finetune: 2 epochs, lr x 0.1; train 'a/**'\nPlan for net\n" in text
    assert "trains 18 of 43 elements (42%), in 2 of 4 weights" in text
    heads = ["phase", "epochs", "steps", "weights", "gradients", "optimizer", "step", "time"]
    table = [line.split() for line in done.lines]
    at = table.index(heads)
    assert table[at + 1][:9] == ["probe", "2", "8", "172", "B", "72", "B", "144", "B"]
    assert table[at + 2][:9] == ["finetune", "2", "8", "172", "B", "172", "B", "344", "B"]
    assert done.lines[-1] == "nothing was written"


def test_a_dry_run_as_json(run: Runner) -> None:
    write()
    data = run("fit", "run.yaml", "--dry-run", "--json").data
    (phase,) = data["phases"]
    assert (phase["epochs"], phase["steps"]) == (2, 8)
    assert phase["memory"] == {"weights": 172, "gradients": 72, "optimizer": 144}
    assert phase["step_seconds"] > 0
    assert phase["seconds"] >= phase["first_step_seconds"] > 0


@pytest.mark.parametrize("source", SOURCES)
def test_an_estimate_leaves_the_model_as_it_was(source: str) -> None:
    write(**SOURCES[source])
    ready = prepare(load_run("run.yaml"))
    before, flags = values(ready.model), [v.trainable for v in ready.model.variables]
    estimated = measured(ready)
    assert changed(ready.model, before) == set()
    assert [v.trainable for v in ready.model.variables] == flags
    assert all(one.step > 0 for one in estimated.phases)


@pytest.mark.every_backend
def test_an_estimate_fails_as_the_run_would() -> None:
    write(compile=None)
    with pytest.raises(RunConfigError):
        estimate(load_run("run.yaml"))


# init --run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("base.keras", "data.npz"),
        ("base.keras", "table.csv"),
        ("conv.keras", "images"),
        ("mine:model", "mine:arrays"),
    ],
)
def test_a_starter_runs_as_written(run: Runner, model: str, data: str) -> None:
    done = run("init", "--run", model, data)
    assert (done.code, done.out) == (0, "")
    assert done.err == "wrote run.yaml; estimate time and memory: frostline fit run.yaml --dry-run\n"
    config = load_run("run.yaml")
    loss = config.data.compile.loss
    assert "sparse_categorical_crossentropy" in (loss, loss["name"] if isinstance(loss, dict) else "")
    assert run("fit", "run.yaml").code == 0
    assert {"model.keras", "receipt.json"} <= {p.name for p in Path("run-output").iterdir()}


def test_a_starter_for_quantities(run: Runner) -> None:
    stack = [keras.Input((1,)), keras.layers.Dense(1, name="head")]
    keras.Sequential(stack, name="line").save("line.keras")
    Path("prices.csv").write_text("rooms;price\n" + "".join(f"{n};{n * 1.5}\n" for n in range(9)))
    assert run("init", "--run", "line.keras", "prices.csv").code == 0
    config = load_run("run.yaml")
    assert (config.data.compile.loss, config.data.data.target) == ("mse", "price")
    assert run("fit", "run.yaml").code == 0


def test_a_starter_needs_data(run: Runner) -> None:
    assert run.fails("init", "--run", "base.keras") == (
        "a run config needs data.\n  fix:      frostline init --run MODEL DATA"
    )
    assert run.fails("init", "base.keras", "data.npz") == (
        "a plan needs no data.\n  received: the data 'data.npz'\n  fix:      leave it out, or add --run"
    )
    assert run.fails("init", "--run", "base.keras", "no.npz") == (
        "there is no data 'no.npz'.\n"
        "  expected: a .npz or .csv file, a folder of images by class, or module:function\n"
        "  fix:      the folder '.' has data.npz"
    )
