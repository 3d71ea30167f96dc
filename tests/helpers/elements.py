"""Random rules that speak of some elements of a weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

MASK = np.array([[True, False, True], [False, False, True]])


@st.composite
def places(draw: st.DrawFn, size: int) -> Any:
    if draw(st.booleans()):
        first = draw(st.integers(0, size - 1))
        return slice(first, draw(st.integers(first + 1, size)), draw(st.sampled_from((None, 1, 2))))
    return draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=size, unique=True))


@st.composite
def parts(draw: st.DrawFn, shape: tuple[int, ...]) -> dict[str, Any]:
    match draw(st.sampled_from(("rows", "columns", "index", "mask"))):
        case "rows":
            return {"rows": draw(places(shape[0]))}
        case "columns":
            return {"columns": draw(places(shape[-1]))}
        case "index":
            axes = draw(st.integers(1, len(shape)))
            return {"index": tuple(draw(places(size)) for size in shape[:axes])}
        case _:
            return {"mask": draw(arrays.arrays(bool, shape).filter(np.any))}


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
