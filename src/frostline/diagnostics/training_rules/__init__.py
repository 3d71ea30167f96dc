"""The rules about a training while it runs, one in each file, and the list of them all."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from frostline.diagnostics.finding import Finding, gravest_first
from frostline.diagnostics.training_rule import TrainingRule
from frostline.diagnostics.watched import Watched


@cache
def all_training_rules() -> tuple[TrainingRule, ...]:
    """Return one instance of each rule in this folder, by code. A new file here needs no entry anywhere."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(sorted((cls() for cls in TrainingRule.__subclasses__()), key=lambda rule: rule.code))


def findings_of(watched: Watched) -> tuple[Finding, ...]:
    """Return what the rules find in what was seen, the gravest first.

    Each phase is judged at its end. What a later phase trains on is judged by that phase again.
    """
    found: list[Finding] = []
    for seen in watched.up_to_each_phase():
        again = seen.judged
        found = [one for one in found if one.address not in again]
        found += [finding for rule in all_training_rules() for finding in rule.check(seen)]
    return gravest_first(found)
