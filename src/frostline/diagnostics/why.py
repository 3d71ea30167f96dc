"""`why`: the one question about one weight, and `why_all`: about all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from frostline.diagnostics.explanation import Causes, Explanation, Status, Step, shown
from frostline.diagnostics.frozen_by import frozen_by
from frostline.diagnostics.inspect_model import inspect_model, require_model
from frostline.diagnostics.inspection import Inspection, notes_of
from frostline.diagnostics.remedies import status_remedy
from frostline.errors import AuditError, listed, near
from frostline.graph.ir import Leaf
from frostline.model.inventory import Inventory, inventory
from frostline.plan.plan import Plan
from frostline.plan.selectors import Selector, selector
from frostline.resolution.resolution import Resolution


def why(
    model: Any,
    weight: str | Selector,
    x: Any = None,
    y: Any = None,
    *,
    loss: Any = None,
    plan: Plan | Resolution | None = None,
    sample_weight: Any = None,
) -> Explanation:
    """Say why a weight does or does not receive a gradient: the operation, the layer and the line.

    Args:
        model: A built `keras.Model`.
        weight: The address of a weight, or a selector that picks exactly one; or the name under which an
            audit lists an untracked variable.
        x: One batch of inputs, as `model.fit` takes them.
        y: Its targets.
        loss: The loss, in place of the compiled one, as for `audit`.
        plan: Look at the model as under this plan; else as its own flags say.
        sample_weight: Weights of the samples of the batch.

    Returns:
        An `Explanation`. Prints as a short paragraph with the line of source quoted.

    Raises:
        AuditError: No weight is picked, or several are, or the model has no loss, or one that needs targets
            and there are none.
        ModelError: Not a Keras model.
        UnbuiltModelError: Its weights do not exist yet.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> model.compile("adam", "mse")
        >>> why(model, "head/kernel", np.ones((4, 3)), np.zeros((4, 2))).status
        'trains'
    """
    require_model(model)
    parts = inventory(model)
    settings = {"plan": plan, "loss": loss, "sample_weight": sample_weight}
    foreign = _untracked(model, parts, weight, x, y, settings)
    if foreign is not None:
        return foreign
    address = _address(model, parts, weight)
    with inspect_model(model, x, y, asked=(address,), **settings) as inspection:
        explanation = _explained(inspection, address)
        trains = address in inspection.planned.trained
    if explanation.status != "zero" or not trains:
        return explanation
    # Only with the gradients of the others can a zero at the start be told from one that stays.
    with inspect_model(model, x, y, **settings) as inspection:
        return _explained(inspection, address)


def why_all(
    model: Any,
    x: Any = None,
    y: Any = None,
    *more: Any,
    weights: str | Selector = "**",
    loss: Any = None,
    plan: Plan | Resolution | None = None,
    sample_weight: Any = None,
) -> Causes:
    """Say why weights do or do not receive a gradient, those with one cause together.

    Args:
        model: A built `keras.Model`.
        x: One batch of inputs, as `model.fit` takes them.
        y: Its targets.
        *more: The targets, where the weights stand first, as in `why`: `why_all(model, "head/**", x, y)`.
        weights: A selector for the weights in question; all of the model, if left out.
        loss: The loss, in place of the compiled one, as for `audit`.
        plan: Look at the model as under this plan; else as its own flags say.
        sample_weight: Weights of the samples of the batch.

    Returns:
        `Causes`: an `Explanation` for each weight by its address, and the same in `groups`: first of weights
        that cannot do what is planned for them, most weights first.

    Raises:
        AuditError: No weight is picked, or the model has no loss.
        ModelError: Not a Keras model.
        UnbuiltModelError: Its weights do not exist yet.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> model.compile("adam", "mse")
        >>> found = why_all(model, np.ones((4, 3)), np.zeros((4, 2)), weights="head/**")
        >>> [(group[0].status, len(group)) for group in found.groups]
        [('trains', 2)]
    """
    require_model(model)
    if isinstance(x, str | Selector) and len(more) < 2:
        weights, x, y = x, y, *(more or (None,))
    elif more:
        raise AuditError(
            "why_all takes a model, one batch, and a selector for the weights",
            received=f"{2 + len(more)} values behind the model, of which the first is no selector",
            expected="why_all(model, x, y) or why_all(model, selector, x, y)",
            remedy="pass all else by name: weights=..., sample_weight=..., loss=..., plan=...",
        )
    picked = selector(weights).addresses(parts := inventory(model))
    chosen = [weight.address for weight in parts.of_role("weight") if weight.address in picked]
    if not chosen:
        raise _no_weight(model, parts, weights)
    settings = {"plan": plan, "loss": loss, "sample_weight": sample_weight}
    with inspect_model(model, x, y, **settings) as inspection:
        measured = inspection.total or inspection.measured
        return Causes(
            {address: _told(inspection, address) for address in chosen},
            measured.loss if measured else float("nan"),
            tuple(notes_of(inspection)),
            model.name,
        )


def _told(inspection: Inspection, address: str) -> Explanation:
    if address in inspection.planned.trained:
        return _explained(inspection, address)
    status = inspection.status_of(inspection.inventory.by_address[address])
    return _held(inspection, Explanation(address, status), status)


def _explained(inspection: Inspection, address: str) -> Explanation:
    status = inspection.status_of(inspection.inventory.by_address[address])
    explanation = inspection.explain(address)
    return explanation if status == explanation.status else _held(inspection, explanation, status)


def _held(inspection: Inspection, explanation: Explanation, status: Status) -> Explanation:
    """Explain what flags, a plan or code decide, and no gradient does."""
    if status == "frozen":
        note, remedy = frozen_by(inspection, explanation.address)
        return replace(explanation, status=status, cuts=(), behind=(), remedy=remedy, note=note, added=False)
    write = inspection.written.get(explanation.address)
    assigns = f"{write.layer or inspection.model.name!r} assigns to it in call" if write else ""
    note = assigns if status == "leaks" else ""
    remedy = status_remedy(status)
    return replace(explanation, status=status, cuts=(), behind=(), remedy=remedy, note=note, added=False)


def _untracked(
    model: Any, parts: Inventory, weight: str | Selector, x: Any, y: Any, settings: dict[str, Any]
) -> Explanation | None:
    """Explain what an audit calls untracked: a variable that the loss is computed from and nobody owns."""
    if not isinstance(weight, str) or weight in parts.by_address or selector(weight).addresses(parts):
        return None
    if settings["loss"] is None and not getattr(model, "compiled", False):
        return None
    with inspect_model(model, x, y, asked=(), measured=False, **settings) as inspection:
        for leaf in inspection.foreign:
            if leaf.name == weight:
                return Explanation(
                    leaf.name,
                    "untracked",
                    route=(Step(leaf.name, leaf.layer, leaf.where),),
                    remedy=status_remedy("untracked"),
                    note=_read_at(leaf),
                )
    return None


def _read_at(leaf: Leaf) -> str:
    places = [shown(leaf.where)] if leaf.where else []
    places += [f"in layer {leaf.layer!r}"] if leaf.layer else []
    return f"it is read at {', '.join(places)}" if places else ""


def _address(model: Any, parts: Inventory, weight: str | Selector) -> str:
    if isinstance(weight, str) and weight in parts.by_address:
        return parts.by_address[weight].address
    picked = sorted(selector(weight).addresses(parts) & {w.address for w in parts.of_role("weight")})
    if len(picked) == 1:
        return picked[0]
    if picked:
        raise AuditError(
            f"{len(picked)} weights of the model {model.name!r} are picked by {str(weight)!r}",
            received=listed(picked, most=6),
            expected="one weight",
            remedy=f"name one of them, or ask for all: fl.why_all(model, x, y, weights={str(weight)!r})",
        )
    raise _no_weight(model, parts, weight)


def picks_several(model: Any, weight: str | Selector) -> bool:
    """Whether a selector picks more than one weight of a model."""
    require_model(model)
    parts = inventory(model)
    if isinstance(weight, str) and weight in parts.by_address:
        return False
    return len(selector(weight).addresses(parts) & {w.address for w in parts.of_role("weight")}) > 1


def _no_weight(model: Any, parts: Inventory, weight: str | Selector) -> AuditError:
    close = near(str(weight), parts.by_address)
    return AuditError(
        f"the model {model.name!r} has no weight {str(weight)!r}",
        expected="the address of a weight, or a selector that picks one",
        remedy=f"did you mean {listed(close)}?" if close else "see `frostline show MODEL`",
    )
