"""Deltas with NaN or infinity where the base has numbers: neither written nor loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.delta import save
from frostline.errors import DeltaError
from helpers.small_models import two_dense

pytestmark = pytest.mark.eager


def spoilt(value: float, address: str = "a/kernel") -> keras.Model:
    model = two_dense()
    weight = next(w for w in fl.inventory(model) if w.address == address)
    values = weight.numpy().copy()
    values.reshape(-1)[-1] = value
    weight.variable.assign(values)
    return model


@pytest.mark.parametrize("known", ["fingerprint", "model", "nothing"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_spoilt_weight_is_not_saved(tmp_path: Path, value: float, known: str) -> None:
    base: Any = {"fingerprint": fl.fingerprint(two_dense()), "model": two_dense(), "nothing": None}[known]
    with pytest.raises(DeltaError, match="holds NaN or infinity, so no delta was written") as caught:
        fl.save_delta(spoilt(value), tmp_path / "d.safetensors", base=base)
    assert caught.value.received == "not finite: a/kernel"
    assert list(tmp_path.iterdir()) == []


def test_the_receipt_of_a_run_that_went_on_is_no_way_around(tmp_path: Path) -> None:
    model = two_dense()
    model.compile(keras.optimizers.SGD(1e30), "mse")
    x = np.full((4, model.input_shape[-1]), 1e20, "float32")
    y = np.zeros((4, model.output_shape[-1]), "float32")
    run = fl.fit(model, fl.Plan().train("**"), x, y, stop_on_nan=False, verbose=0, epochs=2)
    for check in (True, False):
        with pytest.raises(DeltaError, match="so no delta was written"):
            fl.save_delta(model, tmp_path / "d.safetensors", base=run, check=check)


def test_parts_count_too(tmp_path: Path) -> None:
    for how, part in ((fl.LowRank(1), "lora_b"), (fl.Rows([0]), "rows")):
        model = two_dense()
        fl.parametrize(model, "a/kernel", how)
        before = fl.fingerprint(model)
        parts = next(w for w in fl.inventory(model) if w.address == "a/kernel").combination.parts
        parts[part].assign(np.full(parts[part].shape, np.nan))
        for base in (before, None):
            with pytest.raises(DeltaError, match="so no delta was written"):
                fl.save_delta(model, tmp_path / "d.safetensors", base=base)
        if part == "lora_b":
            with pytest.raises(DeltaError, match="so no adapter was written"):
                fl.export_peft(model, tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_infinity_that_the_base_has_stays(tmp_path: Path) -> None:
    model = spoilt(-np.inf)
    before = fl.fingerprint(model)
    kernel = model.get_layer("a").kernel
    kernel.assign(keras.ops.convert_to_numpy(kernel) * 2)
    fl.save_delta(model, tmp_path / "d.safetensors", base=before)
    again = spoilt(-np.inf)
    fl.load_delta(again, tmp_path / "d.safetensors")
    assert fl.fingerprint(again) == fl.fingerprint(model)


@pytest.mark.parametrize("how", [None, fl.LowRank(1), fl.Rows([0])])
def test_a_spoilt_delta_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any) -> None:
    """One that an earlier version wrote."""
    base = two_dense()
    model = spoilt(np.nan) if how is None else two_dense()
    if how is not None:
        fl.parametrize(model, "a/kernel", how)
        for part in next(
            w for w in fl.inventory(model) if w.address == "a/kernel"
        ).combination.parts.values():
            part.assign(np.full(part.shape, np.nan))
    monkeypatch.setattr(save, "require_finite_change", lambda *_: None)
    fl.save_delta(model, tmp_path / "d.safetensors", base=fl.fingerprint(base) if how is None else None)
    before = fl.fingerprint(base)
    for force in (False, True):
        with pytest.raises(DeltaError, match="NaN or infinity where the model has finite numbers") as caught:
            fl.load_delta(base, tmp_path / "d.safetensors", force=force)
        assert caught.value.received == "not finite: a/kernel"
    assert (fl.fingerprint(base), fl.deltas(base)) == (before, ())
