"""The folder that tests of the command line work in: models, whole and damaged, plans, modules, a receipt."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import pytest

import frostline as fl
from helpers import small_models
from helpers.command_line import at_work_in

MODULES = {
    "my_models.py": """\
        import keras
        from keras import layers

        VERSION = "1"

        def good():
            stack = [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="head")]
            return keras.Sequential(stack, name="good")

        def unbuilt():
            return keras.Sequential([layers.Dense(3, name="a")], name="unbuilt")

        def failing():
            sizes = [4, 3]
            return layers.Dense(sizes[2])

        def number():
            return 3
        """,
    "my_layers.py": """\
        import keras

        @keras.saving.register_keras_serializable("mine")
        class Registered(keras.layers.Dense):
            pass

        class Plain(keras.layers.Dense):
            pass

        def doubled(x):
            return 2 * x
        """,
    "needs_more.py": "import not_installed_anywhere\n",
    "unfinished.py": "def model(:\n",
}
PLANS = {
    "plan.yaml": "frostline: 1\nrules:\n- train: 'head/**'\n  lr: 0.1\n",
    "plan.json": '{"frostline": 1, "rules": [{"train": "head/**", "lr": 0.1}]}',
    "misspelt.yaml": "frostline: 1\nrules:\n- train: 'head/**'\n- train: a/kernl\n",
    "foreign.yaml": "frostline: 1\nrules:\n- train: 'decoder/**'\n- freeze: 'encoder/**'\n",
    "optional.yaml": "frostline: 1\nrules:\n- {train: 'decoder/**', optional: true}\n",
    "statistics.yaml": "frostline: 1\nrules:\n- train: 'bn/moving_*'\n",
    "twice.yaml": "frostline: 1\nrules: []\nrules: []\n",
    "unknown.yaml": "frostline: 1\nrulse: []\n",
    "typed.yaml": "frostline: 1\nrules:\n- train: 'head/**'\n  lr: fast\n",
}


def prepare_folder(folder: Path) -> Path:
    """Fill a folder with everything that the cases need; each works on a copy."""
    for name, text in MODULES.items():
        (folder / name).write_text(
            "\n".join(line[8:] if line[:8].isspace() else line for line in text.split("\n"))
        )
    for name, text in PLANS.items():
        (folder / name).write_text(text)

    base = small_models.compiled(two_layers(), "adam")
    base.save(folder / "base.keras")
    run = fl.fit(base, fl.Plan().train("head/**"), *small_models.data_for(base), verbose=0)
    base.save(folder / "tuned.keras")
    assert run.receipt is not None
    run.receipt.save(folder / "receipt.json")
    small_models.batch_norm().save(folder / "bn.keras")
    damaged_models(folder)
    models_of_other_code(folder)
    return folder


def two_layers() -> keras.Model:
    keras.utils.set_random_seed(small_models.SEED)
    dense = keras.layers.Dense
    stack = [
        keras.Input((small_models.INPUTS,)),
        dense(3, name="a"),
        dense(small_models.OUTPUTS, name="head"),
    ]
    return keras.Sequential(stack, name="two_layers")


def damaged_models(folder: Path) -> None:
    whole = (folder / "base.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (folder / "old.h5").write_bytes(b"\x89HDF")
    (folder / "notes.txt").write_text("")
    with zipfile.ZipFile(folder / "base.keras") as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(folder / "lacking.keras", "w") as archive:
        archive.writestr("config.json", config)


def models_of_other_code(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, at_work_in(folder, patch):
        sys.path.insert(0, str(folder))
        import my_layers

        for kind in ("Registered", "Plain"):
            layer = getattr(my_layers, kind)(2, activation=my_layers.doubled, name="head")
            keras.Sequential([keras.Input((4,)), layer], name="custom").save(folder / f"{kind.lower()}.keras")
        function = keras.layers.Lambda(lambda x: 2 * x, output_shape=(4,), name="twice")
        head = keras.layers.Dense(2, name="head")
        keras.Sequential([keras.Input((4,)), function, head], name="python").save(folder / "lambda.keras")


@contextmanager
def at_work_in_a_copy(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run a case in a copy of the folder, and forget what it imported."""
    here = tmp_path / "here"
    shutil.copytree(prepared, here, ignore=shutil.ignore_patterns("__pycache__"))
    with at_work_in(here, monkeypatch):
        yield here
