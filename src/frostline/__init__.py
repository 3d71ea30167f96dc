"""Decide what trains in a Keras 3 model, see why, prove it, pay only for it.

Importing this package imports neither Keras nor a backend; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from frostline._version import __version__

if TYPE_CHECKING:
    from frostline import layers
    from frostline.delta.contents import Delta
    from frostline.delta.load import LoadedDelta, deltas, load_delta, remove_delta
    from frostline.delta.peft import export_peft, import_peft
    from frostline.delta.save import save_delta
    from frostline.diagnostics.audit import Audit, audit
    from frostline.diagnostics.explain import explain
    from frostline.diagnostics.explanation import Explanation, Explanations
    from frostline.diagnostics.finding import Finding
    from frostline.diagnostics.gradient_check import GradientCheck, check_gradients
    from frostline.diagnostics.intermediates import Intermediates, WhatIf, intermediates, what_if
    from frostline.diagnostics.why import why
    from frostline.errors import FrostlineError
    from frostline.initializers import recommended_initializer
    from frostline.model.inventory import Inventory, Weight, inventory
    from frostline.parametrization.adapters import LowRank, Scale
    from frostline.parametrization.base import Parametrization
    from frostline.parametrization.install import Parametrized, parametrize
    from frostline.parametrization.selections import Columns, Index, Mask, Rows
    from frostline.plan.plan import Plan, Rule
    from frostline.plan.presets import (
        bitfit,
        discriminative,
        gradual_unfreezing,
        last_blocks,
        layerwise_lr_decay,
        linear_probe,
        lora,
        lp_ft,
    )
    from frostline.plan.schedule import Phase, Plateau, Schedule
    from frostline.plan.schema import plan_schema
    from frostline.plan.selectors import Selector, selector
    from frostline.resolution.decision import Decision
    from frostline.resolution.resolve import Resolution, resolve
    from frostline.runs.schema import run_schema
    from frostline.saving.model_file import load_model, save_model
    from frostline.surgery.grow import grow_embedding
    from frostline.trainability.apply import Applied, applied, apply
    from frostline.trainability.merge import merge
    from frostline.training.custom_loop import optimizer_for
    from frostline.training.fit import fit
    from frostline.training.run import Run
    from frostline.verification.fingerprint import Fingerprint, fingerprint
    from frostline.verification.receipt import Receipt
    from frostline.verification.verify import Verification, verify

_EXPORTS = {
    "Applied": "trainability.apply",
    "Audit": "diagnostics.audit",
    "Columns": "parametrization.selections",
    "Decision": "resolution.decision",
    "Delta": "delta.contents",
    "Explanation": "diagnostics.explanation",
    "Explanations": "diagnostics.explanation",
    "Finding": "diagnostics.finding",
    "Fingerprint": "verification.fingerprint",
    "FrostlineError": "errors",
    "GradientCheck": "diagnostics.gradient_check",
    "Index": "parametrization.selections",
    "Intermediates": "diagnostics.intermediates",
    "Inventory": "model.inventory",
    "LoadedDelta": "delta.load",
    "LowRank": "parametrization.adapters",
    "Mask": "parametrization.selections",
    "Parametrization": "parametrization.base",
    "Parametrized": "parametrization.install",
    "Phase": "plan.schedule",
    "Plan": "plan.plan",
    "Plateau": "plan.schedule",
    "Receipt": "verification.receipt",
    "Resolution": "resolution.resolve",
    "Rows": "parametrization.selections",
    "Rule": "plan.plan",
    "Run": "training.run",
    "Scale": "parametrization.adapters",
    "Schedule": "plan.schedule",
    "Selector": "plan.selectors",
    "Verification": "verification.verify",
    "Weight": "model.inventory",
    "WhatIf": "diagnostics.intermediates",
    "applied": "trainability.apply",
    "apply": "trainability.apply",
    "audit": "diagnostics.audit",
    "bitfit": "plan.presets",
    "check_gradients": "diagnostics.gradient_check",
    "deltas": "delta.load",
    "discriminative": "plan.presets",
    "explain": "diagnostics.explain",
    "export_peft": "delta.peft",
    "fingerprint": "verification.fingerprint",
    "fit": "training.fit",
    "gradual_unfreezing": "plan.presets",
    "grow_embedding": "surgery.grow",
    "import_peft": "delta.peft",
    "intermediates": "diagnostics.intermediates",
    "inventory": "model.inventory",
    "last_blocks": "plan.presets",
    "layerwise_lr_decay": "plan.presets",
    "linear_probe": "plan.presets",
    "load_delta": "delta.load",
    "load_model": "saving.model_file",
    "lora": "plan.presets",
    "lp_ft": "plan.presets",
    "merge": "trainability.merge",
    "optimizer_for": "training.custom_loop",
    "parametrize": "parametrization.install",
    "plan_schema": "plan.schema",
    "recommended_initializer": "initializers",
    "remove_delta": "delta.load",
    "resolve": "resolution.resolve",
    "run_schema": "runs.schema",
    "save_delta": "delta.save",
    "save_model": "saving.model_file",
    "selector": "plan.selectors",
    "verify": "verification.verify",
    "what_if": "diagnostics.intermediates",
    "why": "diagnostics.why",
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
