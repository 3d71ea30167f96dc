"""Fingerprints of variables without a model: the backend's own, Keras's, and arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from helpers.small_models import raw_variable


def variables(dtype: str = "float32") -> dict[str, Any]:
    return {
        "raw": raw_variable(np.ones((2, 3), "float32")),
        "keras": keras.Variable(np.arange(4), dtype=dtype, name="v"),
        "array": np.zeros(3),
    }


def test_raw_variables_are_verified_by_name() -> None:
    held = variables()
    before = fl.fingerprint(held)
    assert before == fl.fingerprint(variables())
    assert [one.shape for one in before.values()] == [(2, 3), (4,), (3,)]
    held["keras"].assign(held["keras"] + 1)
    found = fl.verify(held, before, ["keras", "array"])
    assert found.ok
    assert [found.of(outcome) for outcome in ("trained", "unmoved", "intact")] == [
        ("keras",),
        ("array",),
        ("raw",),
    ]
    assert not fl.verify(held, before, ["raw"]).ok


def test_a_raw_variable_has_the_digest_of_a_weight_with_its_values() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False, name="a")])
    kernel = model.get_layer("a").kernel
    raw = raw_variable(keras.ops.convert_to_numpy(kernel))
    assert fl.fingerprint({"a/kernel": raw}) == fl.fingerprint(model)


def test_low_precision_is_told_apart_by_its_dtype() -> None:
    one, other = (fl.fingerprint(variables(dtype))["keras"] for dtype in ("bfloat16", "float32"))
    assert (one.dtype, other.dtype) == ("bfloat16", "float32")
    assert one.blake3 != other.blake3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fl.fingerprint({"a": object()}),
            "no numbers can be read from 'a'.\n"
            "  received: an object of type object\n"
            "  expected: a variable, a tensor or an array",
        ),
        (
            lambda: fl.verify({"slope": np.ones(1)}, fl.fingerprint({"slope": np.ones(1)}), ["slop"]),
            "there is no variable 'slop'.\n  received: slope\n  fix:      did you mean slope?",
        ),
        (
            lambda: fl.verify({"a": np.ones(1)}, fl.fingerprint({"a": np.ones(1)}), fl.Plan()),
            "variables without a model have no plan.\n"
            "  received: an object of type Plan\n"
            "  expected: a list of the names of those that were to train",
        ),
    ],
    ids=["no numbers", "no such name", "a plan"],
)
def test_misuse(call: Any, message: str) -> None:
    with pytest.raises(fl.FrostlineError) as caught:
        call()
    assert str(caught.value) == message
