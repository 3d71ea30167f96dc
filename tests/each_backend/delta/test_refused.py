"""The wrong base and the wrong file: what is said of them, and the model as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from helpers.checks import frostline_fit, values
from helpers.deltas import PLAN, refused, same_bits, trained, with_rows
from helpers.small_models import (
    batch_norm,
    compiled,
    custom_block,
    two_dense,
)

pytestmark = pytest.mark.eager


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
        "'a/kernel' is parametrized differently from the delta.\n"
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
        "  expected: what frostline.save_delta writes, version 1 or 2"
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
    assert said(base=fl.fingerprint(model), check=False).startswith("check=False needs base=")
    run = frostline_fit(compiled(two_dense()), PLAN, guard=False)
    assert said(base=run).startswith("the run has no receipt, so what changed is not known")


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
