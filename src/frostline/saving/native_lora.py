"""Keras's own LoRA in a model file: Keras merges it into the kernel there, and forgets the factors.

So all variables of such a layer are kept beside, as they are, with its rank and its `lora_alpha`, which Keras
does not read again. So are seeds: Keras leaves out those of the cells of recurrent layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frostline._keras.variables import to_numpy
from frostline.errors import ModelFileError, listed
from frostline.files.tensor_file import Array
from frostline.model.inventory import Inventory, LayerNode

_EXACT = "exact/"
_MERGED = (None, "int8", "int4")
"""The modes of quantization in which Keras merges the factors into the kernel."""


def layers_with_lora(model_inventory: Inventory) -> list[LayerNode]:
    """Return the layers on which Keras's `enable_lora` was called."""
    return [node for node in model_inventory.layers if getattr(node.layer, "lora_enabled", False)]


def lora_state(model_inventory: Inventory) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the settings of such layers by address as data for JSON, and the values of their variables.

    And those of all seeds.
    """
    found = layers_with_lora(model_inventory)
    data = {node.address: {"rank": node.layer.lora_rank, "alpha": node.layer.lora_alpha} for node in found}
    weights = {address: model_inventory.by_address[address] for node in found for address in node.own}
    weights |= {weight.address: weight for weight in model_inventory.of_role("seed") if not weight.is_held}
    return data, {f"{_EXACT}{address}": to_numpy(weight.storage) for address, weight in weights.items()}


def require_writable(model_inventory: Inventory) -> None:
    """Check that Keras can merge the factors of every layer, which it does for its own part of the file.

    Raises:
        ModelFileError: It cannot; names the layers.
    """
    found = [
        f"{node.address} ({node.layer.quantization_mode})"
        for node in layers_with_lora(model_inventory)
        if getattr(node.layer, "quantization_mode", None) not in _MERGED
    ]
    if found:
        raise ModelFileError(
            "Keras cannot write LoRA on layers quantized like this: it does not know how to merge it",
            received=listed(found),
            expected="layers that are not quantized, or to int8 or int4",
            remedy="save what trained alone: fl.save_delta(model, path, base=run)",
        )


def enable_lora(model_inventory: Inventory, data: Mapping[str, Any], nodes: Mapping[str, str]) -> bool:
    """Put LoRA on the layers that had it, where Keras did not, and give it their `lora_alpha`.

    Args:
        model_inventory: The loaded model.
        data: As `lora_state` returned it.
        nodes: The address in the model of each layer in the file.

    Returns:
        Whether a layer has variables that it had not before.

    Raises:
        ModelFileError: A layer has no LoRA, or one of another rank.
    """
    new = False
    for address, about in data.items():
        node = model_inventory.layer_by_address.get(nodes[address])
        layer = node.layer if node is not None else None
        if layer is None or not hasattr(layer, "enable_lora"):
            raise _misfit(address, "no LoRA", about)
        if not layer.lora_enabled:
            layer.enable_lora(about["rank"], a_initializer="zeros")
            new = True
        if layer.lora_rank != about["rank"]:
            raise _misfit(address, f"LoRA of rank {layer.lora_rank}", about)
        layer.lora_alpha = about["alpha"]
    return new


def restore_exactly(
    model_inventory: Inventory, names: Mapping[str, str], arrays: Mapping[str, Array]
) -> None:
    """Give variables the values that they had, in the places of those that Keras merged.

    Args:
        model_inventory: The loaded model.
        names: The address in it of each weight in the file.
        arrays: The arrays of the file.
    """
    for name, array in arrays.items():
        if name.startswith(_EXACT):
            model_inventory.by_address[names[name.removeprefix(_EXACT)]].storage.assign(array)


def _misfit(address: str, received: str, about: Mapping[str, Any]) -> ModelFileError:
    return ModelFileError(
        f"the layer {address!r} had LoRA of rank {about['rank']} when it was saved, and has not now",
        received=received,
        expected=f"LoRA of rank {about['rank']}",
        remedy="a custom layer may have changed since; keras.models.load_model opens the model with a "
        "merged kernel",
    )
