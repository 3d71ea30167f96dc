"""Decide what trains in a Keras 3 model, see why, prove it, pay only for it.

Importing this package imports neither Keras nor a backend; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from frostline._version import __version__

if TYPE_CHECKING:
    from frostline import layers
    from frostline.address import Inventory, Weight, inventory
    from frostline.applying import Applied, applied, apply
    from frostline.auditing.asking import why
    from frostline.auditing.checking import GradientCheck, check_gradients
    from frostline.auditing.finding import Finding
    from frostline.auditing.intermediate import Intermediates, WhatIf, intermediates, what_if
    from frostline.auditing.looking import Audit, audit
    from frostline.custom_loop.obey import optimizer_for
    from frostline.decision import Decision
    from frostline.delta.contents import Delta
    from frostline.delta.loading import LoadedDelta, deltas, load_delta, remove_delta
    from frostline.delta.peft import export_peft, import_peft
    from frostline.delta.taking import save_delta
    from frostline.errors import FrostlineError
    from frostline.explaining import explain
    from frostline.explanation import Explanation, Explanations
    from frostline.fingerprinting import Fingerprint, fingerprint
    from frostline.growing import grow_embedding
    from frostline.initializers import recommended_initializer
    from frostline.merging import merge
    from frostline.parametrization.adapters import LowRank, Scale
    from frostline.parametrization.base import Parametrization
    from frostline.parametrization.install import Parametrized, parametrize
    from frostline.parametrization.selections import Columns, Index, Mask, Rows
    from frostline.plan import Plan, Rule
    from frostline.plandata import plan_schema
    from frostline.presets import (
        bitfit,
        discriminative,
        gradual_unfreezing,
        last_blocks,
        layerwise_lr_decay,
        linear_probe,
        lora,
        lp_ft,
    )
    from frostline.receipt import Receipt
    from frostline.resolution import Resolution, resolve
    from frostline.runs.configdata import run_schema
    from frostline.saving.archive import load_model, save_model
    from frostline.schedule import Phase, Plateau, Schedule
    from frostline.select import Selector, selector
    from frostline.training.loop import fit
    from frostline.training.run import Run
    from frostline.verification import Verification, verify

_EXPORTS = {
    "Applied": "applying",
    "Audit": "auditing.looking",
    "Columns": "parametrization.selections",
    "Decision": "decision",
    "Delta": "delta.contents",
    "Explanation": "explanation",
    "Explanations": "explanation",
    "Finding": "auditing.finding",
    "Fingerprint": "fingerprinting",
    "FrostlineError": "errors",
    "GradientCheck": "auditing.checking",
    "Index": "parametrization.selections",
    "Intermediates": "auditing.intermediate",
    "Inventory": "address",
    "LoadedDelta": "delta.loading",
    "LowRank": "parametrization.adapters",
    "Mask": "parametrization.selections",
    "Parametrization": "parametrization.base",
    "Parametrized": "parametrization.install",
    "Phase": "schedule",
    "Plan": "plan",
    "Plateau": "schedule",
    "Receipt": "receipt",
    "Resolution": "resolution",
    "Rows": "parametrization.selections",
    "Rule": "plan",
    "Run": "training.run",
    "Scale": "parametrization.adapters",
    "Schedule": "schedule",
    "Selector": "select",
    "Verification": "verification",
    "Weight": "address",
    "WhatIf": "auditing.intermediate",
    "applied": "applying",
    "apply": "applying",
    "audit": "auditing.looking",
    "bitfit": "presets",
    "check_gradients": "auditing.checking",
    "deltas": "delta.loading",
    "discriminative": "presets",
    "explain": "explaining",
    "export_peft": "delta.peft",
    "fingerprint": "fingerprinting",
    "fit": "training.loop",
    "gradual_unfreezing": "presets",
    "grow_embedding": "growing",
    "import_peft": "delta.peft",
    "intermediates": "auditing.intermediate",
    "inventory": "address",
    "last_blocks": "presets",
    "layerwise_lr_decay": "presets",
    "linear_probe": "presets",
    "load_delta": "delta.loading",
    "load_model": "saving.archive",
    "lora": "presets",
    "lp_ft": "presets",
    "merge": "merging",
    "optimizer_for": "custom_loop.obey",
    "parametrize": "parametrization.install",
    "plan_schema": "plandata",
    "recommended_initializer": "initializers",
    "remove_delta": "delta.loading",
    "resolve": "resolution",
    "run_schema": "runs.configdata",
    "save_delta": "delta.taking",
    "save_model": "saving.archive",
    "selector": "select",
    "verify": "verification",
    "what_if": "auditing.intermediate",
    "why": "auditing.asking",
}

_PACKAGES = ("layers",)
"""Packages that are loaded when they are first used, as the names are."""

__all__ = [
    "Applied",
    "Audit",
    "Columns",
    "Decision",
    "Delta",
    "Explanation",
    "Explanations",
    "Finding",
    "Fingerprint",
    "FrostlineError",
    "GradientCheck",
    "Index",
    "Intermediates",
    "Inventory",
    "LoadedDelta",
    "LowRank",
    "Mask",
    "Parametrization",
    "Parametrized",
    "Phase",
    "Plan",
    "Plateau",
    "Receipt",
    "Resolution",
    "Rows",
    "Rule",
    "Run",
    "Scale",
    "Schedule",
    "Selector",
    "Verification",
    "Weight",
    "WhatIf",
    "__version__",
    "applied",
    "apply",
    "audit",
    "bitfit",
    "check_gradients",
    "deltas",
    "discriminative",
    "explain",
    "export_peft",
    "fingerprint",
    "fit",
    "gradual_unfreezing",
    "grow_embedding",
    "import_peft",
    "intermediates",
    "inventory",
    "last_blocks",
    "layers",
    "layerwise_lr_decay",
    "linear_probe",
    "load_delta",
    "load_model",
    "lora",
    "lp_ft",
    "merge",
    "optimizer_for",
    "parametrize",
    "plan_schema",
    "recommended_initializer",
    "remove_delta",
    "resolve",
    "run_schema",
    "save_delta",
    "save_model",
    "selector",
    "verify",
    "what_if",
    "why",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"frostline.{name}")
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'frostline' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"frostline.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
