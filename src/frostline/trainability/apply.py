"""Putting a resolution on a model, and taking it off again."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from frostline._keras.layers import layer_flag, set_layer_flag, whole_weight
from frostline._keras.optimizers import compiled_optimizer
from frostline._keras.trainers import own_buffers, renew_functions, sync_values, training_done
from frostline.errors import PlanError
from frostline.model.attached import Key
from frostline.model.inventory import LayerNode
from frostline.optimizers import rebuild as optimizer
from frostline.parametrization.base import Parametrization
from frostline.parametrization.install import FLAGS_SET_BY
from frostline.parametrization.switch import Planned, planned_on, switch
from frostline.plan.plan import Plan
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.trainability import inference_mode as modes


@dataclass(slots=True, weakref_slot=True, eq=False)
class Applied:
    """A plan that is on a model, and the way back.

    Attributes:
        resolution: What the plan decided.
    """

    resolution: Resolution
    _model: Any = field(repr=False)
    _before: _Flags | None = field(repr=False)

    def undo(self) -> None:
        """Put back every flag of every layer and weight as it was; a second call does nothing.

        A weight that the plan trained in part is a plain one again, with what was trained merged in. Plans
        that were applied after this one are undone with it. On a compiled model the training function and the
        optimizer follow.
        """
        if self._before is None:
            return
        before, chain = self._before, _on_model(self._model).alive()
        for later in chain[chain.index(self) :]:
            later._before = None
        sync_values(self._model)
        known = _addresses(self.resolution)
        switch(self._model, self.resolution.inventory, before.planned)
        before.restore()
        _keep(self._model, _OnModel(before.resolution, chain[: chain.index(self)]))
        targets = _flagged(self._model, self.resolution, before.targets)
        _retarget(self._model, self.resolution, targets, known)
        renew_functions(self._model)
        if before.unbuilt is not None and before.unbuilt is compiled_optimizer(self._model):
            optimizer.release(before.unbuilt)


@dataclass(frozen=True, slots=True)
class _Flags:
    """All that `apply` changes, as it was."""

    layers: tuple[tuple[Any, bool], ...]
    variables: tuple[tuple[Any, bool], ...]
    calls: tuple[tuple[Any, Any], ...]
    planned: Planned
    """The parametrizations of the plan that was on the model."""
    resolution: Resolution | None
    """What was on the model."""
    targets: tuple[optimizer.Target, ...] | None
    unbuilt: Any
    """The optimizer, where it had no slots yet."""

    @classmethod
    def of(cls, model: Any, resolution: Resolution) -> _Flags:
        held = resolution.inventory
        layers = [node.layer for node in held.layers]
        opt = compiled_optimizer(model)
        return cls(
            tuple((layer, layer_flag(layer)) for layer in layers),
            tuple((w.variable, w.variable.trainable) for w in held if w.role != "metric"),
            tuple(modes.calls_of(layers)),
            planned_on(held),
            _on_model(model).resolution,
            optimizer.targets_of(opt) if opt is not None else None,
            opt if opt is not None and not opt.built else None,
        )

    def restore(self) -> None:
        for layer, flag in self.layers:
            set_layer_flag(layer, flag)
        for variable, flag in self.variables:
            if variable.trainable != flag:
                variable.trainable = flag
        modes.restore_calls(self.calls)


def apply(model: Any, plan: Plan | Resolution, *, keep_state: bool = True) -> Applied:
    """Make a model train what a plan says, and nothing else.

    Sets the flag of every layer and weight, puts frozen layers into inference mode as the plan's policies
    say, and, on a compiled model, renews the training function and gives the optimizer slots for the trained
    weights only; slots that it had are kept by address. After that `model.fit`, `train_on_batch` and
    `fl.fit` obey, on every backend; in a callback too, from the next step on.

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
        OptimizerError: The optimizer cannot be brought under a plan. The model is as before.

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
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    _require_same_model(model, resolution)
    sync_values(model)
    before, earlier = _Flags.of(model, resolution), _on_model(model)
    known = _addresses(resolution)
    switched = switch(model, resolution.inventory, _parts_of(resolution))
    try:
        as_before = not switched
        as_before &= not _set_flags(resolution)
        modes.set_modes(resolution)
        as_before &= not _retarget(model, resolution, _targets(model, resolution), known)
    except BaseException:
        switched.back()
        before.restore()
        raise
    trained = earlier.trained if as_before and earlier.decides_as(resolution) else None
    if trained is None or trained != training_done(model):
        renew_functions(model)
    done = Applied(resolution, model, before)
    _keep(model, _OnModel(resolution, [*earlier.alive(), done], trained))
    if not keep_state and (opt := compiled_optimizer(model)) is not None:
        optimizer.forget_parked(opt)
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
    before = _Flags.of(model, resolution)
    switched = switch(model, resolution.inventory, _parts_of(resolution))
    try:
        _set_flags(resolution)
        modes.set_modes(resolution)
        yield
    finally:
        switched.back()
        before.restore()


def _parts_of(resolution: Resolution) -> dict[str, Parametrization]:
    return {d.weight.address: d.how for d in resolution.decisions if d.how is not None}


def _require_same_model(model: Any, resolution: Resolution) -> None:
    decided = {id(w.variable) for w in resolution.inventory.of_role("weight", "statistic")}
    if decided == {id(whole_weight(v)) for v in model.weights}:
        return
    raise PlanError(
        f"the resolution was made for another model, {resolution.inventory.model_name!r}",
        received=f"the model {model.name!r}",
        remedy="apply the plan itself, or resolve it again: plan.resolve(model)",
    )


def put_flags_right(model: Any) -> tuple[str, ...]:
    """Set flags that somebody changed since `apply` back to what it set.

    Returns:
        The addresses of the weights and layers whose flags were changed; none where no plan is on the model.
    """
    resolution = _on_model(model).resolution
    return tuple(_set_flags(resolution)) if resolution is not None else ()


def keep_functions(model: Any) -> None:
    """Let the next `apply` keep the compiled functions if it changes nothing; called after a training.

    Training by other means in between may have traced them under other flags, so it ends this.
    """
    _on_model(model).trained = training_done(model)


def functions_kept(model: Any, resolution: Resolution) -> bool:
    """Whether the compiled functions were last used for a training under the same decisions."""
    on_model = _on_model(model)
    before = on_model.resolution
    if before is None or on_model.trained is None or on_model.trained != training_done(model):
        return False
    return [(d.weight.address, d.how) for d in before.trained] == [
        (d.weight.address, d.how) for d in resolution.trained
    ]


class _OnModel:
    """What is on a model, and which plans can still be undone, the latest last.

    Those that nobody holds any more, as after `fit`, cannot be undone and are not kept.
    """

    def __init__(
        self, resolution: Resolution | None, chain: Iterable[Applied], trained: object = None
    ) -> None:
        self.resolution = resolution
        self.trained = trained
        """What `training_done` said when the compiled functions were last known to be right."""
        self._chain = [weakref.ref(applied) for applied in chain]

    def decides_as(self, resolution: Resolution) -> bool:
        """Whether layers run in the same modes under another resolution."""
        return self.resolution is not None and self.resolution.modes == resolution.modes

    def alive(self) -> list[Applied]:
        return [done for held in self._chain if (done := held()) is not None]


_PLAN: Key[_OnModel] = Key("plan")


def resolution_on(model: Any) -> Resolution | None:
    """Return what the plan that is on a model decided; None where no plan is."""
    return _on_model(model).resolution


def _on_model(model: Any) -> _OnModel:
    return _PLAN.get(model) or _OnModel(None, ())


def _keep(model: Any, on_model: _OnModel) -> None:
    _PLAN.attach(model, on_model)
    FLAGS_SET_BY.attach(model, on_model.resolution)


def _set_flags(resolution: Resolution) -> list[str]:
    """Set every flag that is not as the resolution wants it; return the addresses of those."""
    trained = {d.weight.address for d in resolution.trained}
    changed = []
    for weight in resolution.inventory:
        # `for v in model.weights: v.trainable = True` makes Keras train statistics too.
        trains = weight.address in trained
        if weight.role != "metric" and weight.variable.trainable != trains:
            weight.variable.trainable = trains
            changed.append(weight.address)
    for node, flag in _layer_flags(resolution, trained):
        if layer_flag(node.layer) != flag:
            set_layer_flag(node.layer, flag)
            changed.append(node.address or resolution.inventory.model_name)
    return changed


def _layer_flags(resolution: Resolution, trained: set[str]) -> Iterator[tuple[LayerNode, bool]]:
    weights = {d.weight.address for d in resolution.decisions}
    moving = {d.weight.layer for d in resolution.statistics if d.trains}
    for node in resolution.inventory.layers:
        if node.address in moving:
            # BatchNormalization moves its statistics by its flag; its weights have flags of their own.
            yield node, True
        elif not weights.isdisjoint(node.below):
            yield node, not trained.isdisjoint(node.below)
        elif node.own:
            yield node, False


def _targets(model: Any, resolution: Resolution) -> tuple[optimizer.Target, ...]:
    by_id = {id(v): (address, d) for d in resolution.trained for address, v in d.weight.targets}
    decisions = [(v, *by_id[id(v)]) for v in model.trainable_variables]
    return tuple(optimizer.Target(address, v, d.lr, d.decay) for v, address, d in decisions)


def bring_under(opt: Any, model: Any, resolution: Resolution) -> bool:
    """Let an optimizer follow a resolution that is on a model; return whether that changed the optimizer.

    Raises:
        OptimizerError: It cannot be brought under a plan. Nothing is changed then.
    """
    return optimizer.set_targets(opt, _targets(model, resolution), _addresses(resolution))


def _flagged(
    model: Any, resolution: Resolution, before: tuple[optimizer.Target, ...] | None
) -> tuple[optimizer.Target, ...]:
    """Return what Keras's own flags let train, with the multipliers that held before."""
    rates = {target.address: target.rates for target in before or ()}
    addresses = _addresses(resolution)
    held = [(addresses[id(v)], v) for v in model.trainable_variables if id(v) in addresses]
    return tuple(optimizer.Target(address, v, *rates.get(address, (1.0, 1.0))) for address, v in held)


def _addresses(resolution: Resolution) -> dict[int, str]:
    roles = resolution.inventory.of_role("weight", "statistic")
    return {id(v): address for w in roles for address, v in ((w.address, w.variable), *w.targets)}


def _retarget(
    model: Any, resolution: Resolution, targets: tuple[optimizer.Target, ...], known: dict[int, str]
) -> bool:
    """Let the optimizer follow the flags; return whether that changed it.

    `known` are the addresses of variables that the model may have had until now.
    """
    opt = compiled_optimizer(model)
    if opt is None:
        return False
    changed = optimizer.set_targets(opt, targets, known | _addresses(resolution))
    own_buffers(model)
    return changed
