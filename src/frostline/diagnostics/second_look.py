"""A look back after a training: could the loss have moved these weights, or only decay and penalties?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.diagnostics.explanation import Status
from frostline.diagnostics.first_samples import first_samples, fixed_batch_size
from frostline.diagnostics.inspect_model import inspect_model
from frostline.errors import said
from frostline.resolution.resolution import Resolution

_SAMPLES = 32
"""How many samples the gradients are computed on."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What the gradient of the data's loss does to weights, penalties left out.

    Attributes:
        statuses: The status of each by address; empty where nobody could look.
        gradients: The gradient of what trains of each, on the first samples, by the address of that part.
        failure: Why nobody could look, in words.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    gradients: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    failure: str = ""


def second_look(
    model: Any,
    resolution: Resolution,
    asked: Sequence[str],
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    measured: bool,
) -> SecondLook:
    """Look at the loss of a trained model, without its penalties, on the first samples of its data.

    Args:
        model: The model.
        resolution: What it was trained under.
        asked: Addresses of the weights in question.
        x: What it was trained on, as for `model.fit`.
        y: The targets.
        sample_weight: Weights of the samples.
        measured: Whether to compute gradients, too.
    """
    batch = first_samples(x, y, sample_weight, most=fixed_batch_size(model) or _SAMPLES)
    if batch is None:
        return SecondLook(failure=f"data as {type(x).__name__} are not read again")
    try:
        with inspect_model(
            model,
            *batch[:2],
            plan=resolution,
            sample_weight=batch[2],
            asked=tuple(asked),
            measured=measured,
            added=True,
            closely=False,  # training has ended: what moved nothing moved nothing
        ) as inspection:
            if inspection.trace.unknown_layers:
                return SecondLook(failure="the model makes layers in its call")
            by_address = inspection.inventory.by_address
            statuses = {a: inspection.status_of(by_address[a]) for a in asked}
            gradients = dict(inspection.measured.gradients) if inspection.measured else {}
    except Exception as error:
        # Training has ended well; that its loss cannot be traced is said where the answer would stand.
        return SecondLook(failure=said(error))
    return SecondLook(statuses, {name: np.asarray(g) for name, g in gradients.items() if g is not None})
