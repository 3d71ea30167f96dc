"""Private attributes looked up with a clear error; methods of one object replaced, and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from frostline.errors import UnsupportedKerasError

NEWEST = "3.15.1"
"""The version of all tests."""

TRIED_ON = ("3.13.0", "3.13.1", "3.13.2", "3.14.0", "3.14.1", "3.15.0", NEWEST, "3.16.0.dev2026102704")
"""`make test-versions` tries them; `docs/versions.md` says with what result."""


def private(owner: Any, name: str) -> Any:
    """Return a private attribute, or say which version of Keras lacks it."""
    try:
        return getattr(owner, name)
    except AttributeError:
        import keras

        raise UnsupportedKerasError(
            f"{type(owner).__name__} has no attribute {name!r}",
            received=f"Keras {keras.__version__}",
            expected=f"a version Frostline was tried on: {', '.join(TRIED_ON)}",
            remedy=f"pip install 'keras=={NEWEST}'",
        ) from None


@contextmanager
def patched(owner: Any, **attributes: Any) -> Iterator[None]:
    """Set attributes of a class, a module or an object inside a `with` block, and put them back.

    What the owner had from its class, or from a class above, it has from there again.
    """
    before = {name: vars(owner)[name] for name in attributes if name in vars(owner)}
    try:
        for name, value in attributes.items():
            private(owner, name)  # An attribute that is not there would be patched in vain.
            setattr(owner, name, value)
        yield
    finally:
        for name in attributes:
            if name in before:
                setattr(owner, name, before[name])
            elif name in vars(owner):
                delattr(owner, name)


_INNERMOST_FIRST = ("weights", "", "first step", "outputs", "watched steps")
"""Who may replace one method at the same time, and in which order their replacements are nested."""

_Make = Callable[[Callable[..., Any]], Any]
"""Makes a replacement of a method from the method that it stands around."""


def replace_method(owner: Any, name: str, make: _Make, *, by: str = "") -> None:
    """Put `make(original)` in the place of a method of this one object.

    The object's configuration, class and files do not know of it. `restore_method` undoes it. Those named in
    `_INNERMOST_FIRST` can replace the same method and undo that in any order.
    """
    present = vars(owner).get(name)
    _install(owner, name, _original(present), {**_makers(present), by: make})


def restore_method(owner: Any, name: str, *, by: str = "") -> None:
    """Undo `replace_method`, if it was called; a replacement by somebody else stays."""
    present = vars(owner).get(name)
    makers = _makers(present)
    if by in makers:
        _install(owner, name, _original(present), {key: make for key, make in makers.items() if key != by})


def roll_back_method(owner: Any, name: str, earlier: Any, *, by: str = "") -> None:
    """Put back what a method was replaced with by `by` at an earlier moment, if by anything.

    What others have replaced since then is theirs to undo, and stays; what a user set on the object by hand
    since then goes.

    Args:
        owner: The object.
        name: The method.
        earlier: What `vars(owner).get(name)` was at that moment.
        by: Whose replacement is put back.
    """
    of_others = {key: make for key, make in _makers(vars(owner).get(name)).items() if key != by}
    wanted = of_others | {key: make for key, make in _makers(earlier).items() if key == by}
    if wanted == _makers(earlier):
        # Nobody else came or went: the very function that was there then, so that comparing finds no change.
        _set_own(owner, name, earlier)
    else:
        _install(owner, name, _original(earlier), wanted)


def _makers(method: Any) -> dict[str, _Make]:
    """Return who replaced a method, and how."""
    return dict(getattr(method, "frostline_makers", {}))


def _original(method: Any) -> Any:
    """Return what the object itself held before anybody replaced the method; None where its class had it."""
    return getattr(method, "frostline_replaces", method)


def _install(owner: Any, name: str, original: Any, makers: dict[str, _Make]) -> None:
    """Nest all replacements anew: one of the innermost cannot be put in or taken out of those around it."""
    _set_own(owner, name, original)
    if not makers:
        return
    method = private(owner, name)
    for key in sorted(makers, key=_INNERMOST_FIRST.index):
        method = makers[key](method)
    method.frostline_replaces = original
    method.frostline_makers = makers
    object.__setattr__(owner, name, method)


def _set_own(owner: Any, name: str, value: Any) -> None:
    """Set an attribute of the object itself, past Keras's tracking; None leaves that of its class."""
    if value is None:
        vars(owner).pop(name, None)
    else:
        object.__setattr__(owner, name, value)
