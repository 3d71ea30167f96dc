"""Parts have the dtype of their weight, in training and in every file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import frostline as fl
from helpers.checks import frostline_fit, values
from helpers.saved_models import parts, same
from helpers.small_models import compiled, value_of

pytestmark = pytest.mark.eager

KERNEL = "a/kernel"
VIAS = {"low rank": fl.LowRank(2, alpha=3.0, seed=1), "scale": fl.Scale()}
each_via = pytest.mark.parametrize("via", VIAS.values(), ids=VIAS)
each_dtype = pytest.mark.parametrize(
    ("policy", "dtype"),
    [
        ("float64", "float64"),
        ("bfloat16", "bfloat16"),
        ("float16", "float16"),
        ("mixed_float16", "float32"),
        ("mixed_bfloat16", "float32"),
    ],
)


@contextmanager
def doubles() -> Iterator[None]:
    """JAX has float64 where it is told so."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield


def network(policy: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    stack = [
        keras.Input((4,)),
        layers.Dense(3, name="a", dtype=policy),
        layers.Dense(2, name="b", dtype=policy),
    ]
    return keras.Sequential(stack, name="net")


def trained(policy: str, via: Any) -> tuple[keras.Model, fl.Run]:
    model = compiled(network(policy), optimizers.SGD(0.5, momentum=0.9, global_clipnorm=1.0))
    return model, frostline_fit(model, fl.Plan().train(KERNEL, via=via))


def kernel(model: keras.Model) -> bytes:
    return values(model)[KERNEL].tobytes()


@each_via
@each_dtype
def test_parts_train_in_the_dtype_of_their_weight(policy: str, dtype: str, via: Any) -> None:
    with doubles():
        model, run = trained(policy, via)
        assert {v.dtype for v in model.trainable_variables} == {dtype}
        assert {value_of(v).dtype.name for v in model.trainable_variables} == {dtype}
        shapes = via.part_shapes((4, 3), dtype)
        found = fl.inventory(model).by_address[KERNEL].combination.parts
        assert {n: (tuple(p.shape), p.dtype) for n, p in found.items()} == dict(shapes)
        assert kernel(model) != kernel(network(policy))
        assert run.verification is not None
        assert run.verification.ok


@each_via
@each_dtype
@pytest.mark.every_backend
def test_every_file_gives_the_bits_back(policy: str, dtype: str, via: Any, tmp_path: Path) -> None:
    with doubles():
        model, run = trained(policy, via)
        fl.save_model(model, tmp_path / "model.keras")
        loaded = fl.load_model(tmp_path / "model.keras")
        assert same(parts(loaded), parts(model))
        assert same(values(loaded), values(model))
        slots = [[value_of(v).tobytes() for v in m.optimizer.variables] for m in (model, loaded)]
        assert slots[0] == slots[1]

        fl.save_delta(model, tmp_path / "delta.safetensors", base=run)
        base = network(policy)
        fl.load_delta(base, tmp_path / "delta.safetensors")
        assert kernel(base) == kernel(model)
        fl.remove_delta(base, "delta")
        assert kernel(base) == kernel(network(policy))
        fl.parametrize(base, KERNEL, via)
        fl.load_delta(base, tmp_path / "delta.safetensors")
        assert same(parts(base), parts(model))

        if isinstance(via, fl.LowRank):
            fl.export_peft(model, tmp_path / "adapter")
            other = network(policy)
            fl.import_peft(other, tmp_path / "adapter")
            assert same(parts(other), parts(model))

        merged = kernel(model)
        assert kernel(fl.merge(model)) == merged
        assert kernel(keras.models.load_model(tmp_path / "model.keras")) == merged


def test_parts_that_half_precision_rounds_away_are_in_a_delta_all_the_same(tmp_path: Path) -> None:
    base = network("bfloat16")
    for given in (None, fl.fingerprint(base), base):
        model = network("bfloat16")
        fl.parametrize(model, KERNEL, fl.LowRank(1, seed=1))
        assert KERNEL not in fl.save_delta(model, tmp_path / "none.safetensors", base=given).entries
        fl.inventory(model).by_address[KERNEL].combination.parts["lora_b"].assign(np.full((1, 3), 1e-6))
        assert kernel(model) == kernel(base)
        delta = fl.save_delta(model, tmp_path / "some.safetensors", base=given)
        again = network("bfloat16")
        fl.parametrize(again, KERNEL, fl.LowRank(1, seed=1))
        fl.load_delta(again, tmp_path / "some.safetensors")
        assert KERNEL in delta.entries
        assert same(parts(again), parts(model))


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
@pytest.mark.every_backend
def test_a_weight_that_jax_holds_in_32_bits_has_parts_in_32_bits(tmp_path: Path) -> None:
    """Without 64 bits JAX makes float32 of float64, and Keras's variable says float64 all the same."""
    model, run = trained("float64", fl.LowRank(1, seed=1))
    held = "float32" if keras.backend.backend() == "jax" else "float64"
    assert fl.inventory(model).by_address[KERNEL].dtype == held
    assert {value_of(v).dtype.name for v in model.trainable_variables} == {held}
    fl.save_delta(model, tmp_path / "delta.safetensors", base=run)
    base = network("float64")
    fl.load_delta(base, tmp_path / "delta.safetensors")
    assert kernel(base) == kernel(model)


def test_parts_of_a_file_of_0_1_are_float32_and_still_read(tmp_path: Path) -> None:
    """Then the parts of a weight of any dtype were float32."""

    class Old(fl.LowRank):
        def part_shapes(self, shape: tuple[int, ...], dtype: str) -> Any:
            return super().part_shapes(shape, "float32")

        def start(self, weight: Any) -> Any:
            return {n: keras.ops.cast(part, "float32") for n, part in super().start(weight).items()}

    base = network("bfloat16")
    model = network("bfloat16")
    fl.parametrize(model, KERNEL, Old(1, seed=1))
    combination = fl.inventory(model).by_address[KERNEL].combination
    combination.parts["lora_b"].assign(np.ones((1, 3)))
    assert {p.dtype for p in combination.parts.values()} == {"float32"}
    object.__setattr__(combination, "how", fl.LowRank(1, seed=1))
    fl.save_delta(model, tmp_path / "old.safetensors", base=base)
    fl.save_model(model, tmp_path / "old.keras")
    fl.load_delta(base, tmp_path / "old.safetensors")
    assert kernel(base) == kernel(model)
    with pytest.warns(UserWarning, match="lora_a, lora_b of 'a/kernel' are float32 in the file and bfloat16"):
        fl.load_model(tmp_path / "old.keras")
