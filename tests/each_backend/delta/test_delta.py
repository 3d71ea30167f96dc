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
from helpers.checks import changed, frostline_fit, keras_fit, values
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

PLAN = fl.Plan().train("b/**")


def trained(plan: fl.Plan = PLAN, make: Any = two_dense) -> tuple[keras.Model, fl.Run]:
    model = compiled(make(), optimizers.Adam(0.05))
    return model, frostline_fit(model, plan)


def same_bits(one: keras.Model, two: keras.Model) -> bool:
    return not changed(one, values(two))


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


# Several ------------------------------------------------------------------------------------------


def with_rows(rows: Any, path: Path, by: float) -> fl.Delta:
    model = two_dense()
    fl.parametrize(model, "a/kernel", fl.Rows(rows))
    (part,) = (v for v in model.trainable_variables if v.name == "kernel_rows")
    before = fl.fingerprint(model)
    part.assign(part + by)
    return fl.save_delta(model, path, base=before)


def test_disjoint_deltas_combine_and_leave_in_any_order(tmp_path: Path) -> None:
    with_rows([0, 2], tmp_path / "one.safetensors", 1.0)
    with_rows([1], tmp_path / "two.safetensors", 2.0)
    model, run = trained()
    fl.save_delta(model, tmp_path / "three.safetensors", base=run)
    base = two_dense()
    start = values(base)
    for name in ("one", "two", "three"):
        fl.load_delta(base, tmp_path / f"{name}.safetensors")
    assert [one.name for one in fl.deltas(base)] == ["one", "two", "three"]
    by = np.array([1, 2, 1, 0], "float32")[:, None]
    np.testing.assert_array_equal(values(base)["a/kernel"], start["a/kernel"] + by)
    fl.remove_delta(base, "one")
    fl.remove_delta(base, "three")
    np.testing.assert_array_equal(values(base)["a/kernel"][[0, 2, 3]], start["a/kernel"][[0, 2, 3]])
    assert changed(base, start) == {"a/kernel"}
    fl.remove_delta(base, "two")
    assert changed(base, start) == set()


def test_deltas_that_overlap_are_refused(tmp_path: Path) -> None:
    with_rows([0, 2], tmp_path / "one.safetensors", 1.0)
    with_rows([2, 3], tmp_path / "two.safetensors", 2.0)
    base = two_dense()
    fl.load_delta(base, tmp_path / "one.safetensors")
    now = fl.fingerprint(base)
    assert refused(base, tmp_path / "two.safetensors") == (
        "the delta 'one', which is on the model, changes the same elements.\n"
        "  received: both change a/kernel\n"
        "  expected: deltas that change different elements, or one that was trained on top of the other\n"
        "  fix:      take it off first: remove_delta(model, 'one')"
    )
    assert refused(base, tmp_path / "one.safetensors") == (
        "a delta 'one' is on the model already.\n"
        "  fix:      take it off with remove_delta, or give this one another name: name=..."
    )
    assert fl.fingerprint(base) == now
    assert len(fl.deltas(base)) == 1


def test_an_unknown_delta_cannot_be_taken_off(tmp_path: Path) -> None:
    with_rows([0], tmp_path / "one.safetensors", 1.0)
    base = two_dense()
    fl.load_delta(base, tmp_path / "one.safetensors", name="first")
    with pytest.raises(fl.FrostlineError) as failed:
        fl.remove_delta(base, "frist")
    assert str(failed.value) == (
        "there is no delta 'frist' on the model 'two_dense'.\n"
        "  received: on it are: first\n"
        "  fix:      did you mean first?"
    )


def test_parts_that_were_merged_cannot_be_taken_off(tmp_path: Path) -> None:
    model, base = two_dense(), two_dense()
    fl.parametrize(model, "a/kernel", fl.Scale())
    fl.parametrize(base, "a/kernel", fl.Scale())
    before = fl.fingerprint(model)
    (part,) = (v for v in model.trainable_variables if v.name == "kernel_scale")
    part.assign([1.0, 2.0, 3.0])
    fl.save_delta(model, tmp_path / "scale.safetensors", base=before)
    fl.load_delta(base, tmp_path / "scale.safetensors")
    fl.merge(base)
    with pytest.raises(fl.FrostlineError, match=r"its parts were merged into the weight"):
        fl.remove_delta(base, "scale")


# One on top of another ----------------------------------------------------------------------------


def on_top(plan: fl.Plan, path: Path, *below: Path, prepare: Any = lambda model: None) -> keras.Model:
    """Train with deltas on the model already, and save what that changed."""
    model = compiled(two_dense(), optimizers.Adam(0.05))
    prepare(model)
    for one in below:
        fl.load_delta(model, one)
    run = frostline_fit(model, plan)
    fl.save_delta(model, path, base=run)
    return model


def paths(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.safetensors" for name in names]


def test_a_delta_comes_on_top_of_the_one_that_it_was_trained_on(tmp_path: Path) -> None:
    first, second = paths(tmp_path, "first", "second")
    on_top(fl.Plan().train("a/kernel", rows=[1, 2]), first)
    model = on_top(PLAN, second, first)
    base = two_dense()
    before = fl.fingerprint(base)
    assert "other values than its base: a/kernel" in refused(base, second)
    fl.load_delta(base, first)
    with_first = fl.fingerprint(base)
    loaded = fl.load_delta(base, second)
    assert same_bits(base, model)
    assert loaded.rests_on == ("first",)
    assert str(loaded) == "second: 2 weights, 8 numbers, on top of first"
    now = fl.fingerprint(base)
    with pytest.raises(fl.FrostlineError) as failed:
        fl.remove_delta(base, "first")
    assert str(failed.value) == (
        "the delta 'first' cannot be taken off: what was trained on top of it is on the model.\n"
        "  received: on top of it: second\n"
        "  fix:      first remove_delta(model, 'second')"
    )
    assert fl.fingerprint(base) == now
    fl.remove_delta(base, "second")
    assert fl.fingerprint(base) == with_first
    fl.remove_delta(base, "first")
    assert fl.fingerprint(base) == before


@pytest.mark.parametrize("order", ["one two three other", "other one two three", "one other two three"])
def test_deltas_are_told_from_those_that_they_rest_on(order: str, tmp_path: Path) -> None:
    one, two, three, other = paths(tmp_path, "one", "two", "three", "other")
    on_top(fl.Plan().train("a/kernel", rows=[1, 2]), one)
    on_top(fl.Plan().train("b/kernel"), two, one)
    on_top(fl.Plan().train("b/bias"), three, one)
    on_top(fl.Plan().train("a/kernel", rows=[0]).train("a/bias"), other)
    base = two_dense()
    start = values(base)
    for name in order.split():
        fl.load_delta(base, tmp_path / f"{name}.safetensors")
    below = {loaded.name: loaded.rests_on for loaded in fl.deltas(base)}
    assert below == {"one": (), "two": ("one",), "three": ("one",), "other": ()}
    fl.remove_delta(base, "other")
    fl.remove_delta(base, "two")
    assert changed(base, start) == {"a/kernel", "b/bias"}
    np.testing.assert_array_equal(values(base)["a/kernel"][[0, 3]], start["a/kernel"][[0, 3]])
    fl.remove_delta(base, "three")
    fl.remove_delta(base, "one")
    assert changed(base, start) == set()


@pytest.mark.parametrize(
    ("plan", "further"),
    [
        (PLAN, PLAN),
        (fl.Plan().train("a/kernel", rows=[1, 2]), fl.Plan().train("a/kernel", rows=[2, 3])),
        (fl.Plan().train("a/kernel", rows=[1, 2]), fl.Plan().train("a/kernel")),
    ],
    ids=["whole", "rows", "rows_then_whole"],
)
def test_what_was_trained_further_comes_on_top(plan: fl.Plan, further: fl.Plan, tmp_path: Path) -> None:
    first, second = paths(tmp_path, "first", "second")
    on_top(plan, first)
    model = on_top(further, second, first)
    base = two_dense()
    start = values(base)
    fl.load_delta(base, first)
    with_first = values(base)
    assert fl.load_delta(base, second).rests_on == ("first",)
    assert same_bits(base, model)
    with pytest.raises(fl.FrostlineError, match="cannot be taken off: what was trained on top of it"):
        fl.remove_delta(base, "first")
    fl.remove_delta(base, "second")
    assert changed(base, with_first) == set()
    fl.remove_delta(base, "first")
    assert changed(base, start) == set()


def low_rank(model: keras.Model) -> None:
    fl.parametrize(model, "a/kernel", fl.LowRank(1, seed=2))


@pytest.mark.parametrize("prepare", [low_rank, lambda model: None], ids=["parts", "plain"])
def test_factors_that_were_trained_further_come_on_top(prepare: Any, tmp_path: Path) -> None:
    """Of these the frozen base is the base, with the first delta and without it; the bias tells."""
    first, second = paths(tmp_path, "first", "second")
    on_top(fl.Plan().train("a/**"), first, prepare=low_rank)
    model = on_top(fl.Plan().train("a/kernel"), second, first, prepare=low_rank)
    assert [e.kind for e in fl.Delta.load(second).entries.values()] == ["parts"]
    base = two_dense()
    prepare(base)
    start = values(base)
    fl.load_delta(base, first)
    with_first = values(base)
    assert fl.load_delta(base, second).rests_on == ("first",)
    assert same_bits(base, model)
    fl.remove_delta(base, "second")
    assert changed(base, with_first) == set()
    fl.remove_delta(base, "first")
    assert changed(base, start) == set()


@pytest.mark.parametrize("prepare", [low_rank, lambda model: None], ids=["parts", "plain"])
def test_factors_of_their_own_do_not_replace_others(prepare: Any, tmp_path: Path) -> None:
    one, two = paths(tmp_path, "one", "two")
    on_top(fl.Plan().train("a/kernel"), one, prepare=low_rank)
    on_top(fl.Plan().train("a/kernel", lr=0.5), two, prepare=low_rank)
    base = two_dense()
    prepare(base)
    fl.load_delta(base, one)
    assert "'one', which is on the model, changes the same elements" in refused(base, two)


# The wrong base, the wrong file -------------------------------------------------------------------


def refused(model: keras.Model, path: Path, **arguments: Any) -> str:
    """The message; the model is as before."""
    before, present = fl.fingerprint(model), fl.deltas(model)
    with pytest.raises(fl.FrostlineError) as failed:
        fl.load_delta(model, path, **arguments)
    assert fl.fingerprint(model) == before
    assert fl.deltas(model) == present
    return str(failed.value).replace(str(path), path.name)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    model, run = trained()
    fl.save_delta(model, tmp_path / "tuned.safetensors", base=run)
    return tmp_path / "tuned.safetensors"


def test_another_base_is_refused_with_what_differs(tuned: Path) -> None:
    base = two_dense()
    base.get_layer("a").bias.assign([1.0, 1.0, 1.0])
    digest = fl.Delta.load(tuned).base_digest[:16]
    assert refused(base, tuned) == (
        "the delta 'tuned.safetensors' was made for another base than the model 'two_dense'.\n"
        "  received: these have other values than its base: a/bias\n"
        f"  expected: the base {digest}\n"
        "  fix:      load the model that training began with; "
        "to load it anyway: force=True, --another-base"
    )
    loaded = fl.load_delta(base, tuned, force=True)
    assert str(loaded) == "tuned: 2 weights, 8 numbers, on another base"
    assert values(base)["a/bias"].tolist() == [1.0, 1.0, 1.0]


def test_a_frozen_element_of_another_base_is_noticed(tmp_path: Path) -> None:
    with_rows([0, 2], tmp_path / "one.safetensors", 1.0)
    base = two_dense()
    kernel = base.get_layer("a").kernel
    value = kernel.numpy().copy()
    kernel.assign(np.where(np.arange(4)[:, None] == 2, 9.0, value))
    fl.load_delta(base, tmp_path / "one.safetensors")  # what it replaces may be anything
    fl.remove_delta(base, "one")
    assert kernel.numpy()[2].tolist() == [9.0] * 3
    kernel.assign(np.where(np.arange(4)[:, None] == 1, 9.0, value))
    assert "other values than its base: a/kernel" in refused(base, tmp_path / "one.safetensors")


def test_another_model_is_refused(tuned: Path) -> None:
    assert refused(batch_norm(), tuned).startswith("the delta 'tuned.safetensors' was made for another base")
    assert refused(custom_block(), tuned) == (
        "the delta 'tuned.safetensors' is of another model, 'two_dense'.\n"
        "  received: it changes b/kernel, b/bias, which the model 'custom_block' does not have\n"
        "  fix:      did you mean a model with head/kernel, block/outer/kernel, block/inner/kernel?"
    )
    wide = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(5, name="b")])
    assert refused(wide, tuned, force=True) == (
        "the delta 'tuned.safetensors' is of a model with weights of other shapes or dtypes.\n"
        "  received: b/kernel (shape (3, 2), float32, in the model shape (3, 5), float32), "
        "b/bias (shape (2,), float32, in the model shape (5,), float32)\n"
        "  expected: the model that training began with"
    )


def test_a_weight_parametrized_otherwise_is_refused(tmp_path: Path) -> None:
    with_rows([0, 2], tmp_path / "one.safetensors", 1.0)
    base = two_dense()
    fl.parametrize(base, "a/kernel", fl.Rows([1]))
    assert refused(base, tmp_path / "one.safetensors") == (
        "'a/kernel' is parametrized otherwise than in the delta.\n"
        "  received: rows 1 on the model, rows 0, 2 in the delta\n"
        "  fix:      remove it from the model, or merge it, before the delta is loaded"
    )


def test_a_parametrized_weight_takes_no_values_as_a_whole(tuned: Path) -> None:
    base = two_dense()
    fl.parametrize(base, "b/kernel", fl.LowRank(1))
    assert refused(base, tuned).splitlines()[1] == ("  received: rank 1 on the model, all of it in the delta")


def test_the_same_rows_in_other_words_are_the_same(tmp_path: Path) -> None:
    with_rows([1, 2], tmp_path / "one.safetensors", 1.0)
    base = two_dense()
    fl.parametrize(base, "a/kernel", fl.Rows(slice(1, 3)))
    fl.load_delta(base, tmp_path / "one.safetensors")
    assert [w.part.split(",")[0] for w in fl.inventory(base) if w.part] == ["rows 1:3"]
    fl.remove_delta(base, "one")
    assert same_bits(base, two_dense())


def test_damaged_files_are_refused(tuned: Path, tmp_path: Path) -> None:
    base, raw = two_dense(), tuned.read_bytes()
    bad = tmp_path / "bad.safetensors"
    for spoilt in (raw[:-3], raw[:100], b"", raw[:-4] + b"\0\0\0\1", raw.replace(b'"freeze', b'"treeze')):
        bad.write_bytes(spoilt)
        said = refused(base, bad, force=True)
        assert said.startswith(
            "the delta 'bad.safetensors' is damaged, or was altered after it was written.\n"
        ), said
        assert said.endswith("  fix:      copy it again, or save it again")
    bad.unlink()
    assert refused(base, tmp_path / "tune.safetensors") == (
        "there is no delta 'tune.safetensors'.\n"
        f"  fix:      the folder {str(tmp_path)!r} has tuned.safetensors"
    )


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.ones(3)}, tmp_path / "other.safetensors")
    assert refused(two_dense(), tmp_path / "other.safetensors") == (
        "'other.safetensors' is not a delta that this version of Frostline reads.\n"
        "  received: another safetensors file\n"
        "  expected: what frostline.save_delta writes, version 1"
    )


def test_saving_says_what_is_no_base(tmp_path: Path) -> None:
    model, path = two_dense(), tmp_path / "tuned.safetensors"

    def said(**arguments: Any) -> str:
        with pytest.raises(fl.FrostlineError) as failed:
            fl.save_delta(model, path, **arguments)
        assert not path.exists()
        return str(failed.value)

    assert said(base="base.keras") == (
        "this is not a base.\n"
        "  received: an object of type str\n"
        "  expected: a Run of fl.fit, a Receipt, a Fingerprint, the base model, or None"
    )
    assert said(base=custom_block()).startswith("the base has other weights than the model 'two_dense'")
    assert said(base=fl.fingerprint(model), check=False).startswith("only a run, or its receipt")
    run = frostline_fit(compiled(two_dense()), PLAN, guard=False)
    assert said(base=run).startswith("the run has no receipt, so it does not tell what moved")


def test_a_failure_halfway_leaves_the_model_as_it_was(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.delta.change import Change

    real, calls = Change.put_on, []

    def fails_at_the_second(change: Change) -> None:
        calls.append(change)
        if len(calls) == 2:
            raise MemoryError
        real(change)

    base = two_dense()
    before = fl.fingerprint(base)
    monkeypatch.setattr(Change, "put_on", fails_at_the_second)
    with pytest.raises(MemoryError):
        fl.load_delta(base, tuned)
    assert fl.fingerprint(base) == before
    assert fl.deltas(base) == ()


# Size ---------------------------------------------------------------------------------------------


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
