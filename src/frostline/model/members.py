"""What objects, classes and functions hold, by name: what code of the user's put there."""

from __future__ import annotations

import functools
import inspect
from types import CodeType, FunctionType, MemberDescriptorType
from typing import Any

from frostline.model.code_origin import is_own
from frostline.model.syntax import attributes_set


def own_attributes(value: Any) -> list[tuple[str, Any]]:
    """Return the attributes of an object that code of the user's set, by name.

    Not those that a base class of a library sets: they are its own affair, and change as it works.
    """
    theirs = set().union(*(_set_by(kind) for kind in type(value).__mro__ if not is_own(kind.__module__)))
    return [(name, one) for name, one in sorted(held_by(value).items()) if name not in theirs]


@functools.lru_cache(maxsize=256)
def _set_by(kind: type) -> frozenset[str]:
    """Return the names of the attributes that a class of a library sets."""
    held = (one for _, one in members(list(vars(kind).items())))
    codes = [code for one in held for code in _codes_behind(one)]
    names = {name for code in codes for name in attributes_set(code)}
    if kind.__module__.startswith("torch."):
        # Modules of PyTorch set theirs by a function that takes the name.
        names |= {one for code in codes for one in code.co_consts if isinstance(one, str)}
    return frozenset(names)


def _codes_behind(member: Any) -> list[CodeType]:
    """Return the code of a function, and of those that it is a wrapper around."""
    member = inspect.unwrap(member) if callable(member) else member
    if not inspect.isfunction(member):
        return []
    held = [one for _, one in closure(member) if inspect.isfunction(one) and one is not member]
    return [member.__code__, *(inspect.unwrap(one).__code__ for one in held)]


def closure(function: FunctionType) -> list[tuple[str, Any]]:
    """Return what a function holds of the scopes around it, each under its name."""
    found = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name == "__class__":  # What `super()` needs.
            continue
        try:
            found.append((f"closure {name}", cell.cell_contents))
        except ValueError:
            found.append((f"closure {name}", "nothing yet"))
    return found


_OF_CLASSES = {"_abc_impl", "_is_protocol", "_is_runtime_protocol"}


def counts_in_class(name: str, value: Any) -> bool:
    """Whether a member of a class is part of what it does."""
    if name in _OF_CLASSES or isinstance(value, MemberDescriptorType):
        return False
    return not name.startswith("__") or isinstance(
        value, FunctionType | classmethod | staticmethod | property
    )


def members(held: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the members of a class with the functions behind properties and the like."""
    found: list[tuple[str, Any]] = []
    for name, value in held:
        if isinstance(value, property):
            parts = (("get", value.fget), ("set", value.fset), ("delete", value.fdel))
            found += [(f"{part} {name}", one) for part, one in parts if one is not None]
        elif isinstance(value, staticmethod | classmethod):
            found.append((name, value.__func__))
        elif isinstance(value, functools.cached_property):
            found.append((name, value.func))
        else:
            found.append((name, value))
    return found


def held_by(value: Any) -> dict[str, Any]:
    """Return what an object holds in its dictionary and in its slots."""
    held = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                held[name] = getattr(value, name)
    return held
