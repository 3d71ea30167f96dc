"""Several deltas on one model: beside one another, and one on top of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import optimizers

import frostline as fl
from helpers.checks import changed, frostline_fit, values
from helpers.deltas import PLAN, refused, same_bits, trained, with_rows
from helpers.small_models import (
    compiled,
    two_dense,
)

pytestmark = pytest.mark.eager


# Several ------------------------------------------------------------------------------------------


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
        "the delta 'one', already loaded, changes the same elements.\n"
        "  received: both change a/kernel\n"
        "  expected: deltas that change different elements, or one that was trained on top of the other\n"
        "  fix:      remove it first: remove_delta(model, 'one')"
    )
    assert refused(base, tmp_path / "one.safetensors") == (
        "a delta 'one' is on the model already.\n"
        "  fix:      remove it with remove_delta, or give this one another name: name=..."
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
        "  received: loaded: first\n"
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
        "the delta 'first' cannot be removed: deltas that were trained on top of it are loaded.\n"
        "  received: on top of it: second\n"
        "  fix:      remove those first: remove_delta(model, 'second')"
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
    with pytest.raises(fl.FrostlineError, match="cannot be removed: deltas that were trained on top of it"):
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
    assert "'one', already loaded, changes the same elements" in refused(base, two)
