"""Digests of arrays, and of arrays with other values at some elements."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.elements import sets as elements
from frostline.elements.sets import Elements, Grid, Scattered
from frostline.verification.digest import digest_array, digest_with, digest_without


def test_the_digest_is_of_the_bytes_in_c_order_little_endian() -> None:
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    assert digest_array(values) == digest_array(np.asfortranarray(values))
    assert digest_array(values) == digest_array(values.astype(">f4"))
    assert digest_array(values[:, ::-1]) == digest_array(values[:, ::-1].copy())
    # Worked out once from the 24 bytes themselves.
    assert digest_array(values)[:16] == "f643c80020fab138"


@given(st.binary(min_size=4, max_size=64).filter(lambda b: len(b) % 4 == 0), st.integers(0, 511))
def test_one_bit_changes_the_digest(data: bytes, bit: int) -> None:
    one = np.frombuffer(data, "<f4")
    other = one.view(np.uint8).copy()
    other[bit // 8 % other.size] ^= 1 << bit % 8
    assert digest_array(one) != digest_array(other.view("<f4"))


def test_zeros_of_both_signs_and_empty_arrays_are_told_apart() -> None:
    zero = np.zeros(1, "float32")
    assert digest_array(zero) != digest_array(-zero)
    assert digest_array(zero[:0]) == digest_array(np.zeros((0, 3)))


@st.composite
def some_elements(draw: st.DrawFn) -> Elements:
    """Elements of an array of up to three axes, crossing places or anywhere."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=0, max_size=3)))
    size = int(np.prod(shape))
    if draw(st.booleans()):
        ids = draw(st.sets(st.integers(0, size - 1), min_size=1))
        return Scattered(shape, np.array(sorted(ids), "int32"))
    axes = draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    places = {n: draw(st.sets(st.integers(0, shape[n] - 1), min_size=1)) for n in axes}
    return Grid(shape, {n: np.array(sorted(ids), "int32") for n, ids in places.items()})


@pytest.mark.parametrize("block", [1, 24, 1 << 22])
@given(chosen=some_elements(), data=st.data())
def test_other_values_at_elements_are_digested_as_if_they_stood_there(
    block: int, chosen: Elements, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    whole = rng.normal(size=chosen.shape).astype("float32")
    part = rng.normal(size=chosen.part_shape).astype("float32")
    kept = whole.copy()
    before, elements._BLOCK = elements._BLOCK, block
    try:
        found = digest_without(whole, chosen), digest_with(whole, chosen, part)
    finally:
        elements._BLOCK = before
    assert np.array_equal(whole, kept)
    expected = []
    for value in (0, part):
        changed = whole.copy()
        chosen.fill(changed, value)
        expected.append(digest_array(changed))
    assert list(found) == expected


def test_a_large_array_is_not_copied_for_it() -> None:
    whole, rows = np.zeros((40_000, 256), "float32"), np.arange(0, 40_000, 3, dtype="int32")
    tracemalloc.start()
    try:
        digest_without(whole, Grid(whole.shape, {0: rows}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < whole.nbytes / 3
