"""Which of the inputs and targets of a model were not given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras


def missing_parts(model: Any, **given: Any) -> list[str]:
    """Return what is missing of the arguments, in the user's words: `y`, or `y['head']` of a mapping.

    Args:
        model: The model, which knows the names of its inputs and outputs where it is a graph of layers.
        **given: Inputs as `x`, targets as `y`.
    """
    names = {"x": getattr(model, "input_names", None), "y": getattr(model, "output_names", None)}
    return [part for name, value in given.items() for part in _missing(name, value, names.get(name) or ())]


def _missing(name: str, value: Any, names: Any) -> Iterator[str]:
    if value is None or (isinstance(value, Mapping | list | tuple) and not value):
        yield name
        return
    if isinstance(value, Mapping):
        wanted = [one for one in names if one not in value] if set(value) <= set(names) else []
        yield from (f"{name}[{one!r}]" for one in wanted)
    if isinstance(value, Mapping | list | tuple):
        for path, one in keras.tree.flatten_with_path(value):
            if one is None:
                yield name + "".join(f"[{step!r}]" for step in path)
