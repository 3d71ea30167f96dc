"""What holds a weight fixed, and what would let it train."""

from __future__ import annotations

from frostline._keras.layers import layer_flag
from frostline.diagnostics.inspection import Inspection
from frostline.model.inventory import LayerNode, Weight


def frozen_by(inspection: Inspection, address: str) -> tuple[str, str]:
    """Return what holds a weight fixed, and what to do if it is to train; empty where it is nothing of that.

    Args:
        inspection: Of the model.
        address: Address of the weight, which is frozen.
    """
    weight = inspection.inventory.by_address[address]
    if not _is_floating(weight):
        return f"it holds numbers of {weight.dtype}, which no gradient reaches", ""
    resolution = inspection.planned.resolution
    if resolution is not None:
        rule = resolution[address].rule
        whose = f"rule {rule} of the plan" if rule else "the plan's default"
        return (
            f"{whose} freezes it",
            f"add .train({address!r}) as the last rule of the plan, if it is to train",
        )
    holders = [node for node in _around(inspection, weight) if not layer_flag(node.layer)]
    if not holders and weight.variable.trainable:
        return (
            "PyTorch's requires_grad is off on it, whatever Keras's flag says",
            f"set trainable = True on the variable, which puts both on, or {_by_plan(address)}",
        )
    if not holders:
        return "its own flag is off", f"set trainable = True on the variable, or {_by_plan(address)}"
    holder = _name(inspection, holders[0])
    whole = not holders[0].address
    return (
        f"the flag of {holder} is off, and {_WHOLE if whole else 'was put off with all flags in it'}",
        f"{_by_plan(address)}; by hand: trainable = True on {holder}, which puts on every flag in it, and "
        "then False on what is to stay fixed",
    )


_WHOLE = "holds all in it, whatever the flags inside say"
"""Of a model that is asked for its trainable weights; below it, Keras goes by the flags of the variables."""


def _around(inspection: Inspection, weight: Weight) -> list[LayerNode]:
    """Return the layers around a weight, the model first."""
    by_address = inspection.inventory.layer_by_address
    found, waiting = [], [by_address[weight.layer]]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.append(node)
            waiting.extend(by_address[parent] for parent in node.parents if parent in by_address)
    return sorted(found, key=lambda node: node.depth)


def _name(inspection: Inspection, node: LayerNode) -> str:
    return f"layer {node.address!r}" if node.address else f"the model {inspection.model.name!r}"


def _by_plan(address: str) -> str:
    return f"fl.apply(model, fl.Plan().train({address!r}))"


def _is_floating(weight: Weight) -> bool:
    return "float" in weight.dtype or "complex" in weight.dtype
