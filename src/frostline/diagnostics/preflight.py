"""The check before the first step of a training: can each weight that is to train receive a gradient?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from frostline.diagnostics.explanation import Explanation, reasons
from frostline.diagnostics.inspection import Inspection, inspect_model
from frostline.errors import NoGradientError, listed
from frostline.render import stacked, to_text
from frostline.resolution.resolution import Resolution

log = logging.getLogger("frostline")

_SAMPLES = 2
"""How many samples are looked at: the structure of a computation does not depend on how many there are."""


def preflight(
    model: Any, resolutions: Sequence[Resolution], x: Any, y: Any = None, sample_weight: Any = None
) -> bool:
    """Raise where a weight that the plan trains can receive no gradient, whatever the data.

    Looks at the structure alone: nothing is computed but, on PyTorch, one forward pass of two samples. Data
    that cannot be looked into without consuming them, and a computation that cannot be traced, are let pass.

    Args:
        model: A compiled model.
        resolutions: What the plan decided, for each phase.
        x: What is to be trained on, as for `model.fit`.
        y: The targets.
        sample_weight: Weights of the samples.

    Returns:
        Whether it could look: then each weight that the plan trains can receive a gradient.

    Raises:
        NoGradientError: With the explanation.
    """
    batch = first_samples(x, y, sample_weight)
    if batch is None:
        return False
    asked = tuple(dict.fromkeys(d.weight.address for r in resolutions for d in r.trained))
    try:
        with inspect_model(
            model,
            *batch[:2],
            plan=resolutions[-1],
            sample_weight=batch[2],
            asked=asked,
            measured=False,
            routes_only=True,
            penalties=False,
        ) as inspection:
            if inspection.trace.unknown_layers:
                return False  # layers made in `call`, of which training has more to say
            dead = [a for a in asked if inspection.diagnosis.status(a) in ("cut", "unused")]
            explained = [_with_penalty(inspection, address) for address in dead]
    except Exception as error:
        # Training that works must not fail for the sake of a look at it; it reports its own errors.
        log.debug("the check before training was left out: %s", error)
        return False
    if not dead:
        return True
    raise NoGradientError(
        f"the plan trains weights of the model {model.name!r} that can receive no gradient:\n"
        f"{to_text(stacked(*reasons(explained)))}",
        received=f"a plan that trains {listed(dead, most=6)}",
        expected="a differentiable path from each trained weight to the loss",
        remedy="change the model there, or leave these weights out of the plan; preflight=False trains "
        "anyway",
    )


def _with_penalty(inspection: Inspection, address: str) -> Explanation:
    """Explain why no gradient of the loss reaches a weight, and say where a penalty moves it all the same."""
    explanation = inspection.diagnosis.explain(address)
    variables = [variable for _, variable in inspection.inventory.by_address[address].targets]
    if all(getattr(variable, "regularizer", None) is None for variable in variables):
        return explanation
    return replace(explanation, note="; ".join(filter(None, (explanation.note, "only its penalty moves it"))))


def first_samples(x: Any, y: Any, sample_weight: Any, *, most: int = _SAMPLES) -> tuple[Any, Any, Any] | None:
    """Return the first samples of arrays, of tensors or of a PyDataset; None of any other source."""
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0]
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    parts = keras.tree.flatten((x, y, sample_weight))
    if not all(part is None or (hasattr(part, "shape") and len(part.shape)) for part in parts):
        return None

    def first(part: Any) -> Any:
        return None if part is None else part[:most]

    return tuple(keras.tree.map_structure(first, one) for one in (x, y, sample_weight))
