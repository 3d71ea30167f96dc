"""`frostline fit` and `frostline init --run`: whole runs, their folders, what they say where none can be."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from rich.console import Console

import frostline as fl
from backends.checks import Values, changed, values
from backends.command_line import Runner, at_work_in, contents
from frostline.errors import OutputFolderError, RunConfigError
from frostline.locking import locked
from frostline.runs.config import load_run
from frostline.runs.estimate import estimate, measured
from frostline.runs.execute import execute
from frostline.runs.folder import identity_of
from frostline.runs.preparing import prepare

BACKEND = keras.backend.backend()
LABELS = ("ant", "bee", "cat")
RESULTS = {
    *("run.yaml", "plan.yaml", "run.json", "log.txt", "history.csv", "model.keras", "receipt.json"),
    "delta.safetensors",
    ".lock",
}
MODULE = '''\
import pathlib

import keras
import numpy as np


def model():
    stack = [
        keras.Input((4,)),
        keras.layers.Dense(5, activation="relu", name="a"),
        keras.layers.Dropout(0.2, name="drop"),
        keras.layers.Dense(3, activation="softmax", name="head"),
    ]
    return keras.Sequential(stack, name="drawn")


def arrays(count=24):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 4)).astype("float32")
    return x, np.argmax(x[:, :3], axis=1)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, number):
        x, y = arrays()
        return x[8 * number : 8 * number + 8], y[8 * number : 8 * number + 8]


def batches():
    return Batches()


def nothing():
    return 3


def broken(y, predicted):
    raise ValueError("broken on purpose")


class Interrupting(keras.callbacks.Callback):
    """Stops the run where a file says at which epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        at = pathlib.Path("interrupt_at")
        if at.exists() and epoch == int(at.read_text()):
            raise KeyboardInterrupt


def interrupting():
    return Interrupting()
'''


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and the same data in every form."""
    folder = tmp_path_factory.mktemp("prepared")
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    stack = [
        keras.Input((4,)),
        dense(5, activation="relu", name="a"),
        dense(3, activation="softmax", name="head"),
    ]
    keras.Sequential(stack, name="net").save(folder / "base.keras")
    images = [
        keras.Input((6, 5, 3)),
        keras.layers.Rescaling(1 / 255, name="scale"),
        keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.GlobalAveragePooling2D(name="pool"),
        dense(2, name="head"),
    ]
    keras.Sequential(images, name="conv_net").save(folder / "conv.keras")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4)).astype("float32")
    y = np.argmax(x[:, :3], axis=1)
    np.savez(folder / "data.npz", x=x, y=y)
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["p", "q", "r", "s", "kind"])
        writer.writerows([*row, LABELS[label]] for row, label in zip(x.tolist(), y, strict=True))
    draw_images(folder / "images", rng)
    (folder / "mine.py").write_text(MODULE)
    return folder


def draw_images(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for number, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for image in range(6):
            pixels = rng.integers(0, 100, (9, 7, 3)) + 140 * number
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{image}.png")


@pytest.fixture(autouse=True)
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run each case in a folder of its own that shows the prepared files."""
    for entry in prepared.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    with at_work_in(tmp_path, monkeypatch):
        yield tmp_path


BASE: dict[str, Any] = {
    "frostline": 1,
    "model": "base.keras",
    "data": {"npz": "data.npz"},
    "validation": 0.25,
    "compile": {
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
    },
    "plan": {"rules": [{"train": "head/**"}]},
    "epochs": 2,
    "batch_size": 8,
    "output": "out",
}
PHASES = [
    {"name": "probe", "epochs": 2},
    {"name": "finetune", "epochs": 2, "lr": 0.1, "rules": [{"train": "a/**"}]},
]
SOURCES: dict[str, dict[str, Any]] = {
    "npz": {},
    "csv": {"data": {"csv": "table.csv", "target": "kind"}},
    "one_hot": {
        "data": {"csv": "table.csv", "target": "kind", "labels": "one_hot"},
        "compile": BASE["compile"] | {"loss": "categorical_crossentropy"},
    },
    "images": {
        "model": "conv.keras",
        "data": {"images": "images"},
        "compile": BASE["compile"]
        | {"loss": {"name": "sparse_categorical_crossentropy", "from_logits": True}},
    },
    "arrays": {"model": "mine:model", "data": {"function": "mine:arrays", "arguments": {"count": 32}}},
    "batches": {
        "data": {"function": "mine:batches"},
        "validation": {"function": "mine:arrays"},
    },
}


def write(name: str = "run.yaml", **changes: Any) -> Path:
    data = {key: value for key, value in (BASE | changes).items() if value is not None}
    Path(name).write_text(yaml.safe_dump(data, sort_keys=False))
    return Path(name)


def rows(folder: str = "out") -> list[dict[str, str]]:
    with Path(folder, "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def final(folder: str = "out") -> Values:
    return values(keras.models.load_model(Path(folder, "model.keras")))


# Whole runs -------------------------------------------------------------------------------------------


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


# The folder -------------------------------------------------------------------------------------------


def test_a_finished_run_is_not_overwritten_unless_told(run: Runner) -> None:
    write()
    assert run("fit", "run.yaml").code == 0
    noted = json.loads(Path("out/run.json").read_text())["noted"]
    assert run.fails("fit", "run.yaml") == (
        "the output folder 'out' holds a finished run.\n"
        f"  received: finished {noted}\n"
        "  to mend:  name another folder under output:, or replace that run with --overwrite"
    )
    write(epochs=1)
    assert run("fit", "run.yaml", "--overwrite").code == 0
    assert len(rows()) == 1


def test_files_of_no_run_are_not_touched(run: Runner) -> None:
    write()
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("")
    for words in ((), ("--overwrite",)):
        assert run.fails("fit", "run.yaml", *words) == (
            "the output folder 'out' holds files that are of no run.\n"
            "  received: thesis.txt\n"
            "  expected: a folder that is empty or not there yet\n"
            "  to mend:  name another folder under output:"
        )


def test_a_folder_in_use_is_refused(run: Runner) -> None:
    write()
    Path("out").mkdir()
    elsewhere = "name another folder under output:"
    with locked(Path("out"), OutputFolderError, "output folder", elsewhere):
        assert run.fails("fit", "run.yaml") == (
            "the output folder 'out' is in use by another run.\n"
            f"  received: process {os.getpid()} writes to it\n"
            "  to mend:  wait until it ends, or name another folder under output:"
        )
    assert run("fit", "run.yaml").code == 0


def test_a_folder_that_cannot_be_made(run: Runner) -> None:
    write(output="data.npz/out")
    assert run.fails("fit", "run.yaml") == (
        "the output folder 'data.npz/out' cannot be used: Not a directory.\n"
        "  expected: a folder that exists or can be made, and that you may write to\n"
        "  to mend:  name another folder under output:"
    )


def interrupted(run: Runner, epoch: int, **changes: Any) -> None:
    """Interrupt a run of phases at the beginning of an epoch."""
    settings = {"epochs": None, "plan": BASE["plan"] | {"phases": PHASES}}
    write(**(SOURCES["arrays"] | settings | {"callbacks": ["mine:interrupting"]} | changes))
    Path("interrupt_at").write_text(str(epoch))
    done = run("fit", "run.yaml")
    assert (done.code, done.err) == (130, "interrupted; to go on: frostline fit run.yaml\n")
    Path("interrupt_at").unlink()


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_goes_on(run: Runner, epoch: int) -> None:
    interrupted(run, epoch)
    done = run("fit", "run.yaml")
    assert done.code == 0
    assert done.lines[0] == "run        run.yaml -> out, going on where it was interrupted"
    assert [row["epoch"] for row in rows()] == ["1", "2", "3", "4"]
    interrupted_end, whole = final(), rows()
    assert run("fit", "run.yaml", "--overwrite").code == 0
    undisturbed = final()
    for address, value in undisturbed.items():
        np.testing.assert_allclose(interrupted_end[address], value, rtol=0, atol=1e-6)
    assert [row["loss"] for row in whole] == [row["loss"] for row in rows()]


def test_images_go_on_in_the_same_order(run: Runner) -> None:
    interrupted(run, 1, **SOURCES["images"], epochs=3, plan=BASE["plan"])
    assert run("fit", "run.yaml").code == 0
    held = final()
    assert run("fit", "run.yaml", "--overwrite").code == 0
    for address, value in final().items():
        np.testing.assert_allclose(held[address], value, rtol=0, atol=1e-6)


def test_another_run_does_not_go_on_in_the_folder_of_an_interrupted_one(run: Runner) -> None:
    interrupted(run, 1)
    text = Path("run.yaml").read_text().replace("learning_rate: 0.01", "learning_rate: 0.02")
    Path("run.yaml").write_text(text.replace("batch_size: 8", "batch_size: 4"))
    assert run.fails("fit", "run.yaml") == (
        "the output folder 'out' holds an unfinished run that began otherwise.\n"
        "  received: compile optimizer learning_rate: 0.02, was 0.01; batch_size: 4, was 8\n"
        "  expected: the same config and files, to go on with it\n"
        "  to mend:  undo the change, name another folder under output:, or begin anew with --overwrite"
    )


def test_other_data_is_noticed(run: Runner) -> None:
    interrupted(run, 1, **SOURCES["npz"], model="base.keras", data={"npz": "data.npz"})
    arrays = dict(np.load("data.npz"))
    Path("data.npz").unlink()
    np.savez("data.npz", **arrays | {"y": arrays["y"][::-1]})
    assert "  received: data.npz has other contents\n" in run.fails("fit", "run.yaml")


def test_a_run_without_a_whole_epoch_begins_anew_with_any_settings(run: Runner) -> None:
    interrupted(run, 0)
    text = Path("run.yaml").read_text().replace("batch_size: 8", "batch_size: 4")
    Path("run.yaml").write_text(text)
    assert run("fit", "run.yaml").code == 0


# What cannot run --------------------------------------------------------------------------------------


def compiled(**changes: Any) -> dict[str, Any]:
    return {"compile": BASE["compile"] | changes}


MISUSE: dict[str, tuple[dict[str, Any], str]] = {
    "an optimizer that is not there": (
        compiled(optimizer="adm"),
        "run.yaml, line 7: Keras has no optimizer 'adm'.\n  to mend:  did you mean adam, nadam, adamax?",
    ),
    "an argument that is not there": (
        compiled(optimizer={"name": "sgd", "momentun": 0.9}),
        "run.yaml, line 7: the optimizer sgd has no argument 'momentun'.\n"
        "  expected: any of learning_rate, momentum, nesterov, weight_decay, clipnorm, clipvalue, "
        "global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor, "
        "gradient_accumulation_steps, name\n"
        "  to mend:  did you mean 'momentum'?",
    ),
    "a loss that is not there": (
        compiled(loss="sparse_categorical_crosentropy"),
        "run.yaml, line 10: Keras has no loss 'sparse_categorical_crosentropy'.\n"
        "  to mend:  did you mean sparse_categorical_crossentropy, categorical_crossentropy, "
        "categorical_focal_crossentropy?",
    ),
    "a metric that is not there": (
        compiled(metrics=["acuracy"]),
        "run.yaml, line 12: Keras has no metric 'acuracy'.\n"
        "  to mend:  did you mean accuracy, binary_accuracy, auc?",
    ),
    "no optimizer at all": (
        {"compile": None},
        "run.yaml, line 1: the key 'compile' is missing, and the model brings no optimizer and loss of its "
        "own.\n  to mend:  add compile: {optimizer: adam, loss: mse}",
    ),
    "features that do not fit": (
        {"data": {"csv": "table.csv", "target": "kind", "features": ["p", "q"]}},
        "x of table.csv does not fit the input of the model 'net'.\n"
        "  received: samples of shape 2\n"
        "  expected: samples of shape 4",
    ),
    "targets that do not fit": (
        compiled(loss="mse"),
        "y of data.npz does not fit the output of the model 'net'.\n"
        "  received: targets of shape scalar\n"
        "  expected: targets of shape 3",
    ),
    "labels for a loss of rows": (
        compiled(loss="categorical_crossentropy"),
        "y of data.npz does not fit the output of the model 'net'.\n"
        "  received: targets of shape scalar\n"
        "  expected: targets of shape 3\n"
        "  to mend:  for numbers of classes use the loss sparse_categorical_crossentropy, or labels: one_hot",
    ),
    "rows for a loss of labels": (
        {"data": {"csv": "table.csv", "target": "kind", "labels": "one_hot"}},
        "y of table.csv does not fit the output of the model 'net'.\n"
        "  received: targets of shape 3, an output of 3\n"
        "  expected: one number of a class for each sample: targets of scalar\n"
        "  to mend:  for one-hot targets use the loss categorical_crossentropy",
    ),
    "more labels than classes": (
        {"data": {"npz": "wide.npz"}, "validation": None},
        "wide.npz, sample 2: the target 7 is no class of the model.\n"
        "  received: targets from 0 to 7\n"
        "  expected: whole numbers from 0 to 2, since the output has 3 classes\n"
        "  to mend:  give the last layer 8 units, or mend the targets",
    ),
    "a rule that picks nothing": (
        {"plan": {"rules": [{"train": "hed/**"}]}},
        "run.yaml, line 13: rule 1 (train 'hed/**') picks nothing in the model 'net'.\n"
        "  to mend:  did you mean 'head/**', 'head/bias'? (a rule that may pick nothing needs "
        "optional: true)",
    ),
    "a phase that trains nothing": (
        {
            "epochs": None,
            "plan": {
                "rules": [{"train": "head/**"}],
                "phases": [{"name": "rest", "epochs": 1, "rules": [{"freeze": "**"}]}],
            },
        },
        "run.yaml, line 13: the phase 'rest' trains nothing in the model 'net'.\n"
        "  received: default: freeze; 1. train 'head/**'; 2. freeze '**'\n"
        "  to mend:  add a rule that trains: {train: 'last:1'} trains the last layer",
    ),
    "a plateau of what is not reported": (
        {
            "epochs": None,
            "plan": {
                "rules": [{"train": "head/**"}],
                "phases": [{"name": "rest", "epochs": 3, "until": {"monitor": "val_acuracy"}}],
            },
        },
        "run.yaml, line 20: 'val_acuracy' is monitored, which this training does not report.\n"
        "  received: it reports accuracy, loss, val_accuracy, val_loss\n"
        "  to mend:  did you mean 'val_accuracy'?",
    ),
    "a module that is not there": (
        {"data": {"function": "mien:arrays"}},
        "there is no module 'mien'.\n"
        "  received: looked in {folder} and in the installed packages\n"
        "  to mend:  did you mean mine?",
    ),
    "a function that returns no data": (
        {"data": {"function": "mine:nothing"}},
        "mine:nothing did not return data.\n"
        "  received: an object of type int\n"
        "  expected: (x, y), (x, y, sample_weight), {'x': ..., 'y': ...}, a tf.data.Dataset, a PyDataset, a "
        "DataLoader or another iterable of batches",
    ),
    "a callback that is none": (
        {"callbacks": ["mine:nothing"]},
        "run.yaml, line 20: mine:nothing did not return a Keras callback.\n  received: an object of type int",
    ),
    "a split of batches": (
        {"data": {"function": "mine:batches"}},
        "run.yaml, line 5: data that comes in batches of its own cannot be split by a fraction.\n"
        "  received: mine:batches\n"
        "  to mend:  name a second function: validation: {function: module:function}",
    ),
    "images for a model that takes none": (
        {"data": {"images": "images"}},
        "the model takes no images, so 'images' does not fit it.\n"
        "  received: an input of shape 4 per sample\n"
        "  expected: height x width x 1, 3 or 4 channels",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_what_cannot_run(run: Runner, folder: Path, case: str) -> None:
    changes, expected = MISUSE[case]
    np.savez("wide.npz", x=np.zeros((4, 4), "float32"), y=np.array([0, 1, 7, 2]))
    write(**changes)
    assert run.fails("fit", "run.yaml") == expected.replace("{folder}", str(folder))


def test_numbers_that_are_none_stop_the_run(run: Runner) -> None:
    y = np.zeros((16, 3), "float32")
    y[9, 2] = np.nan
    np.savez("holes.npz", x=np.zeros((16, 4), "float32"), y=y)
    write(**compiled(loss="mse", metrics=[]), data={"npz": "holes.npz"}, validation=None)
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert done.err.startswith("error: the loss of the model 'net' is no number after batch ")
    assert not Path("out/model.keras").exists()
    assert "failed: the loss of the model 'net' is no number" in Path("out/log.txt").read_text()


def test_code_of_the_user_that_fails_is_named_and_kept_in_the_log(run: Runner) -> None:
    write(**compiled(loss="mine:broken"))
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert done.err.startswith("error: the training failed inside Keras or the code that the run uses.\n")
    assert "broken on purpose" in done.err
    assert done.err.endswith("  to mend:  the whole error is in out/log.txt\n")
    log = Path("out/log.txt").read_text()
    assert "Traceback (most recent call last):" in log
    assert "in broken" in log


def test_an_image_that_cannot_be_read(run: Runner, folder: Path) -> None:
    for name in ("dark", "light"):
        (folder / "torn" / name).mkdir(parents=True)
        (folder / "torn" / name / "1.png").write_bytes(b"\x89PNG")
    write(**SOURCES["images"] | {"data": {"images": "torn"}, "validation": None})
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert "the image 'torn/" in done.err


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
    assert done.err == "wrote run.yaml; see what it would take with: frostline fit run.yaml --dry-run\n"
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
        "a run config needs data.\n  to mend:  frostline init --run MODEL DATA"
    )
    assert run.fails("init", "base.keras", "data.npz") == (
        "a plan needs no data.\n  received: the data 'data.npz'\n  to mend:  leave it out, or add --run"
    )
    assert run.fails("init", "--run", "base.keras", "no.npz") == (
        "there is no data 'no.npz'.\n"
        "  expected: a .npz or .csv file, a folder of images by class, or module:function\n"
        "  to mend:  in '.' there is data.npz, table.csv"
    )
