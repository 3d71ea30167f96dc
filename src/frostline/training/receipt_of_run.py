"""What a training run says of itself: its plan, its data, its versions, its receipt."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import keras
import numpy as np

from frostline._keras.variables import to_numpy
from frostline._version import __version__
from frostline.errors import PlanError
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.resolution.resolution import Resolution
from frostline.training.ledger import Ledger
from frostline.verification.digest import digest_array
from frostline.verification.receipt import Receipt


def receipt_of(ledger: Ledger, plan: Plan | Resolution | Schedule, **more: Any) -> Receipt:
    """Return the receipt of a run that has ended.

    Args:
        ledger: What happened, with fingerprints.
        plan: What the model was trained under.
        **more: `data`, `versions`, `started` and `seconds`, as `Receipt` has them.
    """
    assert ledger.before is not None
    records = ledger.records
    return Receipt(
        model=ledger.model.name,
        plan=plan_data(plan),
        trained=tuple(dict.fromkeys(a for record in records for a in record.trained)),
        moving=tuple(dict.fromkeys(a for record in records for a in record.moving)),
        before=ledger.before,
        after=records[-1].after,
        phases=tuple(records) if isinstance(plan, Schedule) else (),
        parts=ledger.parts.over_all,
        assigned=tuple(dict.fromkeys(a for record in records for a in record.assigned)),
        evidence=ledger.evidence,
        **more,
    )


def plan_data(plan: Plan | Resolution | Schedule) -> Any:
    """Return a plan as it stands in a plan file, or as text where it holds a Python function."""
    plan = plan.plan if isinstance(plan, Resolution) else plan
    try:
        return plan.to_data()
    except PlanError:
        return str(plan)


def data_digests(parts: Mapping[str, Any]) -> dict[str, str]:
    """Digest what was trained on; data that cannot be read twice gets a reason instead."""
    digests = {}
    for name, part in parts.items():
        for path, value in keras.tree.flatten_with_path(part):
            key = "/".join((name, *map(str, path)))
            if isinstance(value, np.ndarray) and value.dtype != object:
                digests[key] = f"blake3:{digest_array(value)}"
            elif keras.ops.is_tensor(value):
                digests[key] = f"blake3:{digest_array(to_numpy(value))}"
            elif hasattr(value, "digest_of_content"):
                digests[key] = value.digest_of_content()
            elif value is not None:
                digests[key] = f"not digested: {type(value).__name__} may give other data the next time"
    return digests


def versions() -> dict[str, str]:
    """Return the versions of all that decides the numbers of a run."""
    backend = keras.backend.backend()
    found = {"frostline": __version__, "keras": keras.__version__, "numpy": np.__version__}
    for name in (backend, f"{backend}-cpu"):
        try:
            found[backend] = metadata.version(name)
            break
        except metadata.PackageNotFoundError:
            continue
    return {**found, "backend": backend, "python": platform.python_version()}
