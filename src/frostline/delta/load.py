"""`load_delta`, `deltas` and `remove_delta`: several on one model, each off again without a trace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline._keras.trainers import own_buffers, sync_values
from frostline.delta.base_check import (
    find_base,
    require_base,
    require_disjoint,
    require_same_lora,
    require_weights,
    with_addresses_of,
)
from frostline.delta.change import LoadedDelta, change_for
from frostline.delta.contents import Delta
from frostline.delta.finite import require_finite_load
from frostline.errors import DeltaError, listed, near
from frostline.model.attached import Key
from frostline.model.checks import require_keras_layer
from frostline.model.inventory import inventory

_LOADED: Key[tuple[LoadedDelta, ...]] = Key("deltas")


def load_delta(
    model: Any,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    force: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
) -> LoadedDelta:
    """Put a delta on its base.

    Everything is checked before one value is written. Several deltas can be on a model, as long as no two
    change the same element, or one was trained on top of the other. Where a weight carries the
    parametrization that the delta was trained with, its parts get the values, and training can go on; a plain
    weight gets the merged value.

    Args:
        model: The base: a built Keras model whose weights are those that training began with, with the deltas
            that were on it then; other deltas may be on it too.
        path: What `save_delta` wrote.
        name: What to call it; by default the name of the file without its ending.
        force: Whether to load it although the model is not the base. Shapes must fit all the same.
        custom_objects: Parametrizations of your own by name, where they are not registered with Keras.

    Returns:
        A `LoadedDelta`, also listed by `deltas(model)`.

    Raises:
        DeltaError: The file is damaged or was altered, the model is another or not the base, another delta
            changes the same elements, or it holds NaN or infinity where the model has numbers; the message
            names the addresses. The model is as before.
        ParametrizationError: It has a parametrization of your own whose class is not known here.

    Example:
        >>> import keras, tempfile
        >>> from frostline.delta.save import save_delta
        >>> from frostline.verification.fingerprint import fingerprint
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> before, path = fingerprint(model), Path(tempfile.mkdtemp()) / "tuned.safetensors"
        >>> _ = model.layers[0].bias.assign([1.0, 2.0])
        >>> delta = save_delta(model, path, base=before)
        >>> _ = model.layers[0].bias.assign([0.0, 0.0])
        >>> print(load_delta(model, path))
        tuned: 1 weight, 2 numbers
        >>> remove_delta(model, "tuned")
        >>> fingerprint(model) == before
        True
    """
    path = Path(path)
    sync_values(model)
    model_inventory, present = inventory(model), deltas(model)
    delta = with_addresses_of(Delta.load(path), model_inventory)
    name = _unused(name or _stem(path), present)
    require_weights(delta, model_inventory, path)
    match = find_base(delta, model_inventory, present)
    require_disjoint(match)
    if not force:
        require_same_lora(delta, model_inventory, path)
        require_base(match, delta, model_inventory, path)
    require_finite_load(delta, model_inventory, path)
    changes = tuple(
        change_for(
            model_inventory.by_address[address],
            entry,
            custom_objects,
            match.part_bases.get(address),
            sealed_whole=delta.sealed_whole,
        )
        for address, entry in delta.entries.items()
    )
    rests_on = tuple(one.name for one in match.trained_on)
    loaded = LoadedDelta(name, path, delta, force, rests_on, changes)
    try:
        for change in loaded.changes:
            change.put_on()
    except BaseException:
        for change in loaded.changes:
            change.take_off()
        raise
    own_buffers(model)
    _LOADED.attach(model, (*present, loaded))
    return loaded


def deltas(model: Any) -> tuple[LoadedDelta, ...]:
    """Return the deltas that are on a model, in the order in which they were loaded.

    Raises:
        ModelError: It is not a Keras model.

    Example:
        >>> import keras
        >>> deltas(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
        ()
    """
    require_keras_layer(model)
    return _LOADED.get(model) or ()


def remove_delta(model: Any, name: str | LoadedDelta) -> None:
    """Take a delta off a model: what it replaced gets the bits that it had before, all else stays.

    Args:
        model: The model.
        name: The name of the delta, or what `load_delta` returned.

    Raises:
        DeltaError: The model has no such delta, another one was trained on top of it, or its parts were
            merged. The model is as before.
    """
    wanted = name.name if isinstance(name, LoadedDelta) else name
    present = deltas(model)
    found = [one for one in present if one.name == wanted]
    if not found:
        close = near(str(wanted), [one.name for one in present])
        raise DeltaError(
            f"there is no delta {wanted!r} on the model {model.name!r}",
            received=f"loaded: {listed(one.name for one in present)}" if present else "no deltas are loaded",
            remedy=f"did you mean {listed(close)}?" if close else None,
        )
    _require_uppermost(found[0], present)
    _require_reversible(found[0])
    sync_values(model)
    for change in found[0].changes:
        change.take_off()
    own_buffers(model)
    _LOADED.attach(model, tuple(one for one in present if one is not found[0]))


def _require_uppermost(loaded: LoadedDelta, present: tuple[LoadedDelta, ...]) -> None:
    above = [one.name for one in reversed(present) if loaded.name in one.rests_on]
    if above:
        raise DeltaError(
            f"the delta {loaded.name!r} cannot be removed: deltas that were trained on top of it are loaded",
            received=f"on top of it: {listed(reversed(above))}",
            remedy="remove those first: " + ", ".join(f"remove_delta(model, {name!r})" for name in above),
        )


def _require_reversible(loaded: LoadedDelta) -> None:
    gone = [change.weight.address for change in loaded.changes if not change.reversible]
    if gone:
        raise DeltaError(
            f"the delta {loaded.name!r} cannot be removed: its parts were merged into the weight",
            received=f"{listed(gone)}, no longer parametrized on the model",
            remedy="load the base again",
        )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".safetensors").removesuffix(".delta") or path.name


def _unused(wanted: str, present: tuple[LoadedDelta, ...]) -> str:
    if wanted in [one.name for one in present]:
        raise DeltaError(
            f"a delta {wanted!r} is on the model already",
            remedy="remove it with remove_delta, or give this one another name: name=...",
        )
    return wanted
