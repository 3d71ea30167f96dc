"""What the smoke has used of all that is public, and its steps.

A function counts when a call of it returned, a class when a step returned an instance, alone or in a list.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


class Used:
    """Stands for a module: hands out what is in it, and notes what was really used."""

    def __init__(self, module: Any) -> None:
        self._module = module
        held = {name: vars(module).get(name) for name in module.__all__}
        self._inner = {name: Used(one) for name, one in held.items() if inspect.ismodule(one)}
        self._seen: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name in self._inner:
            return self._inner[name]
        value = getattr(self._module, name)
        if inspect.isfunction(value):
            return self._noting(name, value)
        if not isinstance(value, type):
            self._seen.add(name)
        return value

    def _noting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            self._seen.add(name)
            return result

        return call

    def note(self, made: Any) -> None:
        """Count the classes of what a step returned."""
        for one in _flat(made):
            self._seen.update(cls.__name__ for cls in type(one).__mro__ if self._has(cls))
            for inner in self._inner.values():
                inner.note([one])

    def _has(self, cls: type) -> bool:
        return cls.__name__ in self._module.__all__ and getattr(self._module, cls.__name__) is cls

    def left_out(self) -> list[str]:
        """Return the public names that were not used."""
        own = [name for name in self._module.__all__ if name not in self._seen and name not in self._inner]
        return own + [f"{name}.{one}" for name, inner in self._inner.items() for one in inner.left_out()]


def _flat(made: Any) -> list[Any]:
    """Return what was made, and what is in it."""
    inside = made.values() if isinstance(made, Mapping) else made if isinstance(made, list | tuple) else ()
    return [made, *(inner for one in inside for inner in _flat(one))]


STEPS: dict[str, Callable[[], Any]] = {}
"""The steps by name, in order; each returns what it made."""


def step(function: Callable[[], Any]) -> Callable[[], Any]:
    """Make a function a step of the smoke."""
    STEPS[function.__name__.replace("_", " ")] = function
    return function
