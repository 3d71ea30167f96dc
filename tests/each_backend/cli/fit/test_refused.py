"""`frostline fit`: runs that cannot begin or that fail, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.checks import first_on_each
from helpers.command_line import Runner
from helpers.run_configs import BASE, MODULE, SOURCES, write

pytestmark = pytest.mark.eager


def compiled(**changes: Any) -> dict[str, Any]:
    return {"compile": BASE["compile"] | changes}


MISUSE: dict[str, tuple[dict[str, Any], str]] = {
    "an optimizer that is not there": (
        compiled(optimizer="adm"),
        "run.yaml, line 7: Keras has no optimizer 'adm'.\n  fix:      did you mean adam, nadam, adamax?",
    ),
    "an argument that is not there": (
        compiled(optimizer={"name": "sgd", "momentun": 0.9}),
        "run.yaml, line 7: the optimizer sgd has no argument 'momentun'.\n"
        "  expected: any of learning_rate, momentum, nesterov, weight_decay, clipnorm, clipvalue, "
        "global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor, "
        "gradient_accumulation_steps, name\n"
        "  fix:      did you mean 'momentum'?",
    ),
    "a loss that is not there": (
        compiled(loss="sparse_categorical_crosentropy"),
        "run.yaml, line 10: Keras has no loss 'sparse_categorical_crosentropy'.\n"
        "  fix:      did you mean sparse_categorical_crossentropy, categorical_crossentropy, "
        "categorical_focal_crossentropy?",
    ),
    "a metric that is not there": (
        compiled(metrics=["acuracy"]),
        "run.yaml, line 12: Keras has no metric 'acuracy'.\n"
        "  fix:      did you mean accuracy, binary_accuracy, auc?",
    ),
    "no optimizer at all": (
        {"compile": None},
        "run.yaml, line 1: the key 'compile' is missing, and the model has no optimizer and loss of its "
        "own.\n  fix:      add compile: {optimizer: adam, loss: mse}",
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
        "  fix:      for class numbers use the loss sparse_categorical_crossentropy, or labels: one_hot",
    ),
    "rows for a loss of labels": (
        {"data": {"csv": "table.csv", "target": "kind", "labels": "one_hot"}},
        "y of table.csv does not fit the output of the model 'net'.\n"
        "  received: targets of shape 3, an output of 3\n"
        "  expected: one class number for each sample: targets of scalar\n"
        "  fix:      for one-hot targets use the loss categorical_crossentropy",
    ),
    "more labels than classes": (
        {"data": {"npz": "wide.npz"}, "validation": None},
        "wide.npz, sample 2: the target 7 is not a class of the model.\n"
        "  received: targets from 0 to 7\n"
        "  expected: whole numbers from 0 to 2, since the output has 3 classes\n"
        "  fix:      give the last layer 8 units, or correct the targets",
    ),
    "a rule that picks nothing": (
        {"plan": {"rules": [{"train": "hed/**"}]}},
        "run.yaml, line 13: rule 1 (train 'hed/**') picks nothing in the model 'net'.\n"
        "  fix:      did you mean 'head/**', 'head/bias'? (a rule that may pick nothing needs "
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
        "  fix:      add a rule that trains: {train: 'last:1'} trains the last layer",
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
        "  fix:      did you mean 'val_accuracy'?",
    ),
    "a module that is not there": (
        {"data": {"function": "mien:arrays"}},
        "run.yaml, line 4: there is no module 'mien'.\n"
        "  received: looked in {folder} and in the installed packages\n"
        "  fix:      did you mean mine?",
    ),
    "a function that returns no data": (
        {"data": {"function": "mine:nothing"}},
        "run.yaml, line 4: mine:nothing did not return data.\n"
        "  received: an object of type int\n"
        "  expected: (x, y), (x, y, sample_weight), {'x': ..., 'y': ...}, a tf.data.Dataset, a PyDataset, a "
        "DataLoader or another iterable of batches",
    ),
    "weights of losses that are not there": (
        compiled(loss_weights=[1, 2]),
        "run.yaml, line 13: the loss_weights do not fit the loss.\n"
        "  received: [1, 2]\n"
        "  expected: one number, as there is one loss",
    ),
    "a weight for another number of losses": (
        compiled(loss=["sparse_categorical_crossentropy"], loss_weights=[1, 2]),
        "run.yaml, line 14: the loss_weights do not fit the loss.\n"
        "  received: [1, 2]\n"
        "  expected: a list of 1 number",
    ),
    "a weight for an output that has no loss": (
        compiled(loss={"head": "sparse_categorical_crossentropy"}, loss_weights={"haed": 1}),
        "run.yaml, line 14: the loss_weights do not fit the loss.\n"
        "  received: {'haed': 1}\n"
        "  expected: a number for head",
    ),
    "a callback that fails": (
        {"callbacks": ["mine:failing"]},
        "run.yaml, line 20: mine:failing failed.\n"
        "  received: ZeroDivisionError: division by zero ({folder}/mine.py, line {failing})",
    ),
    "a callback that is none": (
        {"callbacks": ["mine:nothing"]},
        "run.yaml, line 20: mine:nothing did not return a Keras callback.\n  received: an object of type int",
    ),
    "a split of batches": (
        {"data": {"function": "mine:batches"}},
        "run.yaml, line 5: data that comes in batches cannot be split by a fraction.\n"
        "  received: mine:batches\n"
        "  fix:      name a second function: validation: {function: module:function}",
    ),
    "images for a model that takes none": (
        {"data": {"images": "images"}},
        "the model takes no images, so 'images' does not fit it.\n"
        "  received: an input of shape 4 per sample\n"
        "  expected: height x width x 1, 3 or 4 channels",
    ),
}


@pytest.mark.parametrize("case", first_on_each(MISUSE))
@pytest.mark.every_backend
def test_what_cannot_run(run: Runner, folder: Path, case: str) -> None:
    changes, expected = MISUSE[case]
    np.savez("wide.npz", x=np.zeros((4, 4), "float32"), y=np.array([0, 1, 7, 2]))
    write(**changes)
    failing = MODULE.splitlines().index("    return 1 / 0") + 1
    expected = expected.replace("{folder}", str(folder)).replace("{failing}", str(failing))
    assert run.fails("fit", "run.yaml") == expected


def test_numbers_that_are_none_stop_the_run(run: Runner) -> None:
    y = np.zeros((16, 3), "float32")
    y[9, 2] = np.nan
    np.savez("holes.npz", x=np.zeros((16, 4), "float32"), y=y)
    write(**compiled(loss="mse", metrics=[]), data={"npz": "holes.npz"}, validation=None)
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert done.err.startswith("error: the loss of the model 'net' is NaN or infinite after batch ")
    assert not Path("out/model.keras").exists()
    assert "failed: the loss of the model 'net' is NaN or infinite" in Path("out/log.txt").read_text()


@pytest.mark.every_backend
def test_code_of_the_user_that_fails_is_named_and_kept_in_the_log(run: Runner) -> None:
    write(**compiled(loss="mine:broken"))
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert done.err.startswith("error: the training failed inside Keras or the code that the run uses.\n")
    assert "broken on purpose" in done.err
    assert done.err.endswith("  fix:      the full error is in out/log.txt\n")
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
