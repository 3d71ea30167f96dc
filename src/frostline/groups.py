"""The steps of an optimizer, run group by group: each with its rate, its decay and its own count of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline import _keras


@dataclass(frozen=True, slots=True)
class Group:
    """Weights that share a learning rate, a decay and the step at which they joined."""

    lr: float
    decay: float
    joined: int


def set_groups(optimizer: Any, groups: Mapping[Any, Group], scalars: Callable[[], Sequence[Any]]) -> None:
    """Let an optimizer run its steps once per group, or as they are where there is one plain group.

    Args:
        optimizer: The optimizer that updates, not one around it.
        groups: The group of each weight, by the optimizer's key of it.
        scalars: Returns the variables that all weights share, the counters not among them.
    """
    update, decay, average = _keras.update_hooks()
    if set(groups.values()) <= {Group(1.0, 1.0, 0)}:
        for hook in (update, decay, average):
            _keras.restore_method(optimizer, hook)
        return
    grouping = _Grouping(optimizer, groups, scalars)
    _keras.replace_method(optimizer, update, grouping.update_step)
    _keras.replace_method(optimizer, decay, grouping.weight_decay)
    _keras.replace_method(optimizer, average, grouping.averages)


class _Grouping:
    """The update step, the weight decay and the averages of an optimizer, group by group."""

    def __init__(
        self, optimizer: Any, groups: Mapping[Any, Group], scalars: Callable[[], Sequence[Any]]
    ) -> None:
        self._optimizer = optimizer
        self._groups = groups
        self._key = _keras.variable_key(optimizer)
        self._scalars = scalars

    def _split(self, variables: Sequence[Any]) -> dict[Group, list[int]]:
        found: dict[Group, list[int]] = {}
        for place, variable in enumerate(variables):
            found.setdefault(self._groups[self._key(variable)], []).append(place)
        return found

    def update_step(self, original: Callable[..., Any]) -> Callable[..., None]:
        """Return an update step that gives each group its learning rate and its own count of steps."""

        def grouped(grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
            import keras

            before = [(scalar, keras.ops.copy(scalar)) for scalar in self._scalars()]
            for number, (group, places) in enumerate(self._split(variables).items()):
                if number > 0:
                    # Scalars that all weights share move once a step, not once a group.
                    for scalar, value in before:
                        scalar.assign(value)
                rate = learning_rate if group.lr == 1 else keras.ops.multiply(learning_rate, group.lr)
                with _keras.steps_counted_from(self._optimizer, group.joined):
                    _keras.set_momentum_product(self._optimizer)
                    original([grads[n] for n in places], [variables[n] for n in places], rate)
            _keras.set_momentum_product(self._optimizer, ahead=1)

        return grouped

    def weight_decay(self, original: Callable[..., Any]) -> Callable[..., None]:
        """Return a weight decay that gives each group its share: rate times multiplier times decay."""

        def grouped(variables: Sequence[Any]) -> None:
            for group, places in self._split(variables).items():
                with _keras.decay_scaled_by(self._optimizer, group.lr * group.decay):
                    original([variables[n] for n in places])

        return grouped

    def averages(self, original: Callable[..., Any]) -> Callable[..., None]:
        """Return an update of the averages (EMA) that begins each group's with its own first step."""

        def grouped(variables: Sequence[Any]) -> None:
            for group, places in self._split(variables).items():
                with (
                    _keras.steps_counted_from(self._optimizer, group.joined),
                    _keras.averages_at(self._optimizer, places),
                ):
                    original([variables[n] for n in places])

        return grouped
