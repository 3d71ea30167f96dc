"""The `trainable` flags and the modes of layers that a resolution asks for: set, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from frostline._keras.layers import layer_flag, set_layer_flag
from frostline.backends import dispatch
from frostline.model.inventory import Inventory, LayerNode, Weight
from frostline.resolution.resolution import Resolution
from frostline.trainability.inference_mode import calls_of, restore_calls


@dataclass(frozen=True, slots=True)
class FlagSnapshot:
    """Flags and modes as they were; PyTorch has a flag of its own beside Keras's, on the tensor."""

    layers: tuple[tuple[Any, bool], ...]
    variables: tuple[tuple[Any, bool], ...]
    put_off: tuple[Any, ...]
    calls: tuple[tuple[Any, str, Any], ...]

    @classmethod
    def of(cls, inventory: Inventory) -> FlagSnapshot:
        """Return the flags and modes of a model now."""
        layers = [node.layer for node in inventory.layers]
        weights = [w for w in inventory if w.role not in ("metric", "state")]
        return cls(
            tuple((layer, layer_flag(layer)) for layer in layers),
            tuple((w.variable, w.variable.trainable) for w in weights),
            tuple(v for w in weights for v in _put_off(w) if v.trainable),
            tuple(calls_of(layers)),
        )

    def restore(self) -> None:
        """Put them back."""
        for layer, flag in self.layers:
            set_layer_flag(layer, flag)
        for variable, flag in self.variables:
            if variable.trainable != flag:
                variable.trainable = flag
        for variable in self.put_off:
            dispatch.train_step().put_off(variable)
        restore_calls(self.calls)


def set_flags(resolution: Resolution) -> list[str]:
    """Set every flag that is not as the resolution wants it; return the addresses of those."""
    trained = {d.weight.address for d in resolution.trained}
    changed = []
    for weight in resolution.inventory:
        # `for v in model.weights: v.trainable = True` makes Keras train statistics too.
        trains = weight.address in trained
        if weight.role in ("metric", "state"):
            continue
        if weight.variable.trainable != trains or (trains and _put_off(weight)):
            weight.variable.trainable = trains
            changed.append(weight.address)
    for node, flag in _layer_flags(resolution, trained):
        if layer_flag(node.layer) != flag:
            set_layer_flag(node.layer, flag)
            changed.append(node.address or resolution.inventory.model_name)
    return changed


def _put_off(weight: Weight) -> list[Any]:
    """Return the variables of a weight that a flag of the backend's own keeps gradients from."""
    return [v for _, v in weight.targets if dispatch.train_step().is_put_off(v)]


def _layer_flags(resolution: Resolution, trained: set[str]) -> Iterator[tuple[LayerNode, bool]]:
    weights = {d.weight.address for d in resolution.decisions}
    moving = {d.weight.layer for d in resolution.statistics if d.trains}
    for node in resolution.inventory.layers:
        if node.address in moving:
            # BatchNormalization moves its statistics by its flag; its weights have flags of their own.
            yield node, True
        elif not weights.isdisjoint(node.below):
            # Keras leaves out all that is below a layer whose flag is off, so one trained weight turns it on.
            yield node, not trained.isdisjoint(node.below)
        elif node.own:
            yield node, False
