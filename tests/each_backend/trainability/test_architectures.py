"""One plan on many real architectures, and the addresses of every way in which Keras nests layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.model.inventory import inventory
from helpers.folders import TESTS
from helpers.structures import STRUCTURES, addresses, all_addresses

BACKEND = keras.backend.backend()
CLASSES = 5


@pytest.fixture(autouse=True)
def _memory_freed() -> Any:
    yield
    keras.utils.clear_session()


# --- Keras applications -----------------------------------------------------------------------

SIDES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "Xception": 71,
}
"""The smallest square input that each takes."""

TRAINED = ("ResNet50V2", "VGG16") if BACKEND == "jax" else ("MobileNetV2", "ResNet50V2", "VGG16")
"""Depthwise convolutions are very slow on JAX's CPU backend."""


def application(name: str) -> keras.Model:
    if name == "NASNetMobile" and BACKEND == "torch":
        pytest.skip("Keras does not offer NASNetMobile on PyTorch")
    side = SIDES[name]
    build = getattr(keras.applications, name)
    return build(weights=None, input_shape=(side, side, 3), classes=CLASSES)


def state(model: keras.Model) -> list[Any]:
    """All that a plan may change on the layers and weights of a model."""
    held = inventory(model)
    flags = [(n.address, n.layer.trainable, vars(n.layer).get("call")) for n in held.layers]
    return [flags, [(w.address, w.variable.trainable) for w in held]]


@pytest.fixture
def _zeros_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not draw millions of random numbers that nobody looks at; on JAX each shape would be compiled."""

    def zeros(_: Any, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(np.zeros(shape, dtype or "float32"))

    for initializer in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        monkeypatch.setattr(initializer, "__call__", zeros)


def probed() -> list[Any]:
    """All of them; the one that PyTorch does not have is for `make test-all`, on JAX and TensorFlow."""
    return [pytest.param(n, marks=pytest.mark.slow if n == "NASNetMobile" else ()) for n in sorted(SIDES)]


@pytest.mark.usefixtures("_zeros_at_start")
@pytest.mark.parametrize("name", probed())
def test_linear_probe_trains_exactly_the_head(name: str) -> None:
    model = application(name)
    before, with_weights = state(model), [layer for layer in model.layers if layer.weights]
    # Behind the pooling of these two stand a normalization, and a convolution, and then the last layer.
    head = with_weights[-2 if name.startswith(("ConvNeXt", "MobileNetV3")) else -1 :]
    expected = [variable for layer in head for variable in layer.weights]
    statistics = inventory(model).of_role("statistic")
    with fl.applied(model, fl.linear_probe()) as resolution:
        assert [v.path for v in model.trainable_variables] == [v.path for v in expected]
        assert [d.weight.variable for d in resolution.trained] == expected
        assert not any(d.trains for d in resolution.statistics)
        assert len(resolution.statistics) == len(statistics)
    assert state(model) == before


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step_moves_the_head_alone(name: str) -> None:
    model = application(name)
    model.compile(keras.optimizers.AdamW(0.01), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, SIDES[name], SIDES[name], 3)).astype("float32")
    before = fl.fingerprint(model)
    run = fl.fit(model, fl.linear_probe(), x, np.arange(4), batch_size=4, verbose=0)
    after = fl.verify(model, before, fl.linear_probe())
    assert after.ok
    assert after.findings == run.verification.findings
    assert after.of("trained") == ("predictions/kernel", "predictions/bias")
    assert not after.of("moved", "changed", "unmoved", "missing")


# --- structures -------------------------------------------------------------------------------


structures = pytest.mark.parametrize("build", STRUCTURES, ids=lambda build: build.__name__)


@structures
def test_addresses_are_these(build: Callable[[], keras.Model]) -> None:
    model = build()
    assert addresses(model) == STRUCTURES[build]
    every = [a for w in inventory(model) for a in w.addresses]
    assert len(every) == len(set(every))
    assert {id(w.variable) for w in inventory(model)} == {id(v) for v in model.variables}


@structures
def test_addresses_do_not_depend_on_the_name_of_the_root(build: Callable[[], keras.Model]) -> None:
    first, second = build(), build()  # Keras numbers the second
    second.name = "something/else"
    assert first.name != second.name
    assert addresses(first) == addresses(second)


@structures
def test_every_alias_picks_the_weight(build: Callable[[], keras.Model]) -> None:
    model = build()
    for weight in inventory(model).of_role("weight"):
        for address in weight.addresses:
            trained = fl.Plan().train(address).resolve(model).trained
            assert [d.weight.address for d in trained] == [weight.address]


def test_addresses_are_equal_in_another_process() -> None:
    """Where Keras has counted through other names, and Python hashes by another seed."""
    code = (
        "import json, keras; from helpers.structures import all_addresses, dense\n"
        "keras.Sequential([dense(None)]), keras.Sequential([dense(None)])\n"
        "print(json.dumps(all_addresses()))"
    )
    tests = str(TESTS)
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": tests, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout.splitlines()[-1])
    assert there == json.loads(json.dumps(all_addresses()))
