"""Names that do not fit are not taken for the same, in fingerprints, receipts and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.model.inventory import inventory
from helpers.small_models import compiled


def net(*names: str | None) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, name=name) for name in names]
    return keras.Sequential([keras.Input((4,)), *layers], name="net")


def train(model: keras.Model, plan: fl.Plan) -> fl.Run:
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    return fl.fit(model, plan, x, -x, batch_size=4, verbose=0)


def test_layers_named_by_their_user_are_missing_and_new() -> None:
    before = fl.fingerprint(net("block_1", "block_2"))
    found = fl.verify(net("block_2", "block_3"), before, fl.Plan())
    assert not found.ok
    assert set(found.of("missing")) == {f"block_{n}/{w}" for n in (1, 3) for w in ("kernel", "bias")}
    assert not found.by_order


def test_layers_that_keras_numbered_are_told_by_order_and_that_is_said() -> None:
    first, second = net(None, "head", None), net(None, "head", None)
    found = fl.verify(second, fl.fingerprint(first), fl.Plan())
    assert found.ok
    addresses = [w.address for m in (first, second) for w in inventory(m) if "head" not in w.address]
    assert found.by_order == dict(zip(addresses[:4], addresses[4:], strict=True))
    assert f"told by order, since Keras numbered the layers: {addresses[0]} as {addresses[4]}" in str(found)
    strict = fl.verify(second, fl.fingerprint(first), fl.Plan(), strict=True)
    assert set(strict.of("missing")) == set(addresses)
    assert set(strict.of("intact")) == {"head/kernel", "head/bias"}


def test_layers_in_layers() -> None:
    class Block(keras.layers.Layer):
        def __init__(self, inner: str | None, **named: str) -> None:
            super().__init__(**named)
            self.inner = keras.layers.Dense(4, name=inner)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    def nested(inner: str | None, name: str) -> keras.Sequential:
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((4,)), Block(inner, name=name)])

    before = fl.fingerprint(nested(None, "stage_1"))
    assert fl.verify(nested(None, "stage_1"), before, fl.Plan()).ok
    with pytest.raises(fl.FrostlineError, match="different models"):
        fl.verify(nested(None, "stage_2"), before, fl.Plan())


def test_a_receipt_holds_for_a_copy_with_other_numbers_unless_strict(tmp_path: Path) -> None:
    model = compiled(net(None, "head"))
    before = fl.fingerprint(model)
    run = train(model, fl.Plan().train("head/**"))
    run.receipt.save(tmp_path / "receipt.json")
    receipt = fl.Receipt.load(tmp_path / "receipt.json")
    again = net(None, "head")
    assert receipt.check(before=fl.fingerprint(again)) == []
    assert receipt.check(before=before, strict=True) == []
    assert receipt.check_plan(again) == []
    assert len(receipt.check(before=fl.fingerprint(again), strict=True)) == 2
    assert receipt.check(before=fl.fingerprint(net("body_2", "head"))) != []


def test_a_delta_does_not_go_on_layers_of_other_names(tmp_path: Path) -> None:
    model = compiled(net("block_1", "block_2"))
    run = train(model, fl.Plan().train("block_2/**"))
    fl.save_delta(model, tmp_path / "delta.safetensors", base=run)
    with pytest.raises(fl.FrostlineError):
        fl.load_delta(net("block_2", "block_3"), tmp_path / "delta.safetensors")
    automatic = compiled(net(None, None))
    run = train(automatic, fl.Plan(default="train"))
    fl.save_delta(automatic, tmp_path / "delta.safetensors", base=run)
    other = net(None, None)
    fl.load_delta(other, tmp_path / "delta.safetensors")
    for one, two in zip(automatic.weights, other.weights, strict=True):
        assert keras.ops.all(one == two)
