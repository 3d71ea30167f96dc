"""The rules of the audit, one in each file, and the list of them all."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from frostline.diagnostics.audit_rule import AuditRule


@cache
def all_rules() -> tuple[AuditRule, ...]:
    """Return one instance of each rule in this folder, by code. A new file here needs no entry anywhere."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(sorted((cls() for cls in AuditRule.__subclasses__()), key=lambda rule: rule.code))
