"""Files that are not as they were written: what is said of them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, optimizers

import frostline as fl
from helpers.checks import (
    keras_fit,
)
from helpers.saved_models import Shift, parts, same
from helpers.small_models import (
    compiled,
    custom_block,
    two_dense,
)

pytestmark = pytest.mark.eager


def rewritten(path: Path, **members: bytes | None) -> Path:
    """The archive with other members; None leaves one out. Dots in names are written as `__`."""
    other = path.with_name("other.keras")
    changed = {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = changed.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return other


def refused(path: Path, **arguments: Any) -> str:
    with pytest.raises(fl.FrostlineError) as failed:
        fl.load_model(path, **arguments)
    return str(failed.value).replace(str(path), path.name)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    fl.parametrize(model, "a/kernel", fl.LowRank(1, seed=2))
    keras_fit(model)
    fl.save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_an_altered_file_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        text, values = archive.read("frostline.json"), archive.read("frostline.safetensors")
    what = (
        "the decisions in 'other.keras' were altered after they were written.\n"
        "  received: frostline.json: {}\n"
        "  expected: what frostline.save_model wrote\n"
        "  fix:      ask for the file as it was saved; keras.models.load_model opens the model without the "
        "decisions"
    )
    swapped = text.replace(b'"trains": true', b'"trains": false', 1)
    assert swapped != text
    assert refused(rewritten(saved, frostline__json=swapped)) == what.format("its own digest does not fit")
    assert refused(rewritten(saved, frostline__json=b"{")) == what.format("it is not JSON")
    other = what.format("frostline.safetensors is not the one it was written with")
    spoilt = values[:-1] + bytes([values[-1] ^ 1])
    assert refused(rewritten(saved, frostline__safetensors=spoilt)) == other
    assert refused(rewritten(saved, frostline__safetensors=None)) == other
    newer = text.replace(b'"frostline_model": 1', b'"frostline_model": 2')
    assert refused(rewritten(saved, frostline__json=newer)).startswith(
        "the decisions in 'other.keras' are of another version of Frostline.\n  received: version 2\n"
    )
    plain = fl.load_model(rewritten(saved, frostline__json=None, frostline__safetensors=None))
    assert [v.path for v in plain.trainable_variables] == ["a/kernel", "a/bias", "b/kernel", "b/bias"]


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-200])
    assert refused(saved).startswith("'model.keras' is truncated or damaged: ")
    saved.unlink()
    assert refused(saved) == "there is no model 'model.keras'.\n  expected: a .keras file, or module:function"


def test_decisions_of_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        text, values = archive.read("frostline.json"), archive.read("frostline.safetensors")
    fl.save_model(custom_block(), tmp_path / "block.keras")
    mixed = rewritten(tmp_path / "block.keras", frostline__json=text)
    with zipfile.ZipFile(mixed, "a") as archive:
        archive.writestr("frostline.safetensors", values)
    assert refused(mixed).splitlines()[:2] == [
        "'other.keras' cannot be restored: the decisions in the file are of another model than the one in "
        "it.",
        "  received: these differ: a/kernel, a/bias, b/kernel, b/bias, block/inner/kernel and 5 more",
    ]


def test_a_class_that_is_not_known_is_named(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("passing")
    class Passing(Shift):
        pass

    model = two_dense()
    fl.parametrize(model, "a/kernel", Passing(2.0))
    path = tmp_path / "model.keras"
    fl.save_model(model, path)
    keras.saving.get_custom_objects().pop("passing>Passing")
    assert refused(path) == (
        "'model.keras' cannot be restored: a weight was parametrized by 'passing>Passing', which nothing "
        "that was imported defines.\n"
        "  fix:      import the module that defines it first, or give the class in custom_objects"
    )
    loaded = fl.load_model(path, custom_objects={"Passing": Passing})
    assert same(parts(loaded), parts(model))


def test_python_code_is_refused_unless_asked_for(tmp_path: Path) -> None:
    stack = [keras.Input((3,)), layers.Lambda(lambda x: x + 1, output_shape=(3,)), layers.Dense(2)]
    path = tmp_path / "model.keras"
    fl.save_model(keras.Sequential(stack), path)
    said = refused(path)
    assert said.startswith("Keras cannot load 'model.keras'.")
    assert said.endswith("fix:      it contains Python code: if you trust it, pass safe_mode=False")
    assert len(fl.load_model(path, safe_mode=False).layers) == 2
