"""An optimizer under a plan: slots for trained weights only, kept by address through every change.

The optimizer object stays the one that the user made. Its slots are rebuilt in place when the trained set
changes. Where weights have multipliers or joined late, its update step runs once per group, with the learning
rate of that group and with the step count since the group joined, as PyTorch counts steps per parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from frostline._keras.layers import whole_weight
from frostline._keras.methods import restore_method
from frostline._keras.optimizers import (
    optimizer_chain,
    optimizer_targets,
    rate_schedule,
    unbuild_optimizer,
    update_hooks,
    variable_key,
)
from frostline._keras.variables import to_numpy
from frostline.elements.algebra import same
from frostline.elements.sets import Elements
from frostline.errors import OptimizerError, listed
from frostline.model.attached import Key
from frostline.optimizers.groups import Group, Membership, set_groups
from frostline.optimizers.parked_slots import ParkedSlots, Steps, elements_of, fill, one_number
from frostline.optimizers.slots import assign_by_name, slots_and_scalars
from frostline.optimizers.state import SlotHistory, State, Target, put_history, states, steps_made
from frostline.render.foreign import warn
from frostline.render.tables import count

WHEN_CHANGED: Key[Callable[[], None]] = Key("when changed")
"""What is called when an optimizer (the innermost) updates other weights, or at other rates, than before."""


def set_targets(
    optimizer: Any, targets: Sequence[Target], addresses: Mapping[int, str], *, renew: bool = True
) -> bool:
    """Let an optimizer update just these weights.

    An optimizer without slots gets them here, and not at its first step: from now on it refuses all other
    variables, and a step that cannot be traced does not leave it half built (TensorFlow).

    Args:
        optimizer: The optimizer of a compiled model, built or not. It is changed in place.
        targets: The weights that train, in the order of `model.trainable_variables`.
        addresses: The address of every variable of the model, by `id`.
        renew: Whether an optimizer that was built for weights that the model does not have (a head that was
            replaced, another model) is built anew, with a warning, and keeps the slots of those that it has.

    Returns:
        Whether it did not update them, at these rates, before: then functions compiled with it are stale.

    Raises:
        OptimizerError: The optimizer is of a kind whose slots cannot be told apart, or it was built for other
            weights and is not to be built anew. Nothing is changed then.
    """
    chain = optimizer_chain(optimizer)
    inner = chain[-1]
    _require_single(inner)
    state = states.setdefault(inner, State())
    changed = [t.rates for t in state.targets] != [t.rates for t in targets]
    if not optimizer.built:
        _build(optimizer, targets)
        changed = True
    elif [id(v) for v in optimizer_targets(inner)] != [id(target.variable) for target in targets]:
        strangers = strangers_in(optimizer, addresses)
        if strangers and not renew:
            raise _of_others(inner, strangers)
        _rebuild(chain, targets, addresses, state)
        if strangers:
            _say_renewed(inner, targets, strangers, state)
        changed = True
    state.targets = tuple(targets)
    _set_groups(inner, state)
    if changed and (tell := WHEN_CHANGED.get(inner)) is not None:
        tell()
    return changed


def strangers_in(optimizer: Any, addresses: Mapping[int, str]) -> list[str]:
    """Return what a built optimizer updates and a model does not have, each by its path and shape.

    Args:
        optimizer: The optimizer, built.
        addresses: The address of every variable of the model, by `id`.
    """
    inner = optimizer_chain(optimizer)[-1]
    known = {**_addresses_of_parts_taken_off(states.get(inner), addresses), **addresses}
    others = (v for v in optimizer_targets(inner) if id(v) not in known)
    return [f"{getattr(v, 'path', v.name)} of shape {tuple(int(n) for n in v.shape)}" for v in others]


def release(optimizer: Any) -> None:
    """Take an optimizer that never made a step back to before `set_targets`, free to be built anew."""
    chain = optimizer_chain(optimizer)
    if steps_made(chain[-1]) > 0:
        return
    for part in chain:
        unbuild_optimizer(part)
    for hook in update_hooks():
        restore_method(chain[-1], hook)
    states.pop(chain[-1], None)


def restore_history(optimizer: Any, history: SlotHistory, weights: Mapping[str, Any] | None = None) -> None:
    """Put back what `history_of` returned, perhaps in another process; the plan must be the same.

    Args:
        optimizer: The optimizer.
        history: What it returned.
        weights: The weights of the model by address, so that no other weight takes what is theirs later.
    """
    inner = optimizer_chain(optimizer)[-1]
    put_history(states[inner], history)
    states[inner].parked.belong_to(weights or {})
    _set_groups(inner, states[inner])


def _require_single(optimizer: Any) -> None:
    if isinstance(optimizer, keras.optimizers.Optimizer) and not hasattr(optimizer, "optimizers"):
        return
    given = getattr(optimizer, "optimizers", None)
    held = [_with_rate(one) for one in given] if isinstance(given, list | tuple) else []
    raise OptimizerError(
        f"an optimizer of type {type(optimizer).__name__} cannot be used with a plan",
        received=f"one of {listed(held)}" if held else None,
        expected="one keras.optimizers.Optimizer, or a LossScaleOptimizer around one",
        remedy="compile with one of these, and give the other weights a multiple of its rate in the plan: "
        ".train('backbone/**', lr=0.1)"
        if held
        else "give groups their own learning rate in the plan: .train('backbone/**', lr=0.1)",
    )


def _with_rate(optimizer: Any) -> str:
    kind = type(optimizer).__name__
    rate = getattr(optimizer, "learning_rate", None)
    if rate is None or rate_schedule(optimizer) is not None:
        return kind
    return f"{kind} at {float(to_numpy(rate)):g}"


def _build(optimizer: Any, targets: Sequence[Target]) -> None:
    with keras.name_scope(optimizer.name):
        optimizer.build([target.variable for target in targets])


def _rebuild(
    chain: Sequence[Any], targets: Sequence[Target], addresses: Mapping[int, str], state: State
) -> None:
    """Park all slots, build the optimizer anew for its targets, and give each what was parked for it.

    Keras can neither add a weight to a built optimizer nor take one out. All slots are parked, also those of
    weights that go on training: which elements of a weight go on is found in one place, by `Parking`.
    """
    inner = chain[-1]
    steps = steps_made(inner)
    # All is read, and anything strange refused, before anything is changed.
    scalars = [
        {name: to_numpy(scalar) for name, scalar in slots_and_scalars(part)[1].items()} for part in chain
    ]
    _park_all(inner, addresses, state, steps)
    for part in chain:
        unbuild_optimizer(part)
    _build(chain[0], targets)
    for part, values in zip(chain, scalars, strict=True):
        assign_by_name(slots_and_scalars(part)[1], values)
    # Steps are counted in whole updates: an offset within one would shift when gradients are applied.
    update_every = getattr(inner, "gradient_accumulation_steps", None) or 1
    state.joined = {}
    for target, slots in zip(targets, slots_and_scalars(inner)[0], strict=True):
        records = state.parked.take(target.address, target.variable)
        trained = _fill_slots(target.variable, slots, records)
        state.joined[target.address] = (steps - trained) // update_every * update_every


def _park_all(optimizer: Any, addresses: Mapping[int, str], state: State, steps: int) -> None:
    """Park the slots of all that an optimizer updates and the model has; those of others are dropped."""
    known = {**_addresses_of_parts_taken_off(state, addresses), **addresses}
    joined = {id(t.variable): state.joined.get(t.address, 0) for t in state.targets}
    variables = optimizer_targets(optimizer)
    if any(id(v) not in known for v in variables):
        # What is kept for weights that do not train now may be of the other model, too, or move with its own.
        state.parked.follow(addresses)
    for variable, slots in zip(variables, slots_and_scalars(optimizer)[0], strict=True):
        if id(variable) in known:
            values = {name: to_numpy(slot) for name, slot in slots.items()}
            trained = steps - joined.get(id(variable), 0)
            state.parked.park(known[id(variable)], variable, values, trained)


def _addresses_of_parts_taken_off(state: State | None, addresses: Mapping[int, str]) -> dict[int, str]:
    """Return the addresses of parts that were just taken off weights that are still there."""
    targets = state.targets if state is not None else ()
    return {id(t.variable): t.address for t in targets if id(whole_weight(t.variable)) in addresses}


def _of_others(optimizer: Any, strangers: Sequence[str]) -> OptimizerError:
    return OptimizerError(
        f"the optimizer {type(optimizer).__name__} was built for weights that this model does not have",
        received=listed(strangers),
        remedy="give this model a new optimizer, such as "
        f"keras.optimizers.{type(optimizer).__name__}({float(to_numpy(optimizer.learning_rate)):g})",
    )


def _say_renewed(optimizer: Any, targets: Sequence[Target], strangers: Sequence[str], state: State) -> None:
    """Say that an optimizer was built anew, and what became of its slots."""
    steps = steps_made(optimizer)
    fresh = [t.address for t in targets if not _has_trained(state.joined[t.address], steps)]
    said = (
        f"the optimizer {type(optimizer).__name__} was built for weights that this model does not have: "
        f"{listed(strangers, most=4)}, of a layer that was taken out or of another model. It was built anew: "
        f"{count(len(targets) - len(fresh), 'weight')} kept the slots, "
        f"{count(len(fresh), 'weight')} began with new ones"
        + (f" ({listed(fresh, most=4)})" if fresh else "")
    )
    state.renewed = (*state.renewed, said)
    warn(said, stacklevel=2)


def _has_trained(joined: Steps, steps: int) -> bool:
    return bool(np.any(np.asarray(joined) < steps))


def _fill_slots(variable: Any, slots: dict[str, Any], records: list[ParkedSlots]) -> Steps:
    """Give slots what was parked for them, element by element; return how many steps that has trained."""
    elements = elements_of(variable)
    if records and (elements is None or _are_alike(records[0].elements, elements)):
        assign_by_name(slots, records[0].slots)
        return records[0].steps
    if (average := slots.get("_model_variables_moving_average")) is not None:
        # An average that starts at zero would pull a late weight towards zero.
        average.assign(to_numpy(variable))
    if not records or elements is None:
        return 0
    # Some elements trained before and others did not, or not as long: the others keep their fresh slots.
    shape = elements.part_shape
    values = {name: to_numpy(slot) for name, slot in slots.items() if tuple(slot.shape) == shape}
    trained = np.zeros(shape, np.int64)
    fill(values, trained, elements, records)
    assign_by_name(slots, values)
    return one_number(trained)


def _are_alike(one: Elements | None, other: Elements) -> bool:
    """Whether two sets are of the same elements, and held in the same shape."""
    return one is not None and one.part_shape == other.part_shape and same(one, other)


def _set_groups(optimizer: Any, state: State) -> None:
    key = variable_key(optimizer)
    groups = {key(t.variable): _memberships(t, state.joined.get(t.address, 0)) for t in state.targets}
    set_groups(optimizer, groups, lambda: slots_and_scalars(optimizer))


def _memberships(target: Target, joined: Steps) -> tuple[Membership, ...]:
    """Return the groups that a weight is in: one for each step at which some of its elements joined."""
    if isinstance(joined, int):
        return (Membership(Group(target.lr, target.decay, joined)),)
    # Much faster than sorting, which counts where a whole table trains again.
    steps = np.flatnonzero(np.bincount(joined.reshape(-1)))
    return tuple(Membership(Group(target.lr, target.decay, int(step)), joined == step) for step in steps)
