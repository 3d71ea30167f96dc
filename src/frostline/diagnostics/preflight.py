"""The check before the first step of a training: can each weight that is to train receive a gradient?"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

import frostline
from frostline.backends import dispatch
from frostline.backends.private import version_of
from frostline.diagnostics.explanation import Explanation, reasons, shown
from frostline.diagnostics.first_samples import first_samples, fixed_batch_size
from frostline.diagnostics.inspect_model import inspect_model
from frostline.diagnostics.inspection import ONLY_PENALTY, Inspection
from frostline.diagnostics.refused import is_raised_in_loss
from frostline.errors import AuditError, NoGradientError, listed, said, text_of
from frostline.render.foreign import warn
from frostline.render.tables import stacked, to_text
from frostline.resolution.resolution import Resolution

_SAMPLES = 2
"""How many samples are looked at: the structure of a computation does not depend on how many there are."""

_HERE = str(Path(frostline.__file__).parent)


def preflight(
    model: Any, resolutions: Sequence[Resolution], x: Any, y: Any = None, sample_weight: Any = None
) -> str:
    """Raise where a weight that the plan trains can receive no gradient, whatever the data.

    Looks at the structure alone: nothing is computed but, on PyTorch, one forward pass of two samples. Data
    that cannot be looked into without consuming them are let pass. So is a computation that cannot be
    followed, with a warning: training that works must not fail for the sake of a look at it.

    Args:
        model: A compiled model.
        resolutions: What the plan decided, for each phase.
        x: What is to be trained on, as for `model.fit`.
        y: The targets.
        sample_weight: Weights of the samples.

    Returns:
        Why the gradients were not checked; empty where they were: then each weight that the plan trains can
        receive one.

    Raises:
        NoGradientError: With the explanation.
    """
    batch = first_samples(x, y, sample_weight, most=fixed_batch_size(model) or _SAMPLES)
    if batch is None:
        return f"{type(x).__name__} gives its samples to training alone"
    if any(True for _ in dispatch.machines().spread(model)):
        return "the model is computed on several devices, where it cannot be followed"
    try:
        seen = _looked_at(model, resolutions, batch)
    except AuditError:
        raise  # the model has no loss: training would move nothing, or end in words of the backend
    except Exception as error:
        if is_raised_in_loss(error):
            # It may be made for other batches; where it is not, training ends in its own words.
            return f"the loss raised on two samples: {said(error)}"
        return _failed(error)
    if seen.unchecked:
        return seen.unchecked if seen.training_says else _warned(seen.unchecked)
    if not seen.explained:
        return ""
    raise NoGradientError(
        f"the plan trains weights of the model {model.name!r} that can receive no gradient:\n"
        f"{to_text(stacked(*reasons(seen.explained)))}",
        received=f"a plan that trains {listed((one.address for one in seen.explained), most=6)}",
        expected="a differentiable path from each trained weight to the loss",
        remedy="change the model there, or leave these weights out of the plan; preflight=False trains "
        "anyway",
    )


def _with_penalty(inspection: Inspection, address: str) -> Explanation:
    """Explain why no gradient of the loss reaches a weight, and say where a penalty moves it all the same."""
    explanation = inspection.explain(address)
    variables = [variable for _, variable in inspection.inventory.by_address[address].targets]
    if all(getattr(variable, "regularizer", None) is None for variable in variables):
        return explanation
    return replace(explanation, note="; ".join(filter(None, (explanation.note, ONLY_PENALTY))))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the look showed.

    Attributes:
        explained: The weights that no gradient can reach.
        unchecked: Why that is not known; empty where it is.
        training_says: Whether training itself ends in an error that says more of it.
    """

    explained: Sequence[Explanation] = ()
    unchecked: str = ""
    training_says: bool = False


def _looked_at(model: Any, resolutions: Sequence[Resolution], batch: tuple[Any, Any, Any]) -> _Seen:
    """Look for weights that no gradient can reach."""
    asked = tuple(dict.fromkeys(d.weight.address for r in resolutions for d in r.trained))
    with inspect_model(
        model,
        *batch[:2],
        plan=resolutions[-1],
        sample_weight=batch[2],
        asked=asked,
        measured=False,
        routes_only=True,
        added=True,
    ) as inspection:
        trace, stopped = inspection.trace, inspection.loss.stopped
        if trace.unknown_layers:
            made = trace.unknown_layers[0].address
            return _Seen((), f"the model makes the layer {made!r} while it is called", training_says=True)
        dead = [a for a in asked if inspection.reach_of(a) in ("cut", "unused")]
        if dead and stopped:
            early = f"the training step ended early, and took no gradient of {listed(dead)}: {stopped[0]}"
            return _Seen((), early)
        if trace.branches:
            # Two samples took one branch; what the others would read is not known.
            elsewhere = [a for a in dead if _is_unread(inspection, a)]
            dead = [a for a in dead if a not in elsewhere]
            if elsewhere and not dead:
                return _Seen((), _decided_by_values(inspection, elsewhere), training_says=True)
        explained = [_with_penalty(inspection, address) for address in dead]
        return _Seen(explained, "" if explained else "; ".join(trace.unasked))


def _is_unread(inspection: Inspection, address: str) -> bool:
    graph = inspection.trace.graph
    parts = inspection.inventory.by_address[address].targets
    return not any(graph.used_by[graph.weights[name]] for name, _ in parts if name in graph.weights)


def _decided_by_values(inspection: Inspection, addresses: Sequence[str]) -> str:
    places = listed(dict.fromkeys(shown(where) for where in inspection.trace.branches if where), most=3)
    return (
        f"the values of the data decide whether {listed(addresses)} is used{f' ({places})' if places else ''}"
    )


def _failed(error: Exception) -> str:
    """Say that the look itself failed, with what a report of it needs."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(_HERE)]
    place = f", in {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    text = "; ".join(line.strip() for line in text_of(error).splitlines() if line.strip())
    return _warned(f"{type(error).__name__}: {text[:500]}{place}")


def _warned(reason: str) -> str:
    backend = keras.backend.backend()
    warn(
        f"gradients were not checked before training: {reason}. Training goes on, and what it moves is "
        "proved all the same. If the training works, please report this line with the program: Frostline "
        f"{frostline.__version__}, Keras {keras.__version__}, {backend} {version_of(backend)}; "
        "preflight=False leaves the check out",
        stacklevel=4,
    )
    return reason
