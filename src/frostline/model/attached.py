"""What Frostline keeps on a model, or on an optimizer, by keys that say of which type it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from frostline._keras.layers import attachments

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """Finds a value that is kept on an object of Keras.

    Whoever owns the value declares its key, once, with its type: `PLAN: Key[Applied] = Key("plan")`. The
    object's configuration, its copies made from that and its files do not know of the value.

    Attributes:
        name: Tells it from what else is kept on the object.

    Example:
        >>> import keras
        >>> COLOUR: Key[str] = Key("colour")
        >>> layer = keras.layers.Dense(2)
        >>> COLOUR.attach(layer, "blue")
        >>> COLOUR.get(layer)
        'blue'
        >>> COLOUR.detach(layer)
        >>> COLOUR.get(layer) is None
        True
    """

    name: str

    def get(self, owner: Any) -> T | None:
        """Return what is kept, or None."""
        value: T | None = attachments(owner, read_only=True).get(self.name)
        return value

    def attach(self, owner: Any, value: T) -> None:
        """Keep a value, in the place of an earlier one."""
        attachments(owner)[self.name] = value

    def detach(self, owner: Any) -> None:
        """Keep it no longer, if it was kept."""
        attachments(owner).pop(self.name, None)
