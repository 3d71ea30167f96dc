"""Decide what trains in a Keras 3 model, see why, prove it, pay only for it.

Importing this package imports neither Keras nor a backend; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from frostline._version import __version__

if TYPE_CHECKING:
    from frostline.address import Inventory, Weight, inventory
    from frostline.apply import Applied, applied, apply
    from frostline.plan import Plan, Rule
    from frostline.resolve import Decision, Resolution, resolve

_EXPORTS = {
    "Applied": "frostline.apply",
    "Decision": "frostline.resolve",
    "Inventory": "frostline.address",
    "Plan": "frostline.plan",
    "Resolution": "frostline.resolve",
    "Rule": "frostline.plan",
    "Weight": "frostline.address",
    "applied": "frostline.apply",
    "apply": "frostline.apply",
    "inventory": "frostline.address",
    "resolve": "frostline.resolve",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'frostline' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
