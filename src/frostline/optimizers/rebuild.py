"""An optimizer under a plan: slots for trained weights only, kept by address through every change.

The optimizer object stays the one that the user made. Its slots are rebuilt in place when the trained set
changes. Where weights have multipliers or joined late, its update step runs once per group, with the learning
rate of that group and with the step count since the group joined, as PyTorch counts steps per parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from frostline._keras.layers import whole_weight
from frostline._keras.methods import restore_method
from frostline._keras.optimizers import (
    optimizer_chain,
    optimizer_counters,
    optimizer_own_variables,
    optimizer_targets,
    unbuild_optimizer,
    update_hooks,
    variable_key,
)
from frostline._keras.variables import to_numpy
from frostline.elements.algebra import same
from frostline.elements.sets import Elements
from frostline.errors import OptimizerError, listed
from frostline.model.attached import Key
from frostline.optimizers.groups import Group, Share, set_groups
from frostline.optimizers.parked_slots import Array, Kept, Parking, Steps, elements_of, fill, single


@dataclass(frozen=True, slots=True)
class Target:
    """A weight that an optimizer updates.

    Attributes:
        address: Its address in the model; slots follow it.
        variable: The `keras.Variable`.
        lr: Multiplier of the learning rate.
        decay: Multiplier of the weight decay.
    """

    address: str
    variable: Any
    lr: float = 1.0
    decay: float = 1.0

    @property
    def rates(self) -> tuple[float, float]:
        """Its multipliers."""
        return self.lr, self.decay


@dataclass(slots=True)
class _State:
    """What Frostline remembers about an optimizer between plans."""

    targets: tuple[Target, ...] = ()
    parked: Parking = field(default_factory=Parking)
    joined: dict[str, Steps] = field(default_factory=dict)


_states: WeakKeyDictionary[Any, _State] = WeakKeyDictionary()

WHEN_CHANGED: Key[Callable[[], None]] = Key("when changed")
"""What is called when an optimizer (the innermost) updates other weights, or at other rates, than before."""


def set_targets(optimizer: Any, targets: Sequence[Target], addresses: Mapping[int, str]) -> bool:
    """Let an optimizer update just these weights.

    An optimizer without slots gets them here, and not at its first step: from now on it refuses all other
    variables, and a step that cannot be traced does not leave it half built (TensorFlow).

    Args:
        optimizer: The optimizer of a compiled model, built or not. It is changed in place.
        targets: The weights that train, in the order of `model.trainable_variables`.
        addresses: The address of every variable of the model, by `id`.

    Returns:
        Whether it did not update them, at these rates, before: then functions compiled with it are stale.

    Raises:
        OptimizerError: The optimizer is of a kind whose slots cannot be told apart, or it was built for
            another model. Nothing is changed then.
    """
    chain = optimizer_chain(optimizer)
    inner = chain[-1]
    _require_single(inner)
    state = _states.setdefault(inner, _State())
    changed = [t.rates for t in state.targets] != [t.rates for t in targets]
    if not optimizer.built:
        _build(optimizer, [target.variable for target in targets])
        changed = True
    elif not _same_variables(inner, targets):
        _rebuild(chain, targets, addresses, state)
        changed = True
    state.targets = tuple(targets)
    _set_groups(inner, targets, state)
    if changed and (tell := WHEN_CHANGED.get(inner)) is not None:
        tell()
    return changed


def targets_of(optimizer: Any) -> tuple[Target, ...] | None:
    """Return what `set_targets` last set, or None where it was never called."""
    state = _states.get(optimizer_chain(optimizer)[-1])
    return state.targets if state else None


def release(optimizer: Any) -> None:
    """Take an optimizer that never made a step back to before `set_targets`, free to be built anew."""
    chain = optimizer_chain(optimizer)
    if steps_made(chain[-1]) > 0:
        return
    for part in chain:
        unbuild_optimizer(part)
    for hook in update_hooks():
        restore_method(chain[-1], hook)
    _states.pop(chain[-1], None)


def steps_made(optimizer: Any) -> int:
    """Return how many steps an optimizer has made, as its variables say."""
    return int(to_numpy(optimizer_counters(optimizer_chain(optimizer)[-1])[0]))


def forget_parked(optimizer: Any) -> None:
    """Drop the slots kept for weights that do not train now, and their memory."""
    state = _states.get(optimizer_chain(optimizer)[-1])
    if state:
        state.parked.kept.clear()


@dataclass(frozen=True, slots=True)
class Memory:
    """What Frostline remembers about an optimizer beside its variables, all by address.

    Attributes:
        parked: The slots of what does not train now, and how many steps it had trained, by a name for each
            record; see `Parking.to_arrays`.
        joined: The step at which weights that train now joined, where that was not the first.
    """

    parked: Mapping[str, tuple[Mapping[str, Array], int]]
    joined: Mapping[str, int]


def memory_of(optimizer: Any) -> Memory:
    """Return what is remembered about an optimizer under a plan."""
    state = _states[optimizer_chain(optimizer)[-1]]
    mixed = {a: steps for a, steps in state.joined.items() if not isinstance(steps, int)}
    joined = {a: steps for a, steps in state.joined.items() if isinstance(steps, int)}
    extra = {f"{_JOINED}{address}": ({"steps": steps}, 0) for address, steps in mixed.items()}
    return Memory({**state.parked.to_arrays(), **extra}, joined)


_JOINED = "joined:"
"""Marks what is no record of parked slots: the steps at which single elements of a weight joined."""


def remember(optimizer: Any, memory: Memory) -> None:
    """Put back what `memory_of` returned, perhaps in another process; the plan must be the same."""
    inner = optimizer_chain(optimizer)[-1]
    state = _states[inner]
    mixed = {name for name in memory.parked if name.startswith(_JOINED)}
    state.parked = Parking.from_arrays({a: kept for a, kept in memory.parked.items() if a not in mixed})
    state.joined = {name.removeprefix(_JOINED): memory.parked[name][0]["steps"] for name in mixed}
    state.joined |= memory.joined
    _set_groups(inner, state.targets, state)


def named_variables(optimizer: Any, targets: Sequence[Target] | None = None) -> dict[str, Any]:
    """Return all variables of an optimizer, by names that are the same in every process.

    Args:
        optimizer: The optimizer, with slots.
        targets: What it updates, in its own order; may be left out where it is under a plan.
    """
    chain = optimizer_chain(optimizer)
    targets = _states[chain[-1]].targets if targets is None else targets
    named: dict[str, Any] = {}
    for depth, part in enumerate(chain):
        per_weight, scalars = _slots_and_scalars(part)
        named |= {f"{depth}/{v.name}": v for v in optimizer_counters(part)}
        named |= {f"{depth}/{name}": v for name, v in scalars.items()}
        for target, held in zip(targets if per_weight else (), per_weight, strict=True):
            named |= {f"{depth}/{target.address}/{name}": v for name, v in held.items()}
    return named


def slots(optimizer: Any) -> list[dict[str, Any]]:
    """Return, for each weight a built optimizer updates, its slot variables by name.

    A slot is found by how the optimizer holds it: a list with one entry for each weight.

    Raises:
        OptimizerError: Some variable of the optimizer is neither such a slot nor a scalar of its own.
    """
    per_weight, _ = _slots_and_scalars(optimizer)
    return per_weight


def _require_single(optimizer: Any) -> None:
    import keras

    if isinstance(optimizer, keras.optimizers.Optimizer) and not hasattr(optimizer, "optimizers"):
        return
    raise OptimizerError(
        f"an optimizer of type {type(optimizer).__name__} cannot be brought under a plan",
        expected="one keras.optimizers.Optimizer, or a LossScaleOptimizer around one",
        remedy="give groups their own learning rate in the plan: .train('backbone/**', lr=0.1)",
    )


def _same_variables(optimizer: Any, targets: Sequence[Target]) -> bool:
    now = [id(v) for v in optimizer_targets(optimizer)]
    return now == [id(target.variable) for target in targets]


def _slots_and_scalars(optimizer: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    import keras

    variables = optimizer_targets(optimizer)
    counters = {id(v) for v in optimizer_counters(optimizer)}
    per_weight: list[dict[str, Any]] = [{} for _ in variables]
    scalars: dict[str, Any] = {}
    found = set(counters)
    for name, value in vars(optimizer).items():
        if isinstance(value, keras.Variable) and id(value) not in counters:
            scalars[name] = value
            found.add(id(value))
        elif _is_slot_list(name, value, len(variables)):
            for slot, entry in zip(per_weight, value, strict=True):
                if entry is not None:
                    slot[name] = entry
                    found.add(id(entry))
    strange = [v.name for v in optimizer_own_variables(optimizer) if id(v) not in found]
    if strange:
        raise OptimizerError(
            f"the optimizer {type(optimizer).__name__} holds variables that belong to no weight",
            received=listed(strange),
            expected="each slot in a list with one entry per weight, as Keras's own optimizers hold them",
        )
    return per_weight, scalars


def _is_slot_list(name: str, value: Any, length: int) -> bool:
    import keras

    if name in ("_variables", "_trainable_variables") or not isinstance(value, list):
        return False
    return len(value) == length and all(v is None or isinstance(v, keras.Variable) for v in value)


def _rebuild(
    chain: Sequence[Any], targets: Sequence[Target], addresses: Mapping[int, str], state: _State
) -> None:
    inner = chain[-1]
    steps = steps_made(inner)
    before = {id(part): _slots_and_scalars(part) for part in chain}
    old = optimizer_targets(inner)
    # Parts that a plan has just taken off are known by the weight that they were of.
    gone = (t for t in state.targets if id(whole_weight(t.variable)) in addresses)
    addresses = {id(target.variable): target.address for target in gone} | dict(addresses)
    unknown = [getattr(v, "path", v.name) for v in old if id(v) not in addresses]
    if unknown:
        raise OptimizerError(
            f"the optimizer {type(inner).__name__} was built for weights that this model does not have",
            received=listed(unknown),
            remedy="compile this model with an optimizer of its own",
        )
    for variable, held in zip(old, before[id(inner)][0], strict=True):
        address = addresses[id(variable)]
        values = {name: to_numpy(slot) for name, slot in held.items()}
        state.parked.park(address, variable, values, steps - state.joined.get(address, 0))
    scalars = [{name: to_numpy(v) for name, v in before[id(part)][1].items()} for part in chain]
    for part in chain:
        unbuild_optimizer(part)
    _build(chain[0], [target.variable for target in targets])
    for part, values in zip(chain, scalars, strict=True):
        _assign(_slots_and_scalars(part)[1], values)
    state.joined = {}
    for target, held in zip(targets, _slots_and_scalars(inner)[0], strict=True):
        _restore_or_start(inner, target, held, state, steps)


def _build(optimizer: Any, variables: list[Any]) -> None:
    import keras

    with keras.name_scope(optimizer.name):
        optimizer.build(variables)


def _restore_or_start(
    optimizer: Any, target: Target, held: dict[str, Any], state: _State, steps: int
) -> None:
    trained = _restored(target.variable, held, state.parked.take(target.address, target.variable))
    every = getattr(optimizer, "gradient_accumulation_steps", None) or 1
    # Steps are counted in whole updates: an offset within one would shift when gradients are applied.
    state.joined[target.address] = (steps - trained) // every * every


def _restored(variable: Any, held: dict[str, Any], records: list[Kept]) -> Steps:
    """Give slots the values that were kept, element by element; return how many steps these have trained."""
    elements = elements_of(variable)
    if records and (elements is None or _held_alike(records[0].elements, elements)):
        _assign(held, records[0].slots)
        return records[0].steps
    if (average := held.get("_model_variables_moving_average")) is not None:
        # An average that starts at zero would pull a late weight towards zero.
        average.assign(to_numpy(variable))
    if not records or elements is None:
        return 0
    shape = elements.part_shape
    values = {name: to_numpy(slot) for name, slot in held.items() if tuple(slot.shape) == shape}
    trained = np.zeros(shape, np.int64)
    fill(values, trained, elements, records)
    _assign(held, values)
    return single(trained)


def _held_alike(one: Elements | None, other: Elements) -> bool:
    """Whether two sets are of the same elements, and held in the same shape."""
    return one is not None and one.part_shape == other.part_shape and same(one, other)


def _assign(variables: Mapping[str, Any], values: Mapping[str, Array]) -> None:
    for name, value in values.items():
        if name in variables:
            variables[name].assign(value)


def _set_groups(optimizer: Any, targets: Sequence[Target], state: _State) -> None:
    key = variable_key(optimizer)
    groups = {key(t.variable): _shares(t, state.joined.get(t.address, 0)) for t in targets}
    set_groups(optimizer, groups, lambda: _slots_and_scalars(optimizer))


def _shares(target: Target, joined: Steps) -> tuple[Share, ...]:
    """Return the groups that a weight is in: one for each step at which some of its elements joined."""
    if isinstance(joined, int):
        return (Share(Group(target.lr, target.decay, joined)),)
    # Much faster than sorting, which counts where a whole table trains again.
    steps = np.flatnonzero(np.bincount(joined.reshape(-1)))
    return tuple(Share(Group(target.lr, target.decay, int(step)), joined == step) for step in steps)
