"""`inspect_model`: find out what the rules of the audit and others ask of a model."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from frostline._keras.calls import loss_weights
from frostline.backends import dispatch
from frostline.diagnostics.added_losses import added_losses
from frostline.diagnostics.carried_state import after_a_batch
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.loss_names import require_known_losses
from frostline.diagnostics.model_loss import ModelLoss
from frostline.diagnostics.moved_weights import is_idle, values_of
from frostline.diagnostics.not_finite import find_not_finite
from frostline.diagnostics.part_of_batch import sizes_over_some
from frostline.diagnostics.planned_training import PlannedTraining, under_plan
from frostline.diagnostics.targets import targets_of, with_targets_in_range
from frostline.diagnostics.thresholds import ROUNDING
from frostline.diagnostics.unread import never_read
from frostline.diagnostics.zero_factors import zero_at_the_start
from frostline.diagnostics.zeroes import Zeroes, find_zeroes
from frostline.graph.reader import Measured
from frostline.model.checks import require_keras_model
from frostline.model.task_data import as_trained
from frostline.plan.plan import Plan
from frostline.resolution.resolution import Resolution


@contextmanager
def inspect_model(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    plan: Plan | Resolution | None = None,
    loss: Any = None,
    sample_weight: Any = None,
    asked: tuple[str, ...] | None = None,
    measured: bool = True,
    routes_only: bool = False,
    closely: bool = True,
    added: bool = False,
) -> Iterator[Inspection]:
    """Trace the loss of a model and measure its gradients; inside the block the plan's flags are set.

    Args:
        model: As for `audit`.
        x: As for `audit`.
        y: As for `audit`.
        plan: As for `audit`.
        loss: As for `audit`.
        sample_weight: As for `audit`.
        asked: Addresses of the weights to ask about; else those that are to train.
        measured: Whether to compute the gradients, too.
        routes_only: Whether all that depends on none of these weights may be left out of the graph.
        closely: Whether to measure more where that tells more: a gradient of zero that is one at the start
            only, and what penalties move.
        added: Whether what layers add by `add_loss` counts as the loss of the data.
    """
    require_model(model)
    require_known_losses(model, loss)
    x, y, sample_weight = as_trained(model, x, y, sample_weight)
    with _random_state_kept(), under_plan(model, plan) as planned, planned.inventory.held_state_kept():
        targets = targets_of(model, y, loss, sample_weight)
        seen_y = with_targets_in_range(y, targets)
        model_loss = ModelLoss(
            model, planned.inventory, x, seen_y, sample_weight, loss, penalties=False, added=added
        )
        wanted = planned.trained if asked is None else asked
        trace = dispatch.trace(model_loss.computation(wanted, routes_only=routes_only))
        found = Inspection(model, model_loss, planned, trace, targets=targets)
        yield _looked_into(found, wanted, closely) if measured and wanted else found


def _looked_into(inspection: Inspection, wanted: Collection[str], closely: bool) -> Inspection:
    """Measure the loss and its gradients, and look into what is strange about them."""
    planned = inspection.planned
    scaled, gradients = measured_as_trained(inspection.loss, wanted)
    computation = scaled.computation(wanted)
    not_finite = find_not_finite(computation, gradients)
    overflowing = scaled.scale > 1 and not gradients.is_finite and not gradients.error
    measured = replace(
        inspection,
        measured=gradients.divided_by(scaled.scale),
        not_finite=not_finite,
        overflowing_scale=scaled.scale if overflowing else 0.0,
    )
    if not closely:
        return measured
    starting = zero_at_the_start(computation, gradients, _names(planned, planned.trained))
    sleeping = _names(planned, planned.trained) - starting
    carried = after_a_batch(scaled, computation, gradients, inspection.trace, sleeping)
    starting, measured = starting | carried.woken, replace(measured, carried=carried)
    names = _names(planned, wanted)
    unread = never_read(computation, gradients, inspection.trace, names, starting)
    zeroes = find_zeroes(computation, gradients, names - unread, starting)
    if inspection.loss.loss is None:
        zeroes = zeroes.under_loss_weights(loss_weights(inspection.model))
    sums = _sums_of_zero(gradients, zeroes, names - starting - unread)
    rest = sizes_over_some(scaled, {*planned.trained, *wanted}) if sums else {}
    largest = max(rest.values(), default=0.0)
    # Of a sum that is zero for each sample rounding leaves something, or nothing by chance.
    balanced = frozenset(name for name in sums if rest.get(name, 0.0) > ROUNDING * largest)
    lost = [name for name in sums - balanced if rest.get(name, 0.0) > 0]
    found = {name: value for name, value in values_of(computation, lost).items() if value.ndim < 2}
    idle = frozenset(name for name, value in found.items() if is_idle(computation, {name: value}))
    measured = replace(
        measured,
        starting=starting,
        carried=carried,
        zeroes=zeroes,
        balanced=balanced,
        idle=idle,
        unread=unread,
    )
    if not inspection.loss.left_out:
        return measured
    if not all(measured.reach_of(address) == "trains" for address in wanted):
        measured = replace(measured, added=added_losses(scaled, wanted))
    penalized, total = measured_as_trained(replace(scaled, penalties=True), wanted)
    not_finite = not_finite or find_not_finite(penalized.computation(wanted), total)
    return replace(measured, total=total.divided_by(penalized.scale), not_finite=not_finite)


def _sums_of_zero(measured: Measured, zeroes: Zeroes, names: set[str]) -> frozenset[str]:
    """Return the weights whose gradient is zero since what comes back has both signs, and adds up to that."""
    gradients = {name: measured.gradients.get(name) for name in names}
    silent = (name for name, one in gradients.items() if one is not None and not one.any())
    return frozenset(name for name in silent if (cause := zeroes.cause_for([name])) and cause.is_balance)


def measured_as_trained(model_loss: ModelLoss, wanted: Collection[str]) -> tuple[ModelLoss, Measured]:
    """Measure a loss as a training step in half precision scales it, and return the loss so scaled, too.

    What overflows is tried with less, as the optimizer does after a step that it leaves out for that. Where
    it would leave out more steps than it takes from its usual scale to none, that is what is measured.
    """
    begun = scale = model_loss.scale if model_loss.scale != 1 else model_loss.scale_in_training
    first = None
    while True:
        scaled = replace(model_loss, scale=scale)
        measured = dispatch.measure(scaled.computation(wanted))
        first = first or (scaled, measured)
        if scale <= 1 or measured.error or measured.is_finite:
            overflows = measured.is_finite and begun / scale > _MOST_LEFT_OUT
            return first if overflows else (scaled, measured)
        scale = max(1.0, scale / _LESS)


_LESS = 16.0
"""The optimizer halves; that would take a step for each of fifteen powers of two."""

_MOST_LEFT_OUT = 2.0**16
"""Keras begins at 2 ** 15."""


def _names(planned: PlannedTraining, addresses: Iterable[str]) -> set[str]:
    """Return the names under which gradients of weights are measured: those of their parts."""
    return {name for one in addresses for name, _ in planned.inventory.by_address[one].targets}


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Put the states of Python's and NumPy's generators back: initializers and user code draw from them."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def require_model(model: Any) -> None:
    """Raise `ModelError` for what is not a Keras model."""
    require_keras_model(
        model, "looked at", remedy="for a computation without a model use fl.explain(loss_fn, variables)"
    )
