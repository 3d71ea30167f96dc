"""Putting a resolution on a model, and taking it off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from frostline._keras.layers import whole_weight
from frostline._keras.optimizers import compiled_optimizer
from frostline._keras.trainers import renew_functions, sync_values, training_done
from frostline.backends.machines import require_one_machine
from frostline.errors import DistributionError, PlanError, listed
from frostline.optimizers.rebuild import release
from frostline.optimizers.state import Target, forget_parked, steps_made, targets_of
from frostline.parametrization.base import Parametrization
from frostline.parametrization.switch import Planned, planned_on, switch
from frostline.plan.plan import Plan
from frostline.render.foreign import warn
from frostline.resolution.decision import Decision
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.trainability.assignments import unheld
from frostline.trainability.flags import FlagSnapshot, set_flags
from frostline.trainability.inference_mode import set_modes
from frostline.trainability.optimizer_targets import (
    addresses_by_id,
    flagged_targets,
    planned_targets,
    retarget,
)
from frostline.trainability.plan_on_model import plan_on, set_plan_on


@dataclass(slots=True, weakref_slot=True, eq=False)
class Applied:
    """A plan that is on a model, and the way back.

    Attributes:
        resolution: What the plan decided.
        unheld: The variables that it freezes and that code of the model assigns to all the same, in words.
            `frostline.fit` finds out where they move; plain `model.fit` moves them without a word.
    """

    resolution: Resolution
    _model: Any = field(repr=False)
    _before: _Before | None = field(repr=False)
    unheld: tuple[str, ...] = ()

    def undo(self) -> None:
        """Put back every flag of every layer and weight as it was; a second call does nothing.

        A weight that the plan trained in part is a plain one again, with what was trained merged in. Plans
        that were applied after this one are undone with it. On a compiled model the training function and the
        optimizer follow.
        """
        if self._before is None:
            return
        model, before, undoable = self._model, self._before, plan_on(self._model).alive()
        place = undoable.index(self)
        for later in undoable[place:]:
            later._before = None
        _warn_of_wrappers(model)
        sync_values(model)
        # Taken before the switch, which takes parts off that the optimizer still holds slots of.
        known = addresses_by_id(self.resolution)
        switch(model, self.resolution.inventory, before.planned)
        before.flags.restore()
        set_plan_on(model, before.resolution, undoable[:place])
        retarget(model, self.resolution, flagged_targets(model, self.resolution, before.targets), known)
        renew_functions(model)
        if before.unbuilt is not None and before.unbuilt is compiled_optimizer(model):
            release(before.unbuilt)


@dataclass(frozen=True, slots=True)
class _Before:
    """All that `apply` changes, as it was.

    Attributes:
        flags: Flags and modes of layers and variables.
        planned: The parametrizations of the plan that was on the model.
        resolution: What that plan decided.
        targets: What the optimizer updated.
        unbuilt: The optimizer, where it had no slots yet.
    """

    flags: FlagSnapshot
    planned: Planned
    resolution: Resolution | None
    targets: tuple[Target, ...]
    unbuilt: Any

    @classmethod
    def of(cls, model: Any, resolution: Resolution) -> _Before:
        optimizer = compiled_optimizer(model)
        return cls(
            FlagSnapshot.of(resolution.inventory),
            planned_on(resolution.inventory),
            plan_on(model).resolution,
            (targets_of(optimizer) or ()) if optimizer is not None else (),
            optimizer if optimizer is not None and not optimizer.built else None,
        )


def apply(model: Any, plan: Plan | Resolution, *, keep_state: bool = True) -> Applied:
    """Make a model train what a plan says, and nothing else.

    Sets the flag of every layer and weight, puts frozen layers into inference mode as the plan's policies
    say, and, on a compiled model, renews the training function and gives the optimizer slots for the trained
    weights only; slots that it had are kept by address. An optimizer that was built for weights that the
    model does not have (a head that was replaced, another model) is built anew with a warning, and keeps the
    slots of those that it has. After that `model.fit`, `train_on_batch` and
    `fl.fit` obey, on every backend; in a callback too, from the next step on.

    What code of a layer or of a training step assigns to frozen weights (`SpectralNormalization` to its
    kernel, where its layer trains in part) no flag holds back: `apply` warns of it, and names it in
    `Applied.unheld`.

    Compile the model first: a later `compile` brings an optimizer that does not know the plan's multipliers.
    Apply a plan to the whole model that is trained, not to a part of it: `apply` renews what it is given.

    Args:
        model: A built Keras model or layer.
        plan: A plan, or its resolution for this model.
        keep_state: Whether the optimizer's slots of weights that stop training are kept, outside the
            optimizer and in main memory, for when they train again.

    Returns:
        `Applied`, whose `undo()` restores every flag.

    Raises:
        UnbuiltModelError: The model has no weights yet.
        UnmatchedRuleError: A rule picks nothing and is not optional.
        PlanError: The resolution belongs to another model.
        OptimizerError: The optimizer cannot be used with a plan. The model is as before.
        DistributionError: The model is spread in a way that no answer can be given for: a tf.distribute
            strategy outside its scope or over several processes; a DistributedDataParallel wrapper, under
            which more would train than it knows of; FSDP; a model axis over several JAX processes. Nothing
            is changed.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> applied = apply(model, Plan().train("head/kernel"))
        >>> [v.name for v in model.trainable_variables]
        ['kernel']
        >>> applied.undo()
        >>> [v.name for v in model.trainable_variables]
        ['kernel', 'bias']
    """
    done = put_plan_on(model, plan, keep_state=keep_state)
    done.unheld = tuple(map(str, unheld(done.resolution)))
    if done.unheld:
        warn(
            f"the plan for {model.name!r} freezes what plain fit moves all the same: "
            f"{listed(done.unheld, most=4)}. No flag holds it, and nothing is said when it moves; "
            "frostline.fit finds it out. Where that is meant, say so: plan.assigned(...); else freeze all of "
            "that layer, so that it runs in inference mode, or train the weight as well",
            stacklevel=2,
        )
    return done


def put_plan_on(model: Any, plan: Plan | Resolution, *, keep_state: bool = True) -> Applied:
    """Do what `apply` does, for callers that find out by themselves what moves: nothing is warned of.

    Args:
        model: As for `apply`.
        plan: As for `apply`.
        keep_state: As for `apply`.

    Raises:
        FrostlineError: As `apply`.
    """
    require_one_machine(model, "apply")
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    _require_same_model(model, resolution)
    _require_possible_here(model, resolution)
    sync_values(model)
    before, earlier = _Before.of(model, resolution), plan_on(model)
    known = addresses_by_id(resolution)
    switched = switch(model, resolution.inventory, _parts_of(resolution))
    try:
        changed = bool(switched)
        changed |= bool(set_flags(resolution))
        set_modes(resolution)
        changed |= retarget(model, resolution, planned_targets(model, resolution), known)
    except BaseException:
        switched.back()
        before.flags.restore()
        raise
    trained = earlier.trained if not changed and earlier.has_modes_of(resolution) else None
    if trained is None or trained != training_done(model):
        renew_functions(model)
    done = Applied(resolution, model, before)
    set_plan_on(model, resolution, [*earlier.alive(), done], trained)
    if not keep_state and (optimizer := compiled_optimizer(model)) is not None:
        forget_parked(optimizer)
    return done


@contextmanager
def applied(model: Any, plan: Plan | Resolution) -> Iterator[Resolution]:
    """Apply a plan inside a `with` block; every flag is back afterwards, also after an exception.

    Args:
        model: A built Keras model or layer.
        plan: A plan, or its resolution for this model.

    Yields:
        The resolution.

    Raises:
        FrostlineError: As `apply`.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> with applied(model, Plan()):
        ...     len(model.trainable_variables)
        0
        >>> len(model.trainable_variables)
        2
    """
    done = apply(model, plan)
    try:
        yield done.resolution
    finally:
        done.undo()


@contextmanager
def flags_applied(model: Any, resolution: Resolution) -> Iterator[None]:
    """Set the flags and modes of a resolution inside a `with` block, and leave the optimizer alone.

    For looking at a model as it would be under a plan, without training it.
    """
    _require_same_model(model, resolution)
    before = FlagSnapshot.of(resolution.inventory)
    switched = switch(model, resolution.inventory, _parts_of(resolution))
    try:
        set_flags(resolution)
        set_modes(resolution)
        yield
    finally:
        switched.back()
        before.restore()


def _require_possible_here(model: Any, resolution: Resolution) -> None:
    """Refuse what wrappers and strategies around the model would not see, or could not compute."""
    joining = any(_joins(decision) for decision in resolution.trained)
    if joining:
        require_one_machine(model, "unfreeze")
    try:
        require_one_machine(model, "schedule")
    except DistributionError:
        # Steps are counted only then: on JAX their number cannot be read within a step.
        rates = any((d.lr, d.decay) != (1.0, 1.0) or d.how for d in resolution.trained)
        if rates or (joining and _has_trained(model)):
            raise


def _has_trained(model: Any) -> bool:
    optimizer = compiled_optimizer(model)
    return optimizer is not None and optimizer.built and steps_made(optimizer) > 0


def _warn_of_wrappers(model: Any) -> None:
    """Say what goes on without the weights that train again. Undoing must work, also behind an error."""
    try:
        require_one_machine(model, "unfreeze")
    except DistributionError as error:
        warn(f"a plan was undone, and {error.what}: {error.remedy}", stacklevel=3)


def _joins(decision: Decision) -> bool:
    """Whether a weight that does not train now will."""
    planned_part = decision.how is not None and decision.weight.combination is None
    return planned_part or not all(variable.trainable for _, variable in decision.weight.targets)


def _parts_of(resolution: Resolution) -> dict[str, Parametrization]:
    return {d.weight.address: d.how for d in resolution.decisions if d.how is not None}


def _require_same_model(model: Any, resolution: Resolution) -> None:
    own = resolution.inventory.of_role("weight", "statistic")
    decided = {id(w.variable) for w in own if not w.is_held}
    if decided == {id(whole_weight(v)) for v in model.weights}:
        return
    raise PlanError(
        f"the resolution was made for another model, {resolution.inventory.model_name!r}",
        received=f"the model {model.name!r}",
        remedy="apply the plan itself, or resolve it again: plan.resolve(model)",
    )
