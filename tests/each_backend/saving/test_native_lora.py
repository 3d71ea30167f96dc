"""Keras's own LoRA comes back from a model file as it was, and goes on training as it would have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from frostline.errors import DeltaError, ModelFileError, ResumeError
from frostline.saving.model_file import save_plainly
from helpers.interrupted_runs import Interrupt, Interrupted

pytestmark = pytest.mark.eager

EAGER = keras.backend.backend() != "torch"
FACTORS = fl.Plan().train("**/lora_*").train("head/**")


def dense() -> keras.Model:
    return keras.Sequential([keras.Input((6, 4)), layers.Dense(5, name="a"), *_head()])


def einsum() -> keras.Model:
    layer = layers.EinsumDense("abc,cd->abd", output_shape=(6, 5), bias_axes="d", name="a")
    return keras.Sequential([keras.Input((6, 4)), layer, *_head()])


def convolution() -> keras.Model:
    return keras.Sequential([keras.Input((6, 4)), layers.Conv1D(5, 3, name="a"), *_head()])


def embedding() -> keras.Model:
    # Ids from numbers, so that all of these take the same data.
    ids = layers.Lambda(_ids, output_shape=(6,), name="ids")
    return keras.Sequential([keras.Input((6, 4)), ids, layers.Embedding(9, 5, name="a"), *_head()])


def nested() -> keras.Model:
    inside = keras.Sequential([keras.Input((6, 4)), layers.Dense(4, name="a"), layers.Dense(5, name="b")])
    inside.name = "inside"
    return keras.Sequential([keras.Input((6, 4)), inside, *_head()])


def shared() -> keras.Model:
    inputs, twice = keras.Input((6, 4)), layers.Dense(4, name="a")
    outputs = twice(twice(inputs))
    for layer in _head():
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


@keras.saving.register_keras_serializable("frostline_tests")
class Forgetful(layers.Dense):  # type: ignore[misc]  # Keras ships no types
    """Says nothing of LoRA in its configuration."""

    def get_config(self) -> dict[str, Any]:
        return {k: v for k, v in super().get_config().items() if not k.startswith("lora")}


def forgetful() -> keras.Model:
    return keras.Sequential([keras.Input((6, 4)), Forgetful(5, name="a"), *_head()])


def _ids(x: Any) -> Any:
    return keras.ops.cast(keras.ops.abs(x[..., 0]) * 3, "int32")


def _head() -> list[Any]:
    return [layers.Flatten(name="flat"), layers.Dense(2, name="head")]


MODELS: list[Callable[[], keras.Model]] = [
    dense,
    einsum,
    convolution,
    embedding,
    nested,
    shared,
    forgetful,
]


def made(make: Callable[[], keras.Model], alpha: Any = 7, mode: str | None = None) -> keras.Model:
    """With LoRA of rank 2 on all but the head, and an optimizer that remembers."""
    keras.utils.set_random_seed(3)
    model = make()
    for node in fl.inventory(model).layers:
        if node.address not in ("", "head") and hasattr(node.layer, "enable_lora"):
            if mode is not None:
                node.layer.quantize(mode)
            node.layer.enable_lora(2, lora_alpha=alpha)
    model.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=EAGER)
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(size=(16, 6, 4)), -2.5, 2.5).astype("float32")
    return x, rng.normal(size=(16, 2)).astype("float32")


def fitted(model: keras.Model, **more: Any) -> fl.Run:
    return fl.fit(model, FACTORS, *data(), verbose=0, shuffle=False, **more)


def outputs(model: keras.Model) -> np.ndarray:
    return np.asarray(model.predict(data()[0], verbose=0))


def bits(model: keras.Model) -> dict[str, bytes]:
    return {w.address: w.numpy().tobytes() for w in fl.inventory(model) if w.role != "metric"}


def loaded(path: Path) -> keras.Model:
    return fl.load_model(path, safe_mode=False, custom_objects={"_ids": _ids})


# Model files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MODELS)
def test_a_model_comes_back_and_goes_on(make: Callable[[], keras.Model], tmp_path: Path) -> None:
    model = made(make)
    fitted(model, epochs=2)
    fl.save_model(model, tmp_path / "m.keras")
    again = loaded(tmp_path / "m.keras")
    assert bits(model) == bits(again)
    assert np.array_equal(outputs(model), outputs(again))
    for one in (model, again):
        fitted(one)
    assert bits(model) == bits(again)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("make", [dense, einsum, embedding])
def test_a_quantized_kernel_is_not_rounded_again(
    make: Callable[[], keras.Model], mode: str, tmp_path: Path
) -> None:
    model = made(make, mode=mode)
    for weight in fl.inventory(model):
        if weight.name.startswith("lora_"):
            weight.variable.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.1)
    fl.save_model(model, tmp_path / "m.keras")
    again = loaded(tmp_path / "m.keras")
    assert bits(model) == bits(again)
    assert np.array_equal(outputs(model), outputs(again))


@pytest.mark.parametrize("make", [dense, einsum, nested])
def test_what_keras_cannot_merge_is_refused_by_name(make: Callable[[], keras.Model], tmp_path: Path) -> None:
    model = made(make, mode="float8")
    for write in (fl.save_model, save_plainly):
        with pytest.raises(ModelFileError, match="Keras cannot write LoRA") as raised:
            write(model, tmp_path / "m.keras")
        assert ("inside/b (float8)" if make is nested else "a (float8)") in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_plain_keras_opens_the_merged_model_uncompiled(tmp_path: Path) -> None:
    model = made(dense)
    fitted(model)
    fl.save_model(model, tmp_path / "m.keras")
    plain = keras.models.load_model(tmp_path / "m.keras")
    assert not plain.compiled  # Adam would have the slots of factors that are gone
    np.testing.assert_allclose(outputs(model), outputs(plain), atol=1e-5)


def test_what_frostline_writes_plainly_keeps_the_factors_too(tmp_path: Path) -> None:
    model = made(dense)
    fitted(model)
    save_plainly(model, tmp_path / "m.keras")
    assert bits(loaded(tmp_path / "m.keras")) == bits(model)


@keras.saving.register_keras_serializable("frostline_tests")
class Rounding(layers.Dense):  # type: ignore[misc]  # Keras ships no types
    """Writes its kernel in half precision, as Keras's merge of quantized kernels does, and says nothing."""

    def save_own_variables(self, store: Any) -> None:
        store["0"] = np.asarray(self.kernel).astype("float16").astype("float32")
        store["1"] = self.bias


def test_a_layer_that_does_not_bring_its_weights_back_is_named(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Rounding(3, name="rounds"), layers.Dense(2, name="head")])
    fl.save_model(model, tmp_path / "m.keras")
    with pytest.raises(ModelFileError, match="1 weight came back with other values") as raised:
        fl.load_model(tmp_path / "m.keras")
    assert "rounds/kernel" in str(raised.value)


# Deltas and checkpoints ---------------------------------------------------------------------------------


def test_a_delta_is_for_a_base_with_the_same_alpha(tmp_path: Path) -> None:
    model = made(dense)
    run = fitted(model)
    fl.save_delta(model, tmp_path / "d.safetensors", base=run)
    base = made(dense)
    fl.load_delta(base, tmp_path / "d.safetensors")
    assert np.array_equal(outputs(model), outputs(base))
    other = made(dense, alpha=3)
    before = bits(other)
    with pytest.raises(DeltaError, match="another lora_alpha") as raised:
        fl.load_delta(other, tmp_path / "d.safetensors")
    assert "a (3, in the delta 7)" in str(raised.value)
    assert bits(other) == before
    fl.load_delta(other, tmp_path / "d.safetensors", force=True)


def test_a_run_that_was_killed_goes_on_with_its_factors(tmp_path: Path) -> None:
    straight = made(dense)
    fitted(straight, epochs=3)
    with pytest.raises(Interrupted):
        fitted(made(dense), epochs=3, resume=tmp_path / "r", callbacks=[Interrupt(1, "end")])
    with pytest.raises(ResumeError, match="a/lora_alpha: 3, was 7"):
        fitted(made(dense, alpha=3), epochs=3, resume=tmp_path / "r")
    again = made(dense)
    fitted(again, epochs=3, resume=tmp_path / "r")
    assert bits(straight) == bits(again)
