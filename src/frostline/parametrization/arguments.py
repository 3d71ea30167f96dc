"""What a rule of a plan says of a weight's elements: the arguments of `Plan.train` as one parametrization."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.errors import ParametrizationError, PlanError
from frostline.parametrization.base import Parametrization
from frostline.parametrization.registry import ADAPTERS, NAMES
from frostline.parametrization.selections import Columns, Index, Mask, Rows, Selection


def part_of(*, rows: Any, columns: Any, index: Any, mask: Any, via: Any) -> Parametrization | None:
    """Return the parametrization that the arguments of a rule name, or None where they are all None.

    Args:
        rows: Places along the first axis: a slice, one place, several, or text such as `"30522:"`.
        columns: Places along the last axis.
        index: A tuple of such places, one entry for each axis from the first on.
        mask: A boolean array of the weight's shape, True where an element trains. It is copied.
        via: A parametrization.

    Raises:
        PlanError: There is more than one, or what is given is of another kind.
    """
    readers: dict[str, tuple[Any, Callable[[Any], Parametrization]]] = {
        "rows": (rows, lambda given: Rows.from_config({"rows": given})),
        "columns": (columns, lambda given: Columns.from_config({"columns": given})),
        "index": (index, _index),
        "mask": (mask, _mask),
        "via": (via, _via),
    }
    named = [name for name, (given, _) in readers.items() if given is not None]
    if not named:
        return None
    if len(named) > 1:
        raise PlanError(
            f"a rule takes only one of {', '.join(readers)}",
            received=" and ".join(named),
            remedy="write one rule for each: their elements add up"
            if "via" not in named
            else "choose one: an update such as LowRank changes every element of the weight",
        )
    given, read = readers[named[0]]
    try:
        return read(given)
    except ParametrizationError as error:
        raise PlanError(
            f"the {named[0]} of a rule cannot be used: {error.what}",
            received=error.received,
            expected=error.expected,
            remedy=error.remedy,
        ) from None


def _index(given: Any) -> Index:
    axes = tuple(given) if isinstance(given, tuple | list) else (given,)
    if not axes:
        raise ParametrizationError("an empty index names no axis", expected="such as (slice(0, 4), [3, 7])")
    return Index.from_config({"index": axes})


def _mask(given: Any) -> Mask:
    mask = Mask(given)
    mask.require_boolean()
    if not given.any():
        raise ParametrizationError(
            "the mask picks nothing: it is False everywhere", expected="True where an element trains"
        )
    kept = np.array(given)
    kept.setflags(write=False)
    return Mask(kept)


def _via(given: Any) -> Parametrization:
    if not isinstance(given, Parametrization):
        kind = f"the class {given.__name__} itself" if isinstance(given, type) else type(given).__name__
        raise ParametrizationError(
            "this is not a parametrization",
            received=kind if isinstance(given, type) else f"an object of type {kind}",
            expected="one object such as LowRank(rank=8) or Scale()",
        )
    return given


def words_of(part: Parametrization) -> str:
    """Say in a few words what part of a weight a rule speaks of."""
    return str(part) if isinstance(part, Selection) else f"via {part}"


def data_of_part(part: Parametrization | None) -> dict[str, Any]:
    """Return the arguments of a rule as they stand in plan files; a mask stands there itself.

    Raises:
        PlanError: It is a parametrization of the user's own.
    """
    if part is None:
        return {}
    if type(part) not in NAMES:
        raise PlanError(
            "a rule with a parametrization of your own cannot be written to a file",
            received=f"via={part}, of type {type(part).__name__}",
            remedy=f"keep the plan in Python, or use {' or '.join(ADAPTERS)}",
        )
    config = {name: _in_file(value) for name, value in part.get_config().items() if value is not None}
    return config if isinstance(part, Selection) else {"via": {type(part).__name__: config}}


def _in_file(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return {"shape": list(value.shape), "bits": _packed(value)}


def _packed(mask: npt.NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")


def unpacked(bits: str, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return the mask that stands in a plan itself.

    Raises:
        PlanError: The text is not a mask of that shape.
    """
    size = int(np.prod(shape, dtype=np.int64))
    limit = (size + 7) // 8
    try:
        # No more than the mask needs: a few bytes can stand for gigabytes.
        packed = zlib.decompressobj().decompress(base64.b64decode(bits, validate=True), limit + 1)
    except (ValueError, zlib.error):
        packed = b""
    if len(packed) != limit:
        raise PlanError(
            "the bits of a mask cannot be read",
            received=f"text of {len(bits):,} characters",
            expected=f"what Plan.to_data() wrote for a mask of shape {tuple(shape)}",
        )
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=size).astype(bool).reshape(shape)
