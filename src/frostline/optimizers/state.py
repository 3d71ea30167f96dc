"""What Frostline knows of an optimizer between plans: what it updates, what is parked, what joined late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from frostline._keras.optimizers import optimizer_chain, optimizer_counters
from frostline._keras.variables import to_numpy
from frostline.optimizers.parked_slots import Parking, Steps
from frostline.optimizers.slots import Array, slots_and_scalars


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
class State:
    """What is known of one optimizer.

    Attributes:
        targets: What it updates, in its order.
        parked: Slots of what does not train now.
        joined: The step, by the optimizer's counter, before which a weight or its elements made none of their
            own, by address: the counter less the steps that they have made.
        renewed: What was said where it was built anew after it had been built for weights of another model.
    """

    targets: tuple[Target, ...] = ()
    parked: Parking = field(default_factory=Parking)
    joined: dict[str, Steps] = field(default_factory=dict)
    renewed: tuple[str, ...] = ()


states: WeakKeyDictionary[Any, State] = WeakKeyDictionary()
"""By the optimizer that updates, which may be inside another one; an optimizer is not kept alive for it."""


def targets_of(optimizer: Any) -> tuple[Target, ...] | None:
    """Return what `set_targets` last set, or None where it was never called."""
    state = states.get(optimizer_chain(optimizer)[-1])
    return state.targets if state else None


def renewals_of(optimizer: Any) -> tuple[str, ...]:
    """Return what was said each time that an optimizer was built anew for the weights of another model."""
    state = states.get(optimizer_chain(optimizer)[-1])
    return state.renewed if state else ()


def steps_made(optimizer: Any) -> int:
    """Return how many steps an optimizer has made, as its variables say."""
    return int(to_numpy(optimizer_counters(optimizer_chain(optimizer)[-1])[0]))


def forget_parked(optimizer: Any) -> None:
    """Drop the slots kept for weights that do not train now, and their memory."""
    state = states.get(optimizer_chain(optimizer)[-1])
    if state:
        state.parked.records.clear()


@dataclass(frozen=True, slots=True)
class SlotHistory:
    """What of an optimizer's past is not in its variables, all by address.

    Attributes:
        parked: The slots of what does not train now, and how many steps it had trained, by a name for each
            record; see `Parking.to_arrays`.
        joined: The step at which weights that train now joined, where that was not the first.
    """

    parked: Mapping[str, tuple[Mapping[str, Array], int]]
    joined: Mapping[str, int]


_JOINED = "joined:"
"""Marks what is not a record of parked slots: the steps at which single elements of a weight joined."""


def history_of(optimizer: Any) -> SlotHistory:
    """Return the history of an optimizer under a plan."""
    state = states[optimizer_chain(optimizer)[-1]]
    by_element = {
        f"{_JOINED}{address}": ({"steps": steps}, 0)
        for address, steps in state.joined.items()
        if not isinstance(steps, int)
    }
    joined = {address: steps for address, steps in state.joined.items() if isinstance(steps, int)}
    return SlotHistory({**state.parked.to_arrays(), **by_element}, joined)


def put_history(state: State, history: SlotHistory) -> None:
    """Set the past of an optimizer to what `history_of` returned."""
    by_element = {name for name in history.parked if name.startswith(_JOINED)}
    parked = {name: record for name, record in history.parked.items() if name not in by_element}
    state.parked = Parking.from_arrays(parked)
    state.joined = {name.removeprefix(_JOINED): history.parked[name][0]["steps"] for name in by_element}
    state.joined |= history.joined


def named_variables(optimizer: Any, targets: Sequence[Target] | None = None) -> dict[str, Any]:
    """Return all variables of an optimizer, by names that are the same in every process.

    Args:
        optimizer: The optimizer, with slots.
        targets: What it updates, in its own order; may be left out where it is under a plan.
    """
    chain = optimizer_chain(optimizer)
    targets = states[chain[-1]].targets if targets is None else targets
    named: dict[str, Any] = {}
    for depth, part in enumerate(chain):
        per_weight, scalars = slots_and_scalars(part)
        named |= {f"{depth}/{v.name}": v for v in optimizer_counters(part)}
        named |= {f"{depth}/{name}": v for name, v in scalars.items()}
        # An optimizer around the one that updates has no list of weights, and so no slots.
        for target, slots in zip(targets if per_weight else (), per_weight, strict=True):
            named |= {f"{depth}/{target.address}/{name}": v for name, v in slots.items()}
    return named
