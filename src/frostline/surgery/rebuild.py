"""Making a model anew from its configuration, with another size of a vocabulary in it.

A model is built of its configuration when a file of it is loaded. So what is changed there holds for the
graph of a Functional model, for the constructors of custom layers, for shapes and for files alike. Where in
the configuration the size stands is found by trying: a change counts if the model that it makes has the
right shapes, and no other does.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import keras

from frostline._keras.files import config_of, made_of_config
from frostline.errors import FrostlineError, GrowingError, UnsupportedVersionError, listed, text_of
from frostline.model.inventory import Inventory, LayerNode, Weight, inventory

ConfigPath = tuple[Any, ...]
"""Keys and places from the root of a configuration down."""

_MOST_TRIALS = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """A weight of a model, and the same of the model made anew.

    Attributes:
        old: The first.
        new: The second.
        axis: The axis along which it grew; None where it has its old shape.
    """

    old: Weight
    new: Weight
    axis: int | None


@dataclass(frozen=True, slots=True)
class Growth:
    """What is asked for.

    Attributes:
        before: The size of the vocabulary.
        after: The size that it shall have.
        table: The weight with one row for each entry.
        heads: Layers that project back onto the vocabulary with weights of their own.
    """

    before: int
    after: int
    table: Weight
    heads: tuple[LayerNode, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Addresses of the layers whose settings hold the size."""
        return (self.table.layer, *(node.address for node in self.heads))


def rebuilt(model: Any, original: Inventory, growth: Growth) -> tuple[Any, tuple[Pair, ...]]:
    """Return the model made anew, with fresh values, and its weights beside the old ones.

    Args:
        model: The model; it is only read.
        original: Its inventory.
        growth: What is asked for.

    Raises:
        GrowingError: Its configuration does not give it again, or nowhere holds the size.
    """
    config = _configuration(model)
    custom = {type(node.layer).__name__: type(node.layer) for node in original.layers}
    refused: Exception | None = None
    for changes in itertools.islice(_changes(config, growth), _MOST_TRIALS):
        trial = copy.deepcopy(config)
        for path in changes:
            _put(trial, path, growth.after)
        try:
            made = made_of_config(trial, custom)
            there = inventory(made)
            pairs = matched(original, there, growth)
        except UnsupportedVersionError:
            raise  # no setting is to blame
        except Exception as error:  # Keras and constructors of users raise what they like
            refused = refused or error
            continue
        _require_same_settings(original, there)
        return made, pairs
    raise _not_found(growth, refused)


def matched(original: Inventory, made: Inventory, growth: Growth) -> tuple[Pair, ...]:
    """Return the weights of two models side by side; their order counts, names may have other numbers.

    Raises:
        GrowingError: The second is not the first with a larger vocabulary.
    """
    old, new = (one.of_role("weight", "statistic", "seed") for one in (original, made))
    if len(old) != len(new):
        raise GrowingError(
            "the rebuilt model has other weights",
            received=f"{len(new)} weights and statistics",
            expected=f"{len(old)}, in the same order",
        )
    pairs = tuple(Pair(a, b, _axis(a, b, growth)) for a, b in zip(old, new, strict=True))
    grown = {pair.old.address for pair in pairs if pair.axis is not None}
    if next(p.axis for p in pairs if p.old.address == growth.table.address) != 0:
        raise GrowingError(
            f"{growth.table.address!r} did not gain rows in the rebuilt model",
            expected=f"{growth.after:,} rows",
        )
    for head in growth.heads:
        if grown.isdisjoint(head.below):
            inside = listed(f"{w.address} {w.shape}" for w in old if w.address in head.below)
            raise GrowingError(
                f"no weight of the head {head.address!r} has an axis of {growth.before:,}",
                received=inside or "no weights",
                expected="a layer with one output for each row of the table",
            )
    return pairs


def _axis(old: Weight, new: Weight, growth: Growth) -> int | None:
    """Return the one axis along which a weight grew, None for none."""
    same = (old.role, old.dtype, len(old.aliases)) == (new.role, new.dtype, len(new.aliases))
    if same and old.shape == new.shape:
        return None
    if same and len(old.shape) == len(new.shape):
        axes = [n for n, sizes in enumerate(zip(old.shape, new.shape, strict=True)) if sizes[0] != sizes[1]]
        if len(axes) == 1 and (old.shape[axes[0]], new.shape[axes[0]]) == (growth.before, growth.after):
            return axes[0]
    raise GrowingError(
        f"{old.address!r} is a different weight in the rebuilt model",
        received=f"{new.role} of shape {new.shape}, {new.dtype}",
        expected=f"{old.role} of shape {old.shape}, {old.dtype}",
    )


def _configuration(model: Any) -> dict[str, Any]:
    try:
        return config_of(model)
    except Exception as error:
        raise GrowingError(
            f"the model {model.name!r} cannot be rebuilt: it has no complete configuration",
            received=_first_line(error),
            remedy="give its classes a get_config, which saving needs too; "
            "or pass build=, a function of the new number of rows that returns a new, built model",
        ) from error


def _changes(config: dict[str, Any], growth: Growth) -> Iterator[frozenset[ConfigPath]]:
    """Yield sets of places that may hold the size, the likeliest first."""
    per_layer = [list(_places(config, address, growth.before)) for address in growth.layers]
    tried = set()
    for choice in itertools.product(*per_layer):
        changes = frozenset[ConfigPath]().union(*choice)
        if changes not in tried:
            tried.add(changes)
            yield changes


def _places(config: dict[str, Any], address: str, size: int) -> Iterator[frozenset[ConfigPath]]:
    """Yield places of a number in the settings of a layer: each alone, all; then of the layer around it."""
    for path in reversed(_objects(config, address)):
        settings = _get(config, path)
        if _is_graph(settings):
            return  # what stands there belongs to other layers
        found = list(_numbers(settings.get("config"), (*path, "config"), size))
        yield from (frozenset({one}) for one in found)
        if len(found) > 1:
            yield frozenset(found)


def _objects(config: dict[str, Any], address: str) -> list[ConfigPath]:
    """Return the paths of the layers on the way to one, as far down as the configuration names them."""
    paths: list[ConfigPath] = [()]
    for name in address.split("/") if address else ():
        below = _named(_get(config, paths[-1]).get("config"), name.partition("#")[0], (*paths[-1], "config"))
        if below is None:
            break
        paths.append(below)
    return paths


def _named(config: Any, name: str, above: ConfigPath) -> ConfigPath | None:
    """Return the path of the one object of that name that stands highest; None for none or several."""
    level: list[tuple[ConfigPath, Any]] = [(above, config)]
    while level:
        below = [((*path, key), inner) for path, outer in level for key, inner in _entries(outer)]
        found = [path for path, one in below if _is_object(one) and one["config"].get("name") == name]
        if found:
            return found[0] if len(found) == 1 else None
        level = below
    return None


def _numbers(config: Any, above: ConfigPath, size: int) -> Iterator[ConfigPath]:
    for key, inner in _entries(config):
        if key in ("build_config", "input_shape", "batch_shape"):
            continue  # of what goes in, which is looked at anew
        if isinstance(inner, int) and not isinstance(inner, bool) and inner == size:
            yield (*above, key)
        yield from _numbers(inner, (*above, key), size)


def _entries(config: Any) -> Sequence[tuple[Any, Any]]:
    if isinstance(config, dict):
        return list(config.items())
    return list(enumerate(config)) if isinstance(config, list) else []


def _is_object(config: Any) -> bool:
    return isinstance(config, dict) and "class_name" in config and isinstance(config.get("config"), dict)


def _is_graph(config: dict[str, Any]) -> bool:
    layers = config.get("config", {}).get("layers")
    return isinstance(layers, list) and all(map(_is_object, layers))


def _get(config: Any, path: ConfigPath) -> Any:
    for key in path:
        config = config[key]
    return config


def _put(config: Any, path: ConfigPath, value: int) -> None:
    _get(config, path[:-1])[path[-1]] = value


def _require_same_settings(original: Inventory, made: Inventory) -> None:
    """Check that nothing was set by hand on a layer that its configuration does not know of."""
    if len(original.layers) != len(made.layers):
        raise GrowingError("the rebuilt model has other layers", received=f"{len(made.layers)} layers")
    for old, new in zip(original.layers, made.layers, strict=True):
        if lost := _lost(old.layer, new.layer):
            raise GrowingError(
                f"get_config of {old.address or 'the model'!r} omits some settings",
                received=f"{listed(lost)}, changed on the layer after it was created",
                expected="a get_config that returns every setting; saving loses these too",
                remedy="let get_config return it, or pass build=, a function of the new number of rows that "
                "returns a new, built model",
            )


def _lost(old: Any, new: Any) -> list[str]:
    """Return the names of plain attributes and methods of a layer that differ on the one made anew."""
    usual, there = vars(keras.Sequential()), vars(new)
    lost = []
    for name, value in vars(old).items():
        if name.startswith("_") or name in usual:
            continue
        if name not in there:
            shadows = callable(value) and hasattr(type(old), name) and not hasattr(value, "frostline_makers")
            lost += [name] if shadows else []
        elif value is not None and there[name] is not None and _differ(value, there[name]):
            lost.append(name)
    return lost


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        return (one.__module__, one.__qualname__) != (other.__module__, other.__qualname__)
    if isinstance(one, str | float | bool):
        return repr(one) != repr(other)
    return type(one) is not type(other)


def _not_found(growth: Growth, refused: Exception | None) -> GrowingError:
    layers = " and ".join(repr(address or "the model") for address in growth.layers)
    return GrowingError(
        f"no setting of {layers} could be raised from {growth.before:,} to {growth.after:,}",
        received=_first_line(refused) if refused else f"no setting with the value {growth.before:,}",
        expected="a setting such as input_dim= that sets the number of rows of the table and nothing else",
        remedy="pass an output layer that has its own weights as head=, or pass build=, a function of the "
        "new number of rows that returns a new, built model",
    )


def _first_line(error: Exception) -> str:
    text = error.what if isinstance(error, FrostlineError) else text_of(error).strip().partition("\n")[0]
    if isinstance(error, GrowingError) and error.received:
        text += f" ({error.received})"
    return text[:200]
