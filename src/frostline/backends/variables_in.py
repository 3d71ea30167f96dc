"""What a module or a nest of another library holds to be asked about. Knows no backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Leaf:
    """One of the variables or arrays.

    Attributes:
        name: Its name, in what holds it.
        value: The variable, tensor or array.
        trains: Whether it is meant to train, as far as what holds it tells.
    """

    name: str
    value: Any = field(repr=False)
    trains: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """All of them.

    Attributes:
        leaves: Them.
        made_of: Given a value for each, what the loss function is called with; None where it reads them
            itself and is called with nothing.
        noun: What the loss function is called with, in words.
    """

    leaves: tuple[Leaf, ...]
    made_of: Callable[[Sequence[Any]], Any] | None = None
    noun: str = ""
