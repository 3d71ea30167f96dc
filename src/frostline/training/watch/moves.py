"""How weights moved since a moment, computed where they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import uncast
from frostline._keras.variables import to_numpy
from frostline.diagnostics.training_look import Trained
from frostline.diagnostics.watched import Move


class Start:
    """Copies of all that trains, on its device, as it is when this is made.

    Args:
        trained: What trains.
    """

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        pairs = ((weight.address, variable) for weight in trained.weights for _, variable in weight.targets)
        self._stepped: list[tuple[str, Any]] = []
        self._kept = [(address, variable, _copy(variable)) for address, variable in pairs]

    def moves(self) -> dict[str, Move]:
        """Return how each weight moved since; a parametrized one as the sum of its parts."""
        figures = to_numpy(keras.ops.stack([_figures(v, start) for _, v, start in self._kept]))
        by_address: dict[str, list[tuple[int, Any]]] = {}
        for (address, variable, _), row in zip(self._kept, figures, strict=True):
            by_address.setdefault(address, []).append((_size(variable), row))
        stepped = self._largest_of_step()
        return {a: replace(_move(rows), stepped=stepped.get(a)) for a, rows in by_address.items()}

    def variables(self, addresses: Collection[str] | None) -> list[Any]:
        """Return what trains of some weights, or of all."""
        return [v for address, v, _ in self._kept if addresses is None or address in addresses]

    def note_step(self, addresses: Collection[str] | None, values: Sequence[Any]) -> None:
        """Ask the device how far one step moved some weights, or all, without waiting for it.

        Args:
            addresses: Their addresses; None for all.
            values: What `variables` hold after that step.
        """
        chosen = [(a, start) for a, _, start in self._kept if addresses is None or a in addresses]
        for (address, start), value in zip(chosen, values, strict=True):
            with uncast():
                now = _wide(keras.ops.stop_gradient(value))
                self._stepped.append((address, keras.ops.max(keras.ops.abs(now - _wide(start)))))

    def _largest_of_step(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for address, largest in self._stepped:
            found[address] = max(float(to_numpy(largest)), found.get(address, 0.0))
        return found


def _copy(variable: Any) -> Any:
    with uncast():
        return keras.ops.copy(keras.ops.stop_gradient(variable.value))


def _figures(variable: Any, start: Any) -> Any:
    """Return on the device the sums of squares of both and of their difference, scaled, and its largest."""
    with uncast():
        now, before = _wide(keras.ops.stop_gradient(variable.value)), _wide(start)
    difference = keras.ops.abs(now - before)
    largest = keras.ops.max(difference)
    # Divided by the largest: float32 does not hold squares of small steps.
    scaled = difference / keras.ops.maximum(largest, 1e-37)
    return keras.ops.stack([_mean(before), _mean(now), _mean(scaled), largest])


def _wide(value: Any) -> Any:
    return keras.ops.cast(keras.ops.abs(value) if _is_complex(value) else value, "float32")


def _is_complex(value: Any) -> bool:
    return "complex" in str(keras.backend.standardize_dtype(value.dtype))


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
