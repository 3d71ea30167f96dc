"""Decide what trains in a Keras 3 model, see why, prove it, pay only for it.

Importing this package imports neither Keras nor a backend; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from frostline._version import __version__

if TYPE_CHECKING:
    from frostline.address import Inventory, Weight, inventory
    from frostline.applying import Applied, applied, apply
    from frostline.errors import FrostlineError
    from frostline.plan import Plan, Rule
    from frostline.planfile import plan_schema
    from frostline.presets import bitfit, last_blocks, linear_probe
    from frostline.receipt import Receipt
    from frostline.resolution import Decision, Resolution, resolve
    from frostline.training.loop import Run, fit
    from frostline.verification import Fingerprint, Verification, fingerprint, verify

_EXPORTS = {
    "Applied": "applying",
    "Decision": "resolution",
    "Fingerprint": "verification",
    "FrostlineError": "errors",
    "Inventory": "address",
    "Plan": "plan",
    "Receipt": "receipt",
    "Resolution": "resolution",
    "Rule": "plan",
    "Run": "training.loop",
    "Verification": "verification",
    "Weight": "address",
    "applied": "applying",
    "apply": "applying",
    "bitfit": "presets",
    "fingerprint": "verification",
    "fit": "training.loop",
    "inventory": "address",
    "last_blocks": "presets",
    "linear_probe": "presets",
    "plan_schema": "planfile",
    "resolve": "resolution",
    "verify": "verification",
}

__all__ = [
    "Applied",
    "Decision",
    "Fingerprint",
    "FrostlineError",
    "Inventory",
    "Plan",
    "Receipt",
    "Resolution",
    "Rule",
    "Run",
    "Verification",
    "Weight",
    "__version__",
    "applied",
    "apply",
    "bitfit",
    "fingerprint",
    "fit",
    "inventory",
    "last_blocks",
    "linear_probe",
    "plan_schema",
    "resolve",
    "verify",
]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'frostline' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"frostline.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
