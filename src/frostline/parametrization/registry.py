"""The parametrizations that files name. Those of a user's own stand in Keras's registry instead."""

from __future__ import annotations

from collections.abc import Mapping

from frostline.parametrization.adapters import Adapter, LowRank, Scale
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Columns, Index, Mask, Rows

BY_NAME: Mapping[str, type[Parametrization]] = {
    "rows": Rows,
    "columns": Columns,
    "index": Index,
    "mask": Mask,
    "low_rank": LowRank,
    "scale": Scale,
}
"""By the names in files of models and deltas. A new one is a class of its own, and a line here."""

NAMES = {kind: name for name, kind in BY_NAME.items()}

ADAPTERS = {kind.__name__: kind for kind in BY_NAME.values() if issubclass(kind, Adapter)}
"""Those that stand under `via` in plan files, by the name that they have there."""
