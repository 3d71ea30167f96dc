"""State that is not a Keras variable, in a model file: Keras writes some of it, and of some layers none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frostline._keras.variables import to_numpy
from frostline.errors import ModelFileError, listed
from frostline.files.tensor_file import Array
from frostline.model.alignment import Known, align
from frostline.model.inventory import Inventory, Weight
from frostline.render.foreign import warn

_STATE = "state/"


def held_weights(model_inventory: Inventory) -> list[Weight]:
    """Return what Keras's files need not hold: state that is not a Keras variable, and memories of layers."""
    return [weight for weight in model_inventory if weight.is_held or weight.role == "state"]


def held_state(model_inventory: Inventory) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return that state as data for JSON, and arrays."""
    arrays = {weight.address: to_numpy(weight.variable) for weight in held_weights(model_inventory)}
    data: dict[str, dict[str, Any]] = {
        address: {"shape": list(a.shape), "dtype": a.dtype.name} for address, a in arrays.items()
    }
    for weight in held_weights(model_inventory):
        if _is_loose(weight):
            data[weight.address]["loose"] = True
    return data, {f"{_STATE}{address}": array for address, array in arrays.items()}


def names_of_held(model_inventory: Inventory, saved: Mapping[str, Any]) -> dict[str, str]:
    """Return the address in a model for each state in its file.

    A tensor that a module keeps as an attribute may be there at one time and not at another. It is told of
    in a warning where the model has no place for it.

    Raises:
        ModelFileError: The model holds other state.
    """
    held = held_weights(model_inventory)
    # A table may have grown since the model was made; its terms are in the file.
    present = {w.address: Known(None, w.stem) for w in held}
    names = dict(align({a: Known(None) for a in saved}, present, renamed=True).names)
    loose = {w.address for w in held if _is_loose(w)}
    nowhere = {a for a, is_now in names.items() if is_now not in present and saved[a].get("loose")}
    if nowhere:
        warn(
            "the model has no place for tensors that were attributes of its modules: "
            f"{listed(sorted(nowhere))}; fix: make them in the constructor, or register them as buffers",
            stacklevel=3,
        )
    names = {a: is_now for a, is_now in names.items() if a not in nowhere}
    if set(names.values()) | loose == set(present):
        return names
    raise ModelFileError(
        "the model in the file holds other state than it did when it was saved",
        received=listed(sorted(set(names.values()) ^ set(present))),
        expected="the buffers, variables and tables that its layers held",
        remedy="a custom layer may have changed since; keras.models.load_model opens the model without it",
    )


def restore_held(
    model_inventory: Inventory,
    saved: Mapping[str, Any],
    names: Mapping[str, str],
    arrays: Mapping[str, Array],
) -> None:
    """Give a model the state that `held_state` returned.

    Raises:
        ModelFileError: Some of it has another shape there.
    """
    for address in names:
        weight, array = model_inventory.by_address[names[address]], arrays[f"{_STATE}{address}"]
        if weight.variable.shape != array.shape and not _may_grow(weight):
            raise ModelFileError(
                f"{weight.address!r} has another shape in the file",
                received=f"shape {array.shape}",
                expected=f"shape {tuple(weight.variable.shape)}",
                remedy="a custom layer may have changed since",
            )
        weight.variable.assign(array)


def _is_loose(weight: Weight) -> bool:
    """Whether a value may have any shape, or be missing."""
    return weight.is_held and bool(weight.variable.may_change_shape)


def _may_grow(weight: Weight) -> bool:
    return _is_loose(weight) or (weight.name == "vocabulary" and weight.dtype == "uint8")
