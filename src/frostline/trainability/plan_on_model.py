"""Which plan is on a model, which can still be undone, and whether compiled functions are still right."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frostline._keras.trainers import training_done
from frostline.model.attached import Key
from frostline.parametrization.install import FLAGS_SET_BY
from frostline.resolution.resolution import Resolution
from frostline.trainability.flags import set_flags

if TYPE_CHECKING:
    from frostline.trainability.apply import Applied


@dataclass(slots=True)
class PlanOnModel:
    """What is on a model.

    Attributes:
        resolution: What the plan decided; None where no plan is.
        undoable: The plans that can be undone, the latest last. Weakly held: those that nobody keeps any
            more, as after `fit`, cannot be undone, and what they remember is let go.
        trained: What `training_done` said when the compiled functions were last known to be right; None
            where they may have been traced under other flags.
    """

    resolution: Resolution | None = None
    undoable: tuple[weakref.ref[Applied], ...] = ()
    trained: object = None

    def alive(self) -> list[Applied]:
        """Return the plans that can be undone, the latest last."""
        return [applied for reference in self.undoable if (applied := reference()) is not None]

    def has_modes_of(self, resolution: Resolution) -> bool:
        """Whether layers run in the same modes under another resolution, and are the same layers."""
        if self.resolution is None or self.resolution.modes != resolution.modes:
            return False
        if self.resolution.module_modes != resolution.module_modes:
            return False
        return same_weights(self.resolution, resolution)


_PLAN: Key[PlanOnModel] = Key("plan")


def plan_on(model: Any) -> PlanOnModel:
    """Return what is on a model."""
    return _PLAN.get(model) or PlanOnModel()


def set_plan_on(
    model: Any, resolution: Resolution | None, undoable: Sequence[Applied], trained: object = None
) -> None:
    """Say what is on a model from now on."""
    _PLAN.attach(model, PlanOnModel(resolution, tuple(map(weakref.ref, undoable)), trained))
    FLAGS_SET_BY.attach(model, resolution)


def resolution_on(model: Any) -> Resolution | None:
    """Return what the plan that is on a model decided; None where no plan is."""
    return plan_on(model).resolution


def put_flags_right(model: Any) -> tuple[str, ...]:
    """Set flags that somebody changed since `apply` back to what it set.

    Returns:
        The addresses of the weights and layers whose flags were changed; none where no plan is on the model.
    """
    resolution = resolution_on(model)
    return tuple(set_flags(resolution)) if resolution is not None else ()


def keep_functions(model: Any) -> None:
    """Let the next `apply` keep the compiled functions if it changes nothing; called after a training.

    Training by other means in between may have traced them under other flags, so it ends this.
    """
    plan_on(model).trained = training_done(model)


def functions_kept(model: Any, resolution: Resolution) -> bool:
    """Whether the compiled functions were last used for a training under the same decisions."""
    present = plan_on(model)
    if present.resolution is None or present.trained is None or present.trained != training_done(model):
        return False
    if not same_weights(present.resolution, resolution):
        return False
    return _trained_parts(present.resolution) == _trained_parts(resolution)


def same_weights(one: Resolution, other: Resolution) -> bool:
    """Whether two resolutions are of the very same weights: a layer may be replaced by one of its name."""
    first, second = (
        [id(w.variable) for w in resolution.inventory.of_role("weight", "statistic")]
        for resolution in (one, other)
    )
    return first == second


def _trained_parts(resolution: Resolution) -> list[tuple[str, object]]:
    return [(d.weight.address, d.how) for d in resolution.trained]
