"""The folder that tests of `frostline audit` work in: a module with models and data, plans, a run config."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml

LABELS = ("ant", "bee", "cat")


MODULE = '''\
import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("audited")
class Rounding(layers.Layer):
    def call(self, x):
        return ops.round(x)


class Reshaping(layers.Layer):
    def call(self, x):
        return ops.reshape(x, (7, -1))


def stack(*between, loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(0)
    features = layers.Dense(5, "tanh", name="features")
    head = layers.Dense(3, activation="softmax", name="head")
    model = keras.Sequential([keras.Input((4,)), features, *between, head], name="net")
    if loss:
        model.compile("adam", loss)
    return model


def good():
    return stack()


def rounding():
    return stack(Rounding(name="rounding"))


def uncompiled():
    return stack(loss=None)


def one_hot():
    return stack(loss="categorical_crossentropy")


def dead():
    off = keras.initializers.Constant(-100)
    return stack(layers.Dense(4, "relu", kernel_initializer="ones", bias_initializer=off, name="off"))


def dropped():
    return stack(layers.Dropout(0.5, name="drop"), layers.Dense(4, name="middle"))


class Odd(keras.Model):
    def __init__(self):
        super().__init__(name="odd")
        self.head = layers.Dense(3, name="head")

    def build(self, shape):
        self.head.build(shape)

    def call(self, x):
        return ops.reshape(self.head(x), (7, -1))


def odd():
    model = Odd()
    model.build((None, 4))
    model.compile("sgd", "mse")
    return model


class Penalty(keras.Model):
    """Has a loss of its own and needs no targets."""

    def __init__(self):
        super().__init__(name="penalty")
        self.head = layers.Dense(3, name="head")

    def build(self, shape):
        self.head.build(shape)

    def call(self, x):
        found = self.head(x)
        self.add_loss(ops.mean(found**2))
        return found


def penalty():
    model = Penalty()
    model.build((None, 4))
    model.compile("sgd")
    return model


def images():
    keras.utils.set_random_seed(0)
    pool = layers.GlobalAveragePooling2D(name="pool")
    stack = [keras.Input((6, 5, 3)), layers.Conv2D(4, 3, name="conv"), pool, layers.Dense(2, name="head")]
    model = keras.Sequential(stack, name="images")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def arrays(count=24):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 4)).astype("float32")
    return x, np.argmax(x[:, :3], axis=1)


def weighed():
    x, y = arrays()
    return x, y, np.zeros(len(x), "float32")


def inputs():
    return {"x": arrays()[0]}


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, number):
        x, y = arrays()
        return x[8 * number : 8 * number + 8], y[8 * number : 8 * number + 8]


def batches():
    return Batches()


def nothing():
    return iter(())


def number():
    return 3


def absolute(y, predicted):
    return ops.mean(ops.abs(predicted))


def broken(y, predicted):
    raise ValueError("broken on purpose")
'''


PLANS: dict[str, Any] = {
    "head.yaml": {"rules": [{"train": "head/**"}]},
    "features.yaml": {"rules": [{"train": "features/**"}]},
    "none.yaml": {"rules": [{"train": "decoder/**"}]},
    "phases.yaml": {
        "rules": [{"train": "head/**"}],
        "phases": [
            {"name": "probe", "epochs": 1},
            {"name": "finetune", "epochs": 1, "rules": [{"train": "features/**"}]},
        ],
    },
}


RUN: dict[str, Any] = {
    "frostline": 1,
    "model": "good.keras",
    "data": {"npz": "data.npz"},
    "compile": {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"},
    "plan": "head.yaml",
    "epochs": 1,
    "output": "out",
}


def draw_images(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for image in range(3):
            Image.fromarray(rng.integers(0, 255, (9, 7, 3)).astype("uint8")).save(
                folder / name / f"{image}.png"
            )


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(MODULE.splitlines(), 1) if line.strip() == text)


def write_run(**changes: Any) -> None:
    made("good").save("good.keras")
    data = {key: value for key, value in (RUN | changes).items() if value is not None}
    Path("run.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def made(name: str) -> keras.Model:
    """A model of the module, made in this process."""
    sys.path.insert(0, str(Path.cwd()))
    import mine

    return getattr(mine, name)()


FROM_MODULE = ("--data", "mine:arrays")
