"""Private attributes looked up with a clear error; methods of one object replaced, and put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from frostline.errors import UnsupportedKerasError

TRIED_ON = ("3.15.1",)


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
            remedy=f"pip install 'keras=={TRIED_ON[-1]}'",
        ) from None


_INNERMOST_FIRST = ("weights", "", "first step", "outputs")
"""Who may replace one method at the same time, and in which order their replacements are nested."""


def replace_method(owner: Any, name: str, make: Callable[[Callable[..., Any]], Any], *, by: str = "") -> None:
    """Put `make(original)` in the place of a method of this one object.

    The object's configuration, class and files do not know of it. `restore_method` undoes it. Those named in
    `_INNERMOST_FIRST` can replace the same method and undo that in any order.
    """
    held = vars(owner).get(name)
    _install(owner, name, _beneath(held), {**_makers(held), by: make})


def restore_method(owner: Any, name: str, *, by: str = "") -> None:
    """Undo `replace_method`, if it was called; a replacement by somebody else stays."""
    held = vars(owner).get(name)
    makers = _makers(held)
    if by in makers:
        _install(owner, name, _beneath(held), {key: make for key, make in makers.items() if key != by})


def restore_held(owner: Any, name: str, then: Any, *, by: str = "") -> None:
    """Put back what `vars(owner).get(name)` was then; what others than `by` did since stays."""
    now = _makers(vars(owner).get(name))
    others = {key: make for key, make in now.items() if key != by}
    wanted = others | {key: make for key, make in _makers(then).items() if key == by}
    if wanted == _makers(then):
        put_held(owner, name, then)
    else:
        _install(owner, name, _beneath(then), wanted)


def _makers(held: Any) -> dict[str, Callable[..., Any]]:
    return dict(getattr(held, "frostline_makers", {}))


def _beneath(held: Any) -> Any:
    return getattr(held, "frostline_replaces", held)


def _install(owner: Any, name: str, beneath: Any, makers: dict[str, Callable[..., Any]]) -> None:
    put_held(owner, name, beneath)
    if not makers:
        return
    method = private(owner, name)
    for key in sorted(makers, key=_INNERMOST_FIRST.index):
        method = makers[key](method)
    method.frostline_replaces = beneath
    method.frostline_makers = makers
    object.__setattr__(owner, name, method)


def put_held(owner: Any, name: str, held: Any) -> None:
    if held is None:
        vars(owner).pop(name, None)
    else:
        object.__setattr__(owner, name, held)
