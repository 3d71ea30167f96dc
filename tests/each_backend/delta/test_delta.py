"""Deltas: only what trained, on the right base, several at a time, and off again without a trace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import frostline as fl
from helpers import parametrized_models as zoo
from helpers.checks import frostline_fit, keras_fit
from helpers.deltas import PLAN, same_bits, trained
from helpers.small_models import (
    INPUTS,
    OUTPUTS,
    attention,
    batch_norm,
    compiled,
    custom_block,
    data_for,
    two_dense,
)

pytestmark = pytest.mark.eager


def predicted(model: keras.Model) -> np.ndarray:
    return model.predict(data_for(model)[0], verbose=0)


# There and back -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "plan", "moved"),
    [
        (two_dense, PLAN, ["b/kernel", "b/bias"]),
        (attention, fl.Plan().train("mha/query/bias"), ["mha/query/bias"]),
        (custom_block, fl.Plan().train("block/inner/kernel"), ["block/inner/kernel"]),
        (
            batch_norm,
            fl.Plan(batchnorm="update").train("b/bias"),
            ["bn/moving_mean", "bn/moving_variance", "b/bias"],
        ),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_a_run_moved_comes_to_its_base(make: Any, plan: Any, moved: list[str], tmp_path: Path) -> None:
    model, run = trained(plan, make)
    delta = fl.save_delta(model, tmp_path / "tuned.safetensors", base=run)
    assert list(delta.entries) == moved
    assert delta.plan == plan.to_data()
    base = make()
    before = fl.fingerprint(base)
    loaded = fl.load_delta(base, tmp_path / "tuned.safetensors")
    assert same_bits(base, model)
    assert fl.deltas(base) == (loaded,)
    assert loaded.delta == delta
    fl.remove_delta(base, loaded)
    assert fl.fingerprint(base) == before
    assert fl.deltas(base) == ()


def test_every_kind_of_base_tells_the_same(tmp_path: Path) -> None:
    base = two_dense()
    before = fl.fingerprint(base)
    model, run = trained()
    path = tmp_path / "tuned.safetensors"
    known = [fl.save_delta(model, path, base=one) for one in (run, run.receipt, before, base)]
    known.append(fl.save_delta(model, path, base=run, check=False))
    assert all(delta.entries == known[0].entries and delta.base == known[0].base for delta in known)
    by_flags = fl.save_delta(model, path)
    assert by_flags.entries == known[0].entries
    assert fl.load_delta(base, path).delta.base["b/kernel"].blake3 == ""
    assert same_bits(base, model)


def test_a_base_model_tells_which_rows_changed(tmp_path: Path) -> None:
    base, model = (
        keras.Sequential([keras.Input((3,)), layers.Embedding(50, 4, name="tokens")]) for _ in range(2)
    )
    model.set_weights(base.get_weights())
    table = model.get_weights()[0]
    table[[3, 7, 8]] += 1
    model.set_weights([table])
    delta = fl.save_delta(model, tmp_path / "rows.safetensors", base=base)
    assert delta.entries["tokens/embeddings"].what == "rows 3, 7, 8"
    assert delta.size == 12
    fl.load_delta(base, tmp_path / "rows.safetensors")
    assert same_bits(base, model)


def test_trained_elements_alone_are_kept(tmp_path: Path) -> None:
    """All parametrizations in one model: elements as they are, parts of low rank and scales."""
    base = zoo.plain_network()
    model = zoo.network()
    model.compile(optimizers.AdamW(0.05, weight_decay=0.1), "mse")
    run = fl.fit(model, fl.Plan().train("**").freeze("out/**"), *zoo.data(), batch_size=4, verbose=0)
    path = tmp_path / "zoo.safetensors"
    delta = fl.save_delta(model, path, base=run)
    kinds = {a.partition("/")[0]: e.kind for a, e in delta.entries.items() if a.endswith(zoo_weights())}
    assert kinds == dict.fromkeys(zoo.HOW, "elements") | {"low": "parts", "scale": "parts"}
    assert delta.entries["words/embeddings"].size == 3 * zoo.WIDTH
    before = fl.fingerprint(base)
    fl.load_delta(base, path)
    x, _ = zoo.data()
    np.testing.assert_allclose(base.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    assert same_bits(base, model)
    fl.remove_delta(base, "zoo")
    assert fl.fingerprint(base) == before


def zoo_weights() -> tuple[str, ...]:
    return ("/kernel", "/embeddings")


def test_parts_get_their_values_where_the_weight_has_them(tmp_path: Path) -> None:
    model = zoo.network()
    start = zoo.network()
    zoo.train(model, optimizers.Adam(0.05), epochs=1)
    fl.save_delta(model, tmp_path / "zoo.safetensors", base=fl.fingerprint(start))
    fl.load_delta(start, tmp_path / "zoo.safetensors")
    one, two = (
        {a: zoo.numpy(v).tobytes() for w in fl.inventory(m).of_role("weight") for a, v in w.targets}
        for m in (model, start)
    )
    assert one == two
    fl.remove_delta(start, "zoo")
    assert same_bits(start, zoo.network())


def test_what_a_plan_trains_in_part_is_kept_in_part(tmp_path: Path) -> None:
    plan = fl.Plan().train("a/kernel", rows=[1, 3]).train("b/kernel", via=fl.LowRank(rank=1, seed=3))
    model, run = trained(plan)
    for number, arguments in enumerate(({"base": run}, {"base": run, "check": False}, {})):
        path, base = tmp_path / f"{number}.safetensors", two_dense()
        delta = fl.save_delta(model, path, **arguments)
        assert {a: e.what for a, e in delta.entries.items()} == {
            "a/kernel": "rows 1, 3",
            "b/kernel": "rank 1",
        }
        fl.load_delta(base, path)
        assert same_bits(base, model)
        base = compiled(two_dense(), optimizers.Adam(0.05))
        fl.apply(base, plan)
        fl.load_delta(base, path)
        assert same_bits(base, model)
        frostline_fit(base, plan)


def test_a_delta_of_a_parametrized_weight_without_a_base(tmp_path: Path) -> None:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    fl.parametrize(model, "a/kernel", fl.Columns([0, 2]))
    fl.apply(model, fl.Plan().train("a/kernel"))
    keras_fit(model)
    delta = fl.save_delta(model, tmp_path / "columns.safetensors")
    assert {a: (e.what, e.size) for a, e in delta.entries.items()} == {"a/kernel": ("columns 0, 2", 8)}
    base = two_dense()
    fl.load_delta(base, tmp_path / "columns.safetensors")
    assert same_bits(base, model)


def test_a_model_with_bfloat16(tmp_path: Path) -> None:
    def make() -> keras.Model:
        keras.utils.set_random_seed(3)
        dense = layers.Dense(OUTPUTS, dtype="bfloat16", name="a")
        return keras.Sequential([keras.Input((INPUTS,)), dense], name="half")

    model, base = make(), make()
    before = fl.fingerprint(model)
    model.layers[0].kernel.assign(model.layers[0].kernel.numpy().astype("float32") + 1)
    delta = fl.save_delta(model, tmp_path / "half.safetensors", base=before)
    assert delta.entries["a/kernel"].dtype == "bfloat16"
    assert delta.nbytes == 2 * INPUTS * OUTPUTS
    fl.load_delta(base, tmp_path / "half.safetensors")
    assert same_bits(base, model)


# Size ---------------------------------------------------------------------------------------------


@pytest.mark.every_backend
def test_ten_rows_of_a_large_table_are_small_and_quick(tmp_path: Path) -> None:
    table = layers.Embedding(50_000, 64, embeddings_initializer="zeros", name="tokens")
    model = keras.Sequential([keras.Input((3,)), table])
    fl.parametrize(model, "tokens/embeddings", fl.Rows(slice(49_990, None)))
    model.compile("adam", "mse")
    x, y = np.full((4, 3), 49_995), np.ones((4, 3, 64), "float32")
    run = fl.fit(model, fl.Plan().train("tokens/**"), x, y, verbose=0)
    path = tmp_path / "rows.safetensors"
    fl.save_delta(model, path, base=run, check=False)
    began = time.perf_counter()
    fl.save_delta(model, path, base=run, check=False)
    assert time.perf_counter() - began < 0.5  # milliseconds, on a machine at rest
    assert path.stat().st_size < 10 * 64 * 4 + 4_000
