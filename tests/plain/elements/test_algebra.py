"""Sets of elements of one weight, against boolean arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline.elements import algebra
from frostline.parametrization.selections import selection_of
from helpers.elements import parts, shapes


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_sets_of_elements_are_those_of_boolean_arrays(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    rules = [fl.Plan().train("a", **data.draw(parts(shape))).rules[0] for _ in range(2)]
    one, other = (rule.elements.elements(shape) for rule in rules if rule.elements)
    a, b = map(algebra.mask_of, (one, other))
    found = {
        "union": (algebra.union(one, other), a | b),
        "without": (algebra.without(one, other), a & ~b),
        "common": (algebra.common(one, other), a & b),
    }
    for name, (elements, mask) in found.items():
        assert (elements is None) == (not mask.any()), name
        if elements is not None:
            assert np.array_equal(algebra.mask_of(elements), mask), name
            assert np.array_equal(algebra.mask_of(selection_of(elements).elements(shape)), mask), name
    assert algebra.covers(one, other) == (not (b & ~a).any())
    assert algebra.same(one, other) == np.array_equal(a, b)


def test_rows_of_a_large_table_take_no_room_of_the_table() -> None:
    """Two sets of rows of ten billion elements: an array of one byte for each would be ten gigabytes."""
    shape = (10_000_000, 1000)
    one, other = fl.Rows(slice(5, 9)).elements(shape), fl.Rows([3, 7, -1]).elements(shape)
    assert str(selection_of(algebra.union(one, other))) == "rows 3, 5, 6, 7, 8, 9999999"
    rest = algebra.without(one, other)
    assert rest is not None
    assert str(selection_of(rest)) == "rows 5, 6, 8"
