"""How weights moved since a moment, computed where they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import uncast
from frostline._keras.variables import to_numpy
from frostline.diagnostics.training_look import Trained
from frostline.diagnostics.watched import Move


class Start:
    """Copies of all that trains, on its device, as it is when they are taken.

    Args:
        trained: What trains.
    """

    def __init__(self, trained: Trained) -> None:
        pairs = ((weight.address, variable) for weight in trained.weights for _, variable in weight.targets)
        self._all = list(pairs)
        self._noted: list[tuple[str, str, Any]] = []
        self._copies: list[Any] | None = None

    @property
    def is_taken(self) -> bool:
        """Whether there are copies."""
        return self._copies is not None

    def take(self, values: Sequence[Any] | None = None) -> None:
        """Copy what trains: these values of `variables`, or those that the variables hold."""
        self._copies = [_copy(value) for value in self._values(values)]

    def moves(self) -> dict[str, Move]:
        """Return how each weight moved since; a parametrized one as the sum of its parts."""
        figures = to_numpy(keras.ops.stack([_figures(v, start) for _, v, start in self._kept]))
        by_address: dict[str, list[tuple[int, Any]]] = {}
        for (address, variable, _), row in zip(self._kept, figures, strict=True):
            by_address.setdefault(address, []).append((_size(variable), row))
        noted = _by_address(self._noted)
        return {a: replace(_move(rows), **noted.get(a, {})) for a, rows in by_address.items()}

    def variables(self, addresses: Collection[str] | None = None) -> list[Any]:
        """Return what trains of some weights, or of all."""
        return [v for address, v in self._all if addresses is None or address in addresses]

    def distances(self, values: Sequence[Any] | None = None) -> Callable[[], dict[str, float]]:
        """Ask the device how far from the copies all is, or these values are.

        Returns:
            What waits for the answer: the largest number of the difference, by address.
        """
        pairs = zip(self._kept, self._values(values), strict=True)
        asked = [("largest", address, _largest(value, start)) for (address, _, start), value in pairs]
        return lambda: {address: one["largest"] for address, one in _by_address(asked).items()}

    @property
    def _kept(self) -> list[tuple[str, Any, Any]]:
        return [(a, v, copy) for (a, v), copy in zip(self._all, self._copies or (), strict=True)]

    def _values(self, values: Sequence[Any] | None) -> Sequence[Any]:
        if values is not None:
            return values
        with uncast():
            return [variable.value for _, variable in self._all]

    def note(self, moment: str, addresses: Collection[str] | None, values: Sequence[Any]) -> None:
        """Ask the device how far from here some weights are, or all, without waiting for it.

        Args:
            moment: The field of `Move` that says it.
            addresses: Their addresses; None for all.
            values: What `variables` hold at that moment.
        """
        chosen = [(a, start) for a, _, start in self._kept if addresses is None or a in addresses]
        for (address, start), value in zip(chosen, values, strict=True):
            self._noted.append((moment, address, _largest(value, start)))


def _by_address(noted: Iterable[tuple[str, str, Any]]) -> dict[str, dict[str, float]]:
    """Return the largest figure of the parts of each weight, by address and moment."""
    found: dict[str, dict[str, float]] = {}
    for moment, address, largest in noted:
        of_weight = found.setdefault(address, {})
        of_weight[moment] = max(float(to_numpy(largest)), of_weight.get(moment, 0.0))
    return found


def _copy(value: Any) -> Any:
    with uncast():
        return keras.ops.copy(keras.ops.stop_gradient(value))


def _largest(value: Any, start: Any) -> Any:
    """Return on the device the largest number of the difference."""
    with uncast():
        difference = keras.ops.abs(_wide(keras.ops.stop_gradient(value)) - _wide(start))
        return keras.ops.cast(keras.ops.max(difference), "float32")


def _figures(variable: Any, start: Any) -> Any:
    """Return on the device the sums of squares of both and of their difference, scaled, and its largest."""
    with uncast():
        now, before = _wide(keras.ops.stop_gradient(variable.value)), _wide(start)
    difference = keras.ops.abs(now - before)
    largest = keras.ops.max(difference)
    # Divided by the largest: float32 does not hold squares of small steps.
    scaled = difference / keras.ops.maximum(largest, 1e-37)
    figures = (_mean(before), _mean(now), _mean(scaled), largest)
    return keras.ops.stack([keras.ops.cast(figure, "float32") for figure in figures])


def _wide(value: Any) -> Any:
    dtype = str(keras.backend.standardize_dtype(value.dtype))
    # float32 would not hold a small step of float64.
    wide = "float64" if dtype == "float64" else "float32"
    return keras.ops.cast(keras.ops.abs(value) if "complex" in dtype else value, wide)


def _mean(value: Any) -> Any:
    return keras.ops.sqrt(keras.ops.mean(keras.ops.square(value)))


def _size(variable: Any) -> int:
    return math.prod(int(n) for n in variable.shape) or 1


def _move(rows: Sequence[tuple[int, Any]]) -> Move:
    sizes = np.asarray([size for size, _ in rows], "float64")
    figures = np.asarray([row for _, row in rows], "float64")
    with np.errstate(all="ignore"):  # numbers that run away are what is looked for
        return _moved(sizes, figures)


def _moved(sizes: Any, figures: Any) -> Move:
    figures[:, 2] *= figures[:, 3]
    before, now, update = np.sqrt((sizes[:, None] * figures[:, :3] ** 2).sum(axis=0) / sizes.sum())
    return Move(float(before), float(now), float(update), float(figures[:, 3].max()))
