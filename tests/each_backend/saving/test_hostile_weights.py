"""Weights in a `.keras` archive that are a trap: Keras would follow them, and Frostline does not."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from helpers.small_models import two_dense


def packed_zeros(file: Any) -> None:
    file.create_dataset("x", shape=(200 << 20,), dtype="u1", chunks=(1 << 20,), compression="gzip")


def never_written(file: Any) -> None:
    file.create_dataset("x", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,))


def of_another_file(file: Any) -> None:
    file.create_dataset("x", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])


def link_elsewhere(file: Any) -> None:
    file["x"] = h5py.ExternalLink("/etc/passwd", "/")


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", shape=(4,))
    file.create_virtual_dataset("x", layout)


TRAPS: dict[str, tuple[Callable[[Any], None], str]] = {
    "packed zeros": (packed_zeros, "what holds the weights unpacks from "),
    "numbers that were never written": (never_written, "to 4,398,046,511,104, where at most 67,108,864 are"),
    "numbers of another file": (
        of_another_file,
        "its weights take 'x' from another file, which is not followed",
    ),
    "a link to another file": (
        link_elsewhere,
        "its weights have a link to elsewhere, 'x', which is not followed",
    ),
    "a view of another file": (virtual, "its weights take 'x' from another file, which is not followed"),
}


def with_weights(path: Path, weights: bytes) -> None:
    with_member(path, "model.weights.h5", lambda _: weights)


def with_member(path: Path, name: str, made_of: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[name] = made_of(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    two_dense().save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.mark.parametrize("name", TRAPS)
def test_weights_that_are_a_trap_are_refused(plain: Path, name: str) -> None:
    make, text = TRAPS[name]
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        make(file)
    with_weights(plain, stream.getvalue())
    with pytest.raises(fl.FrostlineError) as caught:
        fl.load_model(plain)
    assert text in str(caught.value)
    assert type(caught.value).__name__ == "ModelFileError"


def test_weights_that_are_no_hdf5_are_refused(plain: Path) -> None:
    with_weights(plain, b"no weights")
    with pytest.raises(fl.FrostlineError, match="its weights are not whole HDF5 file"):
        fl.load_model(plain)


def test_an_honest_model_of_zeros_that_somebody_packed_opens(tmp_path: Path) -> None:
    model = two_dense()
    for variable in model.variables:
        variable.assign(np.zeros(variable.shape, "float32"))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "packed.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert not np.any(fl.load_model(tmp_path / "packed.keras").get_weights()[0])


# Layers that are larger than what the file holds ----------------------------------------------------


def of_layers(*members: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,), name="x"), *members])


def side_by_side(*members: keras.Layer) -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, [one(x) for one in members])


def counted() -> keras.Model:
    model = of_layers(layers.Dense(3, name="a"))
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanIoU(num_classes=3, name="m")])
    model.evaluate(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    return model


HUGE: dict[str, tuple[Callable[[], keras.Model], str, str, str]] = {
    "one layer": (
        lambda: of_layers(layers.Dense(3, name="a")),
        *('"units": 3', '"units": 2000000000', "Dense 'a' with a variable of shape (4, 2000000000)"),
    ),
    "a table": (
        lambda: of_layers(layers.Embedding(5, 3, name="a")),
        *('"input_dim": 5', '"input_dim": 90000000', "Embedding 'a' with a variable of shape (90000000, 3)"),
    ),
    "many layers together": (
        lambda: side_by_side(*(layers.Dense(3, name=f"a{place}") for place in range(9))),
        *('"units": 3', '"units": 300000', "Dense 'a2' with a variable of shape (4, 300000)"),
    ),
    "a layer within a layer": (
        lambda: of_layers(layers.Reshape((2, 2)), layers.Bidirectional(layers.LSTM(3, name="a"))),
        *('"units": 3', '"units": 500000', "LSTMCell"),
    ),
    "what a metric counts": (
        counted,
        *(
            '"num_classes": 3',
            '"num_classes": 200000',
            "MeanIoU 'm' with a variable of shape (200000, 200000)",
        ),
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_layers_far_larger_than_the_file_are_refused(tmp_path: Path, name: str) -> None:
    make, small, large, received = HUGE[name]
    path = tmp_path / "model.keras"
    make().save(path)
    for enlarged in (False, True):
        if enlarged:
            with_member(path, "config.json", lambda text: text.replace(small.encode(), large.encode()))
            with pytest.raises(fl.FrostlineError) as caught:
                fl.load_model(path)
            assert caught.value.what.endswith("are far larger than the weights in it")
            assert received in str(caught.value.received)
        else:
            fl.load_model(path)
    assert sum(int(np.prod(v.shape)) for v in make().variables) < 10_000  # nothing stays limited


def test_a_layer_that_packs_its_weights_opens(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("test_hostile_weights")
    class Packed(keras.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, shape: tuple[int, ...]) -> None:
            self.table = self.add_weight(shape=(2048, 2048), initializer="ones", name="table")

        def call(self, x: Any) -> Any:
            return x

        def save_own_variables(self, store: Any) -> None:
            store["row"] = keras.ops.convert_to_numpy(self.table[:1])

        def load_own_variables(self, store: Any) -> None:
            self.table.assign(np.repeat(np.asarray(store["row"]), 2048, 0))

    of_layers(Packed(name="a")).save(tmp_path / "model.keras")
    assert fl.load_model(tmp_path / "model.keras").count_params() == 2048 * 2048
