"""Plans on a model of KerasHub: a tiny BERT with random weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.model.inventory import inventory

keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed: `make test-all` installs it")

pytestmark = pytest.mark.slow

TOKENS, LENGTH, BLOCKS = 30, 8, 3


def classifier() -> keras.Model:
    """A BertBackbone as the layer `backbone`, its pooled output, Dense `head`."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=TOKENS,
        num_layers=BLOCKS,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=LENGTH,
        name="backbone",
    )
    inputs = {name: keras.Input((LENGTH,), dtype="int32", name=name) for name in backbone.input}
    outputs = keras.layers.Dense(2, name="head")(backbone(inputs)["pooled_output"])
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse")
    return model


def data() -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, TOKENS, (8, LENGTH)).astype("int32")
    x = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    return x, rng.normal(size=(8, 2)).astype("float32")


def trained_under(model: keras.Model, plan: fl.Plan) -> set[str]:
    """Train two steps, verify, and return what moved."""
    before = fl.fingerprint(model)
    fl.fit(model, plan, *data(), batch_size=4, verbose=0)
    found = fl.verify(model, before, plan)
    assert found.ok
    assert not found.of("changed", "missing")
    # Softmax is blind to a bias of the keys: its gradient is zero but for rounding.
    assert all(address.endswith("/key/bias") for address in found.of("unmoved"))
    return set(found.of("trained"))


def test_linear_probe_trains_the_head_alone() -> None:
    assert trained_under(classifier(), fl.linear_probe()) == {"head/kernel", "head/bias"}


def test_last_blocks_trains_these_blocks_and_the_head() -> None:
    model = classifier()
    plan = fl.last_blocks(model, 2)
    first, *last = (f"backbone/transformer_layer_{n}/" for n in range(BLOCKS))
    moved = trained_under(model, plan)
    expected = {
        w.address
        for w in inventory(model).of_role("weight")
        if w.address.startswith((*last, "head/")) and not w.address.endswith("/key/bias")
    }
    assert expected <= moved
    assert not any(address.startswith(first) for address in moved)


def test_the_probe_goes_before_the_blocks() -> None:
    model = classifier()
    trained_under(model, fl.linear_probe())
    assert len(trained_under(model, fl.last_blocks(model, 1))) > 10
