"""`frostline fit` opens what it wrote before it calls a run finished; what cannot be opened is not lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import DeltaError, ModelFileError
from frostline.saving.reopened import require_opens
from helpers.command_line import Runner
from helpers.run_configs import write

MODELS = '''
import keras
import numpy as np


def net(make):
    keras.utils.set_random_seed(0)
    middle = make()
    head = keras.layers.Dense(3, activation="softmax", name="head")
    return keras.Sequential([keras.Input((4,)), middle, head], name="odd")


def lambda_activation():
    return net(lambda: keras.layers.Dense(5, activation=lambda x: x * 2, name="bent"))


def lambda_layer():
    return net(lambda: keras.layers.Lambda(lambda x: x * 2, name="bent"))


def nested():
    def inner():
        bent = keras.layers.Dense(5, activation=lambda x: x, name="bent")
        return keras.Sequential([keras.Input((4,)), bent], name="inner")

    return net(inner)


def local_class():
    class Local(keras.layers.Layer):
        def call(self, x):
            return x

    return net(lambda: Local(name="bent"))


class Size:
    value = 2.0


class NoConfig(keras.layers.Layer):
    def __init__(self, size, **named):
        super().__init__(**named)
        self.size = size

    def call(self, x):
        return x * self.size.value


def no_config():
    return net(lambda: NoConfig(Size(), name="bent"))


class Forgetful(keras.layers.Layer):
    """Does not write its weight."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), initializer="random_normal", name="scale")

    def call(self, x):
        return x * self.scale

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass


def forgetful():
    return net(lambda: Forgetful(name="bent"))


def own_class():
    return net(lambda: Plain(name="bent"))


class Plain(keras.layers.Layer):
    def call(self, x):
        return x
'''


def config(function: str, **changes: Any) -> dict[str, Any]:
    Path("odd_models.py").write_text(MODELS)
    return {"model": f"odd_models:{function}", "epochs": 1, "validation": None, **changes}


CULPRITS = {
    "lambda_activation": "because of bent",
    "lambda_layer": "because of bent",
    "nested": "because of inner/bent",
    "local_class": "because of bent",
    "no_config": "because of bent",
    "forgetful": "holds other values than the model",
}


@pytest.mark.parametrize("function", CULPRITS)
def test_a_run_whose_model_cannot_be_opened_is_not_finished(run: Runner, function: str) -> None:
    write(**config(function))
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert CULPRITS[function] in done.err, done.err
    assert "bent" in done.err
    assert "finished in" not in done.out
    assert json.loads(Path("out/run.json").read_text())["status"] == "running"
    trained = fl.Receipt.load("out/receipt.json").after
    model = __import__("odd_models").__dict__[function]()
    if function != "forgetful":
        model.load_weights("out/model.weights.h5")
    else:
        fl.load_delta(model, "out/delta.safetensors")
    for address in ("head/kernel", "head/bias"):
        assert fl.fingerprint(model)[address].blake3 == trained[address].blake3
    assert fl.load_delta(__import__("odd_models").__dict__[function](), "out/delta.safetensors")


def test_whoever_trusts_lambdas_says_so(run: Runner) -> None:
    write(**config("lambda_layer", unsafe=True))
    done = run("fit", "run.yaml")
    assert done.code == 0, done.err
    assert not Path("out/model.weights.h5").exists()


def test_a_class_in_a_module_of_ones_own_is_found(run: Runner) -> None:
    write(**config("own_class"))
    done = run("fit", "run.yaml")
    assert (done.code, done.err) == (0, ""), done.err
    assert any("model.keras opens with --import odd_models" in line for line in done.lines)
    checked = done.lines[-1].partition("check it: frostline ")[2].split()
    assert checked[-2:] == ["--import", "odd_models"]
    assert run(*checked).code == 0


def test_what_was_written_is_held_against_the_model(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
    model.save(tmp_path / "m.keras")
    require_opens(tmp_path / "m.keras", model)
    model.layers[0].bias.assign([1.0, 2.0])
    with pytest.raises(ModelFileError, match="holds other values than the model") as caught:
        require_opens(tmp_path / "m.keras", model)
    assert "head/bias" in str(caught.value.received)


def test_a_delta_that_cannot_be_read_again_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
    path = tmp_path / "kept" / "d.safetensors"
    path.parent.mkdir()
    fl.save_delta(model, path)
    before = path.read_bytes()
    model.layers[0].bias.assign(np.ones(2))
    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: real(self, data[:-1] + b"\1"))
    with pytest.raises(DeltaError, match="could not be read again after it was written"):
        fl.save_delta(model, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["d.safetensors"]
