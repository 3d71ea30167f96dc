"""What layers hold beside their Keras variables, the same objects each time one asks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.backends.held_state import HeldState, Holdings
from frostline.files.json_text import parsed_json
from frostline.model.attached import Key

_STATES: Key[dict[str, HeldState]] = Key("held states")


def is_held(variable: Any) -> bool:
    """Whether this is state that is no `keras.Variable`."""
    return isinstance(variable, HeldState)


def holdings_of(layer: Any) -> Holdings:
    """Return what a layer holds beside its Keras variables.

    What Frostline finds of one place is one object as long as the layer holds it, so that decisions and
    snapshots know it again.
    """
    # Not at the top: the dispatch loads Keras.
    from frostline.backends import dispatch

    room = dispatch.holdings()
    vocabulary = _vocabulary(layer)
    if vocabulary is not None:
        found = Holdings(states=(vocabulary,))
    else:
        found = room.of_layer(layer) if room is not None else Holdings()
    names = {**found.names, **_names_in_trees(layer)}
    return replace(found, states=_known_again(layer, found.states), names=names)


@contextmanager
def held_state_kept(layers: Iterable[Any]) -> Iterator[None]:
    """Put back what layers hold beside their Keras variables: to look at a model is to call it."""
    from frostline.backends import dispatch

    room = dispatch.holdings()
    kept = [room.keep(layer) for layer in layers] if room is not None else []
    try:
        yield
    finally:
        for put_back in kept:
            put_back()


def _known_again(layer: Any, states: tuple[tuple[str, HeldState], ...]) -> tuple[tuple[str, HeldState], ...]:
    """Put those that were found before in the places of those found now."""
    if not states:
        return states
    before = _STATES.get(layer) or {}
    known = {name: _earlier(before.get(name), state) for name, state in states}
    _STATES.attach(layer, known)
    return tuple((name, known[name]) for name, _ in states)


def _earlier(before: HeldState | None, now: HeldState) -> HeldState:
    return before if before is not None and before.is_same(now) else now


def remembered(layer: Any) -> list[Any]:
    """Return the variables in which a stateful recurrent layer remembers its states between calls."""
    import keras

    if not (isinstance(layer, keras.layers.RNN) and layer.stateful):
        return []
    return [one for one in keras.tree.flatten(layer.states) if isinstance(one, keras.Variable)]


def _names_in_trees(layer: Any) -> dict[int, tuple[str, ...]]:
    """Return the names that the parameters and the state of a `JaxLayer` have in their trees, by id."""
    import keras

    if not isinstance(layer, keras.layers.JaxLayer):
        return {}
    trees = {"params": layer.params, "state": layer.state}
    return {id(one): (path,) for path, one in _leaves(trees, "") if isinstance(one, keras.Variable)}


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        inner: Any = tree.items()
    elif isinstance(tree, list | tuple):
        inner = enumerate(tree)
    else:
        yield path, tree
        return
    for name, one in inner:
        yield from _leaves(one, f"{path}/{name}" if path else str(name))


class Vocabulary(HeldState):
    """The vocabulary of a lookup layer, as JSON in bytes: a table that `adapt` fills, and training never."""

    _read: tuple[Any, npt.NDArray[Any]] | None = None

    @property
    def value(self) -> npt.NDArray[Any]:
        """The bytes."""
        return self.read_array()

    def read_array(self) -> npt.NDArray[Any]:
        """Return the bytes."""
        # The layer makes a new table for other terms, and reading one takes long.
        table = self.holder.lookup_table
        if self._read is None or self._read[0] is not table:
            self._read = table, np.frombuffer(json.dumps(self._terms()).encode(), np.uint8)
        return self._read[1]

    def _terms(self) -> list[Any]:
        terms = self.holder.get_vocabulary(include_special_tokens=False)
        return [term if isinstance(term, str | int) else np.asarray(term).item() for term in terms]

    def assign(self, value: Any) -> None:
        """Fill the table, unless it holds the same terms already."""
        terms = parsed_json(bytes(np.asarray(value, np.uint8)))
        if terms != self._terms():
            self.holder.set_vocabulary(terms)


def is_lookup(layer: Any) -> bool:
    """Whether a layer looks its inputs up in a vocabulary."""
    import keras

    return isinstance(layer, keras.layers.StringLookup | keras.layers.IntegerLookup)


def _vocabulary(layer: Any) -> tuple[str, HeldState] | None:
    return ("vocabulary", Vocabulary(layer, "vocabulary")) if is_lookup(layer) else None
