"""What only TensorFlow has: functions of Python in a graph, loaded functions, maps that need a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

if keras.backend.backend() != "tensorflow":
    pytest.skip("of TensorFlow", allow_module_level=True)

import tensorflow as tf

import frostline as fl

pytestmark = pytest.mark.every_backend

X = tf.constant(np.random.default_rng(0).random((8, 5)).astype("float32"))


def status(loss: Callable[[Any], Any]) -> str:
    k = keras.Variable(np.ones(5, "float32"), name="k")
    said = fl.explain(lambda: loss(k), [k])
    assert not any("AssertionError" in note for note in said.notes)
    return said["k"].status


MAPS = {
    "keras": lambda k: ops.mean(ops.vectorized_map(lambda row: ops.sum(row * k), X)),
    "tensorflow": lambda k: tf.reduce_mean(tf.vectorized_map(lambda row: tf.reduce_sum(row * k.value), X)),
}
FUNCTIONS = {
    "numpy": ("cut", lambda q: np.float32(np.sum(q.numpy() ** 2))),
    "implicit": ("cut", lambda q: np.sum(np.asarray(q) ** 2)),
    "float": ("cut", lambda q: float(tf.reduce_sum(q))),
    "tensorflow": ("trains", lambda q: tf.reduce_sum(q**2)),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_map_that_needs_a_graph_is_measured_in_one(name: str) -> None:
    assert status(MAPS[name]) == "trains"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_py_function_runs_is_looked_into(name: str) -> None:
    expected, function = FUNCTIONS[name]
    assert status(lambda k: tf.py_function(function, [X * k], tf.float32)) == expected


def test_numpy_in_py_function_is_named_and_the_remedy_mends_it() -> None:
    k = keras.Variable(np.ones(5, "float32"), name="k")
    said = fl.explain(
        lambda: tf.py_function(lambda q: np.float32(np.sum(q.numpy())), [X * k], tf.float32), [k]
    )["k"]
    assert [(cut.reason, cut.operation) for cut in said.cuts] == [("left_framework", "numpy")]
    mended = fl.explain(lambda: tf.py_function(lambda q: ops.sum(q), [X * k], tf.float32), [k])
    assert mended["k"].status == "trains"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(5, name="inner")])
    inner.export(folder, verbose=False)
    return folder


def test_a_layer_of_a_saved_model_is_followed(exported: Path) -> None:
    loaded = layers.TFSMLayer(exported, call_endpoint="serve")
    low, top = layers.Dense(5, name="low"), layers.Dense(4, name="top")
    model = keras.Sequential([keras.Input((5,)), low, loaded, top])
    model.compile("sgd", "mse")
    said = fl.audit(model, X, np.zeros((8, 4), "float32"))
    assert {a: said.statuses[a] for a in ("low/kernel", "top/kernel")} == {
        "low/kernel": "trains",
        "top/kernel": "trains",
    }


def test_loaded_functions_and_signatures_are_followed(exported: Path) -> None:
    loaded = tf.saved_model.load(exported)
    signature = loaded.signatures["serving_default"]
    assert status(lambda k: tf.reduce_mean(loaded.serve(X * k))) == "trains"
    assert status(lambda k: tf.reduce_mean(next(iter(signature(X * k).values())))) == "trains"
