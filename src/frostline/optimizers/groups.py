"""The steps of an optimizer, run group by group: each with its rate, its decay and its own count of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.methods import replace_method, restore_method
from frostline._keras.optimizers import (
    averages_at,
    decay_scaled_by,
    optimizer_targets,
    set_momentum_product,
    steps_counted_from,
    update_hooks,
    variable_key,
)


@dataclass(frozen=True, slots=True)
class Group:
    """Weights, or elements of some, that share a learning rate, a decay and the step at which they joined."""

    lr: float
    decay: float
    joined: int


@dataclass(frozen=True, slots=True, eq=False)
class Membership:
    """That a weight, or some of its elements, is in a group.

    Attributes:
        group: The group.
        mask: Which of its elements are in it, in its shape; None for all.
    """

    group: Group
    mask: npt.NDArray[np.bool_] | None = None


Slots = Callable[[], tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]]
"""Returns the slots of each weight by name, in the optimizer's order, and the scalars that all share."""


def set_groups(optimizer: Any, memberships: Mapping[Any, tuple[Membership, ...]], slots: Slots) -> None:
    """Let an optimizer run its steps once per group, or as they are where there is one plain group.

    Args:
        optimizer: The optimizer that updates, not one around it.
        memberships: The groups that each weight is in, by the optimizer's key of it.
        slots: Returns what the optimizer holds, the counters not among it.
    """
    update, decay, average = update_hooks()
    if {one.group for several in memberships.values() for one in several} <= {Group(1.0, 1.0, 0)}:
        for hook in (update, decay, average):
            restore_method(optimizer, hook)
        return
    grouping = _Grouping(optimizer, memberships, slots)
    replace_method(optimizer, update, grouping.update_step)
    replace_method(optimizer, decay, grouping.weight_decay)
    replace_method(optimizer, average, grouping.averages)


class _Grouping:
    """The update step, the weight decay and the averages of an optimizer, group by group.

    Where elements of one weight joined at different steps, its step runs once for each of them, and all
    others are put back: right for optimizers that treat every element on its own, as all of Keras's do but
    for Adafactor, LAMB and Muon, which look at a weight as a whole.
    """

    def __init__(
        self, optimizer: Any, memberships: Mapping[Any, tuple[Membership, ...]], slots: Slots
    ) -> None:
        self._optimizer = optimizer
        self._memberships = memberships
        self._key = variable_key(optimizer)
        self._slots = slots

    def _by_group(self, variables: Sequence[Any]) -> dict[Group, dict[int, Any]]:
        """Return, for each group, the places of its weights, and which of their elements are in it."""
        found: dict[Group, dict[int, Any]] = {}
        for place, variable in enumerate(variables):
            for one in self._memberships[self._key(variable)]:
                found.setdefault(one.group, {})[place] = one.mask
        return found

    def update_step(self, original: Callable[..., Any]) -> Callable[..., None]:
        """Return an update step that gives each group its learning rate and its own count of steps."""

        def grouped(grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
            per_weight, scalars = self._slots()
            order = optimizer_targets(self._optimizer)
            slots = {self._key(v): own.values() for v, own in zip(order, per_weight, strict=True)}
            before = [(scalar, keras.ops.copy(scalar)) for scalar in scalars.values()]
            # Keras counts steps for all weights at once. Each group runs with the counter turned back to the
            # steps that it has made itself, so that bias correction begins when its weights begin.
            for number, (group, places) in enumerate(self._by_group(variables).items()):
                if number > 0:
                    # Scalars that all weights share move once a step, not once a group.
                    for scalar, value in before:
                        scalar.assign(value)
                rate = learning_rate if group.lr == 1 else keras.ops.multiply(learning_rate, group.lr)
                changing = [
                    (mask, (variables[n], *slots[self._key(variables[n])])) for n, mask in places.items()
                ]
                with steps_counted_from(self._optimizer, group.joined), _masked(changing):
                    set_momentum_product(self._optimizer)
                    original([grads[n] for n in places], [variables[n] for n in places], rate)
            set_momentum_product(self._optimizer, ahead=1)

        return grouped

    def weight_decay(self, original: Callable[..., Any]) -> Callable[..., None]:
        """Return a weight decay that gives each group its share: rate times multiplier times decay."""

        def grouped(variables: Sequence[Any]) -> None:
            # The step at which elements joined has no part in it, so a weight decays once.
            once: dict[tuple[float, float], list[int]] = {}
            for place, variable in enumerate(variables):
                group = self._memberships[self._key(variable)][0].group
                once.setdefault((group.lr, group.decay), []).append(place)
            for (lr, decay), places in once.items():
                with decay_scaled_by(self._optimizer, lr * decay):
                    original([variables[n] for n in places])

        return grouped

    def averages(self, original: Callable[..., Any]) -> Callable[..., None]:
        """Return an update of the averages (EMA) that begins each group's with its own first step."""

        def grouped(variables: Sequence[Any]) -> None:
            for group, places in self._by_group(variables).items():
                with (
                    steps_counted_from(self._optimizer, group.joined),
                    averages_at(self._optimizer, list(places)) as averages,
                    _masked(
                        [(mask, (average,)) for mask, average in zip(places.values(), averages, strict=False)]
                    ),
                ):
                    original([variables[n] for n in places])

        return grouped


@contextmanager
def _masked(changing: Sequence[tuple[Any, Sequence[Any]]]) -> Iterator[None]:
    """Let what runs inside change variables only where a mask is True, in those that have its shape."""
    partly = [
        (mask, variable, keras.ops.copy(variable))
        for mask, variables in changing
        if mask is not None
        for variable in variables
        if tuple(variable.shape) == mask.shape
    ]
    yield
    for mask, variable, before in partly:
        variable.assign(keras.ops.where(mask, variable.value, before))
