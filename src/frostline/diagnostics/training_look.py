"""One look at a model in the middle of its training: gradients and units on a kept batch, nothing changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.optimizers import compiled_optimizer, optimizer_chain
from frostline._keras.variables import to_numpy
from frostline.diagnostics.activity import Activity, activity_of
from frostline.diagnostics.inspect_model import measured_as_trained
from frostline.diagnostics.model_loss import ModelLoss
from frostline.diagnostics.thresholds import WEAK
from frostline.diagnostics.update_size import first_step_size
from frostline.diagnostics.watched import Look, Units
from frostline.errors import said
from frostline.graph.reader import Measured, norm
from frostline.model.inventory import Inventory, Weight
from frostline.model.task_data import as_trained

Array = npt.NDArray[Any]
Batch = tuple[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """What trains now.

    Attributes:
        inventory: The weights and layers of the model.
        weights: Those that are to train.
        moving: Addresses of the statistics that are to move.
    """

    inventory: Inventory = field(repr=False)
    weights: tuple[Weight, ...] = ()
    moving: frozenset[str] = frozenset()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of what is to train."""
        return tuple(weight.address for weight in self.weights)


def look_at_batch(model: Any, batch: Batch, trained: Trained) -> Look:
    """Compute gradients and outputs of layers on a batch.

    Seeds, statistics and generators stay as they are. What fails is named in the answer, and nothing is
    raised: a training must not end for the sake of a look at it.

    Args:
        model: A compiled model, at rest between two steps.
        batch: Inputs, targets and weights of samples.
        trained: What trains now.
    """
    samples = samples_in(batch[0])
    # Numbers that run away are what is looked for.
    with trained.inventory.held_state_kept(), np.errstate(all="ignore"):
        found, unseen = _gradients(model, batch, trained)
        active = activity_of(model, batch[0], trained.inventory, trained.moving)
    if active.unseen:
        unseen = (*unseen, active.unseen)
    return replace(found, samples=samples, unseen=unseen, **_told(active))


def _told(active: Activity) -> dict[str, Any]:
    return {"saturated": dict(active.saturated), "drift": dict(active.drift)}


def dead_units(model: Any, batch: Batch, trained: Trained) -> Mapping[str, Units]:
    """Return the units of weights that get no gradient from any sample of a batch, by address.

    Raises:
        Exception: Whatever the model raises.
    """
    with trained.inventory.held_state_kept(), np.errstate(all="ignore"):
        return dict(_dead(trained, _measured(model, batch, trained)))


def _gradients(model: Any, batch: Batch, trained: Trained) -> tuple[Look, tuple[str, ...]]:
    nothing = Look(samples=0)
    try:
        measured = _measured(model, batch, trained)
    except Exception as error:
        # Whatever a model of the user's raises where it does not train; training itself goes on.
        return nothing, (f"gradients: {said(error)}",)
    if measured.error:
        return nothing, (f"gradients: {measured.error.splitlines()[0]}",)
    sizes = dict(_norms(trained, measured))
    steps = dict(_steps(model, trained, sizes))
    dead = dict(_dead(trained, measured))
    return Look(0, loss=measured.loss, gradients=sizes, steps=steps, dead=dead), ()


def _measured(model: Any, batch: Batch, trained: Trained) -> Measured:
    """Measure the gradients of the loss of the data: penalties, which never end, would hide that it did."""
    prepared = as_trained(model, *batch)
    loss = ModelLoss(model, trained.inventory, *prepared, penalties=False, added=True)
    scaled, measured = measured_as_trained(loss, trained.addresses)
    return measured.divided_by(scaled.scale)


def _norms(trained: Trained, measured: Measured) -> Iterator[tuple[str, float]]:
    for weight in trained.weights:
        parts = [measured.gradients.get(name) for name, _ in weight.targets]
        known = [_norm(one) for one in parts if one is not None]
        yield weight.address, math.hypot(*known) if known else 0.0


def _norm(gradient: Array) -> float:
    """Return the norm; in float64 only where float32 does not hold its square."""
    if gradient.dtype != np.float32:
        return norm(gradient) or 0.0
    flat = gradient.reshape(-1)
    size = math.sqrt(float(np.dot(flat, flat)))
    return size if 1e-15 < size < 1e15 else norm(gradient) or 0.0


def _steps(model: Any, trained: Trained, sizes: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield how far the first step of an optimizer would move each weight, by its root mean square alone."""
    optimizer = compiled_optimizer(model)
    if optimizer is None:
        return
    rate = float(to_numpy(optimizer_chain(optimizer)[-1].learning_rate))
    for weight in trained.weights:
        mean = sizes[weight.address] / math.sqrt(weight.trained_size or 1)
        known = first_step_size(optimizer, np.asarray([mean])) if math.isfinite(mean) else None
        yield weight.address, rate * mean if known is None else known


def _dead(trained: Trained, measured: Measured) -> Iterator[tuple[str, Units]]:
    for weight in trained.weights:
        if weight.combination is not None or len(weight.shape) < 2 or weight.shape[-1] < 2:
            continue  # parts of a weight have other axes than its units
        gradient = measured.gradients.get(weight.address)
        if gradient is not None and gradient.shape == weight.shape:
            sizes = np.abs(gradient.reshape(-1, weight.shape[-1])).max(axis=0)
            weak = (sizes > 0) & (sizes < WEAK * np.median(sizes))
            yield weight.address, Units(weight.shape[-1], _places(sizes == 0), _places(weak))


def _places(chosen: Array) -> tuple[int, ...]:
    return tuple(int(place) for place in np.flatnonzero(chosen))


def samples_in(x: Any) -> int:
    """Return how many samples a nest of inputs holds."""
    first: Iterable[Any] = (one for one in keras.tree.flatten(x) if hasattr(one, "shape") and len(one.shape))
    return next((int(one.shape[0]) for one in first), 0)
