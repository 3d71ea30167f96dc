"""Where the numbers of a computation stop being finite, once a loss or a gradient was found not to be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras

from frostline._keras.variables import read_value
from frostline.backends import dispatch
from frostline.errors import UnsupportedVersionError, said
from frostline.graph.not_finite import NotFinite, first_source
from frostline.graph.reader import Computation, Measured

_NOT_TO_BE_SEEN = "it is in a gradient of the user's own, or in compiled code"


def find_not_finite(computation: Computation, measured: Measured | None) -> NotFinite | None:
    """Return the first operation, forwards or backwards, whose result is not finite; None where all is.

    Args:
        computation: The computation.
        measured: Its loss and its gradients; None where they were not computed.
    """
    if measured is None or measured.error or measured.is_finite:
        return None
    try:
        found = dispatch.first_not_finite(computation)
    except UnsupportedVersionError:
        raise
    except Exception as error:  # the answer says so: that the numbers are not finite is known all the same
        return NotFinite("", math.nan, unseen=f"looking for it ended in {said(error)}")
    if found is None or found.is_given:
        source = first_source(_sources(computation))
        if source is not None:
            return replace(source, layer=found.layer if found else None, where=found.where if found else None)
    return found or NotFinite("", math.nan, unseen=_NOT_TO_BE_SEEN)


def _sources(computation: Computation) -> Iterator[tuple[str, Any, bool]]:
    """Yield what goes into a computation: data first, then weights."""
    for argument in computation.arguments:
        for path, value in keras.tree.flatten_with_path(argument.value):
            if hasattr(value, "shape") and hasattr(value, "dtype"):
                name = "/".join(map(str, (argument.name, *path) if argument.name else path))
                yield name, read_value(value), argument.kind != "weight"
    for source in computation.variables:
        yield source.name, read_value(source.variable), False
