"""The folder of the tests of hostile text and code: models, modules, data."""

from __future__ import annotations

from pathlib import Path

NAMES = (
    "\x1b[31mred",
    "\u202egnp",
    "a\u200bb",
    "[bold]x",
    "<b>",
    "line\nok: verified",
    "\\x1b[31mred",
    "é\u0301",
    "a" * 40,
)
"""Of layers; none of them may act, and no two may look the same."""

MODULES = {
    "strange.py": f"""\
import keras

def model():
    stack = [keras.layers.Dense(2, name=name) for name in {NAMES!r}]
    model = keras.Sequential([keras.Input((2,)), *stack], name="m\\x1b]0;x\\x07\\n[bold]")
    model.compile("sgd", "mse")
    return model
""",
    "helper.py": "import pathlib\npathlib.Path('owned').write_text('')\n",
    "leaves.py": "import sys\nsys.exit(0)\n",
    "stops.py": "raise KeyboardInterrupt\n",
    "parts.py": """\
import sys

import keras
import numpy as np
import typer

class Own(BaseException):
    pass

ENDS = {"exit": SystemExit(0), "own": Own("mine"), "closed": GeneratorExit(), "typer": typer.Exit(0)}

def end(how="exit"):
    raise ENDS[how]

def with_layer(how):
    class Ending(keras.layers.Layer):
        def call(self, x):
            if keras.tree.flatten(x)[0].shape[0] == 8:
                end(how)
            return x
    stack = [keras.Input((2,)), keras.layers.Dense(2, name="head"), Ending()]
    model = keras.Sequential(stack, name="ending")
    model.compile("sgd", "mse")
    return model

def model_exit():
    return with_layer("exit")

def model_own():
    return with_layer("own")

def model_closed():
    return with_layer("closed")

def model_typer():
    return with_layer("typer")

def loss(y, predicted):
    end("exit")

def data():
    end("exit")

class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, number):
        if number == 2:
            end("exit")
        return np.ones((8, 2), "float32"), np.zeros(8, "int64")

def batches():
    return Batches()

class Notes(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs[5] = 1.0
        logs["a\\udcff\\x1b[31m"] = 2.0

class AtEnd(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        end("exit")

class Moves(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        import os
        os.chdir("/")

def plain():
    stack = [keras.Input((2,)), keras.layers.Dense(2, activation="softmax", name="head")]
    return keras.Sequential(stack, name="plain")
""",
    "loud.py": """\
import os
import subprocess
import sys

import keras

print("loud")
sys.stdout.write("loud")
os.write(1, b"loud")
subprocess.run(["echo", "loud"])

class Loud(keras.layers.Layer):
    def __init__(self, **more):
        print("loud init")
        super().__init__(**more)

    def build(self, shape):
        print("loud build")

    def call(self, x):
        print("loud call")
        os.write(1, b"loud call")
        return x

def model():
    print("loud function")
    model = keras.Sequential([keras.Input((2,)), Loud(), keras.layers.Dense(2, name="head")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model
""",
}


def prepare_folder(folder: Path) -> Path:
    """Write the modules."""
    for name, text in MODULES.items():
        (folder / name).write_text(text)
    return folder
