"""No false alarm: on real architectures and on every layer of Keras all weights train, and nothing is wrong.

Some run in `make test`; all of them, KerasHub's included, in `make test-all`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import keras
import pytest

import frostline as fl
from helpers import architectures
from helpers.every_layer import every_layer, wanted

BACKEND = keras.backend.backend()

NOT_OFFERED = {("NASNetMobile", "torch"): "Keras does not offer NASNetMobile on PyTorch"}

QUICK = {
    "torch": {
        *("ConvNeXtTiny", "EfficientNetB0", "MobileNet", "MobileNetV3Small"),
        *("BertBackbone", "RobertaBackbone", "DistilBertBackbone", "AlbertBackbone", "FNetBackbone"),
        *("GPT2Backbone", "LlamaBackbone", "ViTBackbone"),
    },
    # Compiling takes most of the time, and depthwise convolutions are slow on JAX's CPU backend.
    "jax": {"VGG16", "BertBackbone", "LlamaBackbone"},
    "tensorflow": {"VGG16", "MobileNetV3Small", *architectures.HUB},
}[BACKEND]
"""What runs in `make test`."""


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    """Draw the same weights at every run, spend no threads on small tensors, and free what it took."""
    keras.utils.set_random_seed(0)
    if BACKEND == "torch":
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)
    else:
        yield
    keras.utils.clear_session()


def parameters(names: Any) -> list[Any]:
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


def require_no_alarm(model: keras.Model, batch: architectures.Batch) -> None:
    answer = fl.audit(model, *batch)
    assert {a: s for a, s in answer.statuses.items() if s != "trains"} == {}
    # Nothing is said of a good model but of shifts in front of a normalization, of which many have some: a
    # warning that is always there is one that nobody reads.
    assert {finding.code for finding in answer.findings} <= {"FL110"}
    assert {finding.severity for finding in answer.findings} <= {"note"}
    assert answer.ok
    assert set(answer.gradient_norms) == set(answer.statuses)


@pytest.mark.parametrize("name", parameters(architectures.APPLICATIONS))
def test_application(name: str) -> None:
    if (name, BACKEND) in NOT_OFFERED:
        pytest.skip(NOT_OFFERED[name, BACKEND])
    require_no_alarm(*architectures.application(name))


def test_convnext_of_one_block_a_stage() -> None:
    """All the kinds of layers that a ConvNeXt has, at a tenth of the time."""
    require_no_alarm(*architectures.small_convnext())


@pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None,
    reason="KerasHub is not installed: `make test-all` installs it",
)
@pytest.mark.parametrize("name", parameters(architectures.HUB))
def test_hub(name: str) -> None:
    require_no_alarm(*architectures.hub(name))


@pytest.mark.parametrize("blocks", [pytest.param(12, marks=pytest.mark.slow if BACKEND == "jax" else ())])
@pytest.mark.every_backend
def test_encoder(blocks: int) -> None:
    require_no_alarm(*architectures.encoder(blocks))


@pytest.mark.every_backend
def test_every_layer_of_keras() -> None:
    model, batch = every_layer()
    assert wanted() <= {type(node.layer).__name__ for node in fl.inventory(model).layers}
    require_no_alarm(model, batch)
