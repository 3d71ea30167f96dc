"""What the tests of `frostline fit` share: models, the same data in every form, run configs for them.

Import as `from helpers.run_configs import write`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml

from helpers.checks import Values, values

LABELS = ("ant", "bee", "cat")
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


def batches_of_unknown_number():
    yield from (Batches()[number] for number in range(3))


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


def failing():
    return 1 / 0
'''


def prepare_folder(folder: Path) -> Path:
    """Fill a folder with models and the same data in every form."""
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
