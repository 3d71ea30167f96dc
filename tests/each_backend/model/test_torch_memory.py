"""Tensors that a PyTorch module keeps as plain attributes: put back as they were, and said not to be held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("modules of PyTorch", allow_module_level=True)

import torch

import frostline as fl
from helpers.interrupted_runs import Interrupt, Interrupted
from helpers.torch_modules import Remembering, data, wrapped

MEMORY = ["backbone/mean", "backbone/spin", "backbone/seen", "backbone/last"]
HEAD = fl.Plan().train("head/**")


def remembering() -> keras.Model:
    return wrapped(Remembering)


def fitted(model: keras.Model, **more: Any) -> fl.Run:
    return fl.fit(model, HEAD, *data(), **{"verbose": 0, "epochs": 2, **more})


def require_alike(one: keras.Model, other: keras.Model) -> None:
    bits = [
        {w.address: w.numpy().tobytes() for w in fl.inventory(m) if w.role != "metric"} for m in (one, other)
    ]
    assert bits[0] == bits[1]


def test_it_is_state_and_a_generator_is_a_seed() -> None:
    roles = {w.address: w.role for w in fl.inventory(remembering()) if w.is_held}
    assert roles == {
        "backbone/mean": "state",
        "backbone/spin": "state",
        "backbone/seen": "state",
        "backbone/noise": "seed",
    }


def test_a_run_says_that_it_moved_under_a_frozen_module() -> None:
    run = fitted(remembering())
    assert run.verification is not None
    assert run.verification.ok
    text = f"moved, and no plan holds it, since it is a layer's own memory: {', '.join(MEMORY)}"
    assert text in str(run)


def test_nothing_is_said_where_it_stays() -> None:
    model = remembering()
    before = fl.fingerprint(model)
    assert not any("memory" in line for line in fl.verify(model, before, HEAD).remarks)


def test_a_model_file_puts_it_back(tmp_path: Path) -> None:
    model = remembering()
    fitted(model)
    fl.save_model(model, tmp_path / "m.keras")
    require_alike(model, fl.load_model(tmp_path / "m.keras", safe_mode=False))


def test_a_run_that_goes_on_has_it_back(tmp_path: Path) -> None:
    whole = remembering()
    fitted(whole, epochs=4)
    with pytest.raises(Interrupted):
        fitted(remembering(), epochs=4, resume=tmp_path / "run", callbacks=[Interrupt(2, "begin")])
    model = remembering()
    assert fitted(model, epochs=4, resume=tmp_path / "run").resumed == 2
    require_alike(whole, model)


@pytest.mark.parametrize("base", ["run", "fingerprint", "nothing"])
def test_a_delta_says_that_it_leaves_it_out(base: str, tmp_path: Path) -> None:
    model = remembering()
    before = fl.fingerprint(model)
    run = fitted(model)
    given = {"run": run, "fingerprint": before, "nothing": None}[base]
    with pytest.warns(UserWarning, match="leaves out memory of layers that .*: backbone/mean"):
        fl.save_delta(model, tmp_path / "d.safetensors", base=given)


def test_a_delta_of_a_model_that_only_trained_says_nothing(tmp_path: Path, recwarn: Any) -> None:
    model = remembering()
    before = fl.fingerprint(model)
    model.get_layer("head").bias.assign(np.ones(2))
    fl.save_delta(model, tmp_path / "d.safetensors", base=before)
    assert [str(w.message) for w in recwarn if "leaves out" in str(w.message)] == []


def test_a_value_of_another_shape_takes_the_place() -> None:
    (spin,) = [w for w in fl.inventory(remembering()) if w.address == "backbone/spin"]
    assert (spin.shape, spin.dtype) == ((2, 2), "float32")  # complex numbers stand as pairs
    spin.variable.assign(np.arange(6, dtype="float32").reshape(3, 2))
    held = vars(spin.variable.holder)["spin"]
    assert held.tolist() == [1j, 2 + 3j, 4 + 5j]
    spin.variable.assign(np.zeros((3, 2), "float32"))
    assert vars(spin.variable.holder)["spin"] is held
    assert held.tolist() == [0j] * 3


@keras.saving.register_keras_serializable("tests")
class Late(keras.layers.Layer):
    """Keeps the mean of its inputs, which it makes at its first call or in its constructor."""

    def __init__(self, early: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.early, self.mean = early, torch.zeros(4) if early else None

    def call(self, x: Any) -> Any:
        if not x.is_meta:
            self.mean = x.detach().mean(0)
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "early": self.early}


def late(early: bool) -> keras.Model:
    keras.utils.set_random_seed(1)
    layer = Late(early, name="late")
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    fitted(model)
    return model


def test_a_file_says_where_a_tensor_has_no_place_and_how_it_gets_one(tmp_path: Path, recwarn: Any) -> None:
    fl.save_model(late(early=False), tmp_path / "late.keras")
    with pytest.warns(UserWarning, match="no place for tensors .*: late/mean; fix: make them in the cons"):
        fl.load_model(tmp_path / "late.keras")
    recwarn.clear()
    model = late(early=True)
    fl.save_model(model, tmp_path / "early.keras")
    require_alike(model, fl.load_model(tmp_path / "early.keras"))
    assert [str(w.message) for w in recwarn if "no place" in str(w.message)] == []
