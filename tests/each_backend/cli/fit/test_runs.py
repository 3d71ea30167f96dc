"""`frostline fit`: whole runs, what they say and what they write.

See also `test_cli_fit_folder`, `test_cli_fit_refused`, `test_cli_fit_before`.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

import frostline as fl
from frostline.runs.config import load_run
from frostline.runs.execute import execute
from frostline.runs.folder import identity_of
from frostline.runs.prepare import prepare
from helpers.command_line import Runner
from helpers.run_configs import (
    BASE,
    LABELS,
    PHASES,
    SOURCES,
    final,
    rows,
    write,
)

BACKEND = keras.backend.backend()
RESULTS = {
    *("run.yaml", "plan.yaml", "run.json", "log.txt", "history.csv", "model.keras", "receipt.json"),
    "delta.safetensors",
    ".lock",
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_run_from_every_source(run: Runner, source: str) -> None:
    write(**SOURCES[source])
    done = run("fit", "run.yaml")
    assert (done.code, done.err) == (0, "")
    labelled = source in ("csv", "one_hot", "images")
    assert {p.name for p in Path("out").iterdir()} == RESULTS | ({"classes.json"} if labelled else set())
    assert [row["epoch"] for row in rows()] == ["1", "2"]
    assert set(rows()[0]) == {
        *("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"),
    }
    receipt = fl.Receipt.load("out/receipt.json")
    trained = {address.split("/")[0] for address in receipt.trained}
    assert (trained, receipt.verification.ok) == ({"head"}, True)
    model = SOURCES[source].get("model", "base.keras")
    before = ("--before", model) if model.endswith(".keras") else ()
    assert run("verify", "out/receipt.json", *before, "--after", "out/model.keras").code == 0


def test_what_a_run_says(run: Runner) -> None:
    write(epochs=None, plan=BASE["plan"] | {"phases": PHASES})
    done = run("fit", "run.yaml")
    lines = [" ".join(line.split()) for line in done.lines]
    assert lines[:7] == [
        "run run.yaml -> out",
        "model net from base.keras: 43 elements",
        "data data.npz, 30 samples, 4 steps an epoch; 10 samples for validation",
        "phase probe: 2 epochs; trains 18 elements (42%)",
        "phase finetune: 2 epochs, lr x 0.1; train 'a/**'; trains 43 elements (100%)",
        f"on {BACKEND}, seed 0",
        "",
    ]
    assert [line.split(" loss")[0] for line in lines[7:11]] == [
        "probe epoch 1/4",
        "probe epoch 2/4",
        "finetune epoch 3/4",
        "finetune epoch 4/4",
    ]
    assert " lr 0.001 " in lines[9]
    assert lines[12].startswith("finished in ")
    assert lines[13:] == [
        "verified: every frozen number is bit-identical, in each phase (0 weights held over the whole run, "
        "4 trained)",
        "written to out: model.keras, delta.safetensors, receipt.json, history.csv, log.txt",
        "check it: frostline verify out/receipt.json --before base.keras --after out/model.keras",
    ]
    assert [row["phase"] for row in rows()] == ["probe", "probe", "finetune", "finetune"]
    logged = [line.split("  ", 1)[1] for line in Path("out/log.txt").read_text().splitlines()]
    assert logged == [line for line in done.lines if line]


def test_an_epoch_that_phases_share_counts_once(run: Runner) -> None:
    phases = [{"name": "probe", "steps": 6}, {"name": "finetune", "epochs": 1}]
    write(epochs=None, plan=BASE["plan"] | {"phases": phases})
    ready = prepare(load_run("run.yaml"))
    assert (ready.epochs, ready.steps_of_phases, ready.all_steps) == (3, (6, 6), 12)
    places = [line.split("  loss")[0].split() for line in run("fit", "run.yaml").lines if "  loss" in line]
    assert places == [
        ["probe", "epoch", "1/3"],
        ["finetune", "epoch", "2/3"],
        ["finetune", "epoch", "3/3"],
    ]


# Keras says so of every generator, whatever `shuffle` is.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed, but will be ignored:UserWarning")
def test_nobody_knows_how_many_epochs_some_steps_are(run: Runner) -> None:
    write(
        epochs=None,
        plan=BASE["plan"] | {"phases": [{"name": "probe", "steps": 2}]},
        data={"function": "mine:batches_of_unknown_number"},
        validation=None,
    )
    ready = prepare(load_run("run.yaml"))
    assert (ready.epochs, ready.steps_of_phases, ready.all_steps) == (None, (2,), None)
    done = run("fit", "run.yaml")
    assert done.code == 0, done.err
    assert [line.split("  loss")[0].split() for line in done.lines if "  loss" in line] == [
        ["probe", "epoch", "1"]
    ]


def test_a_terminal_shows_phase_epoch_loss_rate_and_the_time_left() -> None:
    write(epochs=None, plan=BASE["plan"] | {"phases": PHASES})
    drawn = io.StringIO()
    config = load_run("run.yaml")
    console = Console(file=drawn, force_terminal=True, width=80, color_system=None)
    execute(config, identity_of(config, BACKEND), console)
    seen = {line.strip() for line in re.split(r"\r|\n|\x1b\[\d*[A-Z]", drawn.getvalue())}
    bar = r"finetune epoch 4/4 .* loss \d\.\d+  lr 0\.001 \d\d:\d\d left"
    # Its last state is always drawn.
    assert any(re.fullmatch(bar, line) for line in seen)


def test_json(run: Runner) -> None:
    write()
    done = run("fit", "run.yaml", "--json")
    data = done.data
    assert (done.code, data["output"], data["epochs"], data["verified"], data["resumed"]) == (
        *(0, "out", 2, True, False),
    )
    assert data["last"]["loss"] == float(rows()[-1]["loss"])


def test_the_classes_are_written_down(run: Runner) -> None:
    write(**SOURCES["csv"])
    run("fit", "run.yaml")
    assert json.loads(Path("out/classes.json").read_text()) == list(LABELS)


def test_the_same_seed_gives_the_same_run(run: Runner) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        write(**SOURCES["arrays"], seed=seed, output=name)
        assert run("fit", "run.yaml").code == 0
    one, two, three = (final(name) for name in ("one", "two", "three"))
    assert all(np.array_equal(one[address], two[address]) for address in one)
    assert not np.array_equal(one["head/kernel"], three["head/kernel"])


def test_the_model_may_bring_its_own_optimizer_and_loss(run: Runner) -> None:
    model = keras.models.load_model("base.keras")
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.save("compiled.keras")
    write(model="compiled.keras", compile=None)
    assert run("fit", "run.yaml").code == 0


def test_early_stops_and_falling_rates(run: Runner) -> None:
    given = {"monitor": "loss", "patience": 1, "min_delta": 100.0}
    write(epochs=9, stop_early=given | {"patience": 3}, reduce_lr=given | {"factor": 0.5})
    assert run("fit", "run.yaml").code == 0
    assert len(rows()) == 4
    assert float(rows()[-1]["learning_rate"]) < float(rows()[0]["learning_rate"])
