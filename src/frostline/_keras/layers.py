"""What layers and models hold: sublayers, weights, flags."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from frostline._keras.methods import patched, private


def whole_weight(variable: Any) -> Any:
    """Return the parametrized weight that a variable is the base or a part of; else the variable itself."""
    return getattr(variable, "frostline_weight", variable)


def whole_weights(variables: Iterable[Any]) -> list[Any]:
    """Return variables with each parametrized weight once, in the place of its first part or base."""
    return list({id(whole): whole for whole in map(whole_weight, variables)}.values())


def sublayers(layer: Any) -> list[Any]:
    """Return the layers that `layer` tracks directly, in the order of its attributes."""
    seen: set[int] = set()
    unique = []
    for sublayer in private(layer, "_layers"):
        if id(sublayer) not in seen:
            seen.add(id(sublayer))
            unique.append(sublayer)
    return unique


def own_weights(layer: Any) -> list[Any]:
    """Return the variables that `layer` itself created as trainable.

    A later `trainable = False` does not take a variable out of this list, so it tells a frozen weight from
    a statistic, which was never meant to train. A parametrized weight stands here once, for all its parts.
    """
    return whole_weights(private(layer, "_trainable_variables"))


def own_statistics(layer: Any) -> list[Any]:
    """Return the variables that `layer` itself created as not trainable (moving means and the like)."""
    return [v for v in private(layer, "_non_trainable_variables") if whole_weight(v) is v]


def seed_generators(layer: Any) -> list[Any]:
    """Return the random seed generators that `layer` itself holds."""
    return list(private(layer, "_seed_generators"))


def automatic_name(layer: Any) -> str:
    """Return the name, without a number, that Keras gives to a layer of this class that gets none."""
    from keras.src.utils import naming

    named: str = private(naming, "to_snake_case")(type(layer).__name__)
    return named


def layer_flag(layer: Any) -> bool:
    """Return the `trainable` flag of this layer alone."""
    return bool(private(layer, "_trainable"))


def set_layer_flag(layer: Any, value: bool) -> None:
    """Set the `trainable` flag of this layer alone: the public setter overwrites everything below it."""
    private(layer, "_trainable")
    layer._trainable = value


def attachments(owner: Any, *, read_only: bool = False) -> dict[str, Any]:
    """Return what is kept on a model or an optimizer, by name, to be read and changed; see `model.attached`.

    It stands where Keras does not look: `__setattr__` would have it tracked. With `read_only`, an object on
    which nothing was kept yet stays as it is.
    """
    if read_only:
        return dict(vars(owner).get("_frostline_attached", {}))
    found: dict[str, Any] = vars(owner).setdefault("_frostline_attached", {})
    return found


def producers(model: Any) -> dict[int, list[int]]:
    """Return, for each operation of a Functional or Sequential model, the operations that feed it.

    Operations are told by `id`. A model that is not a graph of operations gives an empty mapping.
    """
    graph = getattr(model, "_functional", None) or model
    feeds: dict[int, list[int]] = {}
    for nodes in getattr(graph, "_nodes_by_depth", {}).values():
        for node in nodes:
            sources = [id(parent.operation) for parent in node.parent_nodes]
            feeds.setdefault(id(node.operation), []).extend(sources)
    return feeds


def ends_of(model: Any, which: str) -> list[Any]:
    """Return the symbolic `inputs` or `outputs` of a graph of layers.

    Empty where a model is none, or is not built yet, whatever it calls its own attributes.
    """
    import keras

    try:
        found = keras.tree.flatten(getattr(model, which))
    except (AttributeError, ValueError):
        return []
    return found if all(isinstance(one, keras.KerasTensor) for one in found) else []


def last_operations(model: Any) -> list[Any]:
    """Return, for each output of a Functional or Sequential model, the layer or operation that makes it."""
    graph = getattr(model, "_functional", None) or model
    return [private(one, "_keras_history").operation for one in ends_of(graph, "outputs")]


class Ending(NamedTuple):
    """An activation at the end of a model, and the layer or operation that has it."""

    activation: str
    operation: Any


def last_activations(model: Any) -> list[list[str]]:
    """Return the names of `endings`, without those of layers that have none."""
    return [[one.activation for one in ending if one.activation != "linear"] for ending in endings(model)]


def endings(model: Any) -> list[list[Ending]]:
    """Return, for each output of a Functional or Sequential model, the activations at its end, last first.

    Goes back over layers that leave values as they are, to the first one with weights and its activation,
    `linear` where it has none.
    """
    graph = getattr(model, "_functional", None) or model
    outputs = last_operations(model)
    operations = {id(node.operation): node.operation for nodes in _nodes(graph) for node in nodes}
    feeds = producers(model)
    return [_endings_back_from(one, feeds, operations) for one in outputs]


def _nodes(graph: Any) -> Iterable[Any]:
    return getattr(graph, "_nodes_by_depth", {}).values()


_PASS_VALUES_ON = {
    "ActivityRegularization",
    "Dropout",
    "Flatten",
    "Identity",
    "Permute",
    "Reshape",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Squeeze",
    "Transpose",
}
"""Classes of layers and operations that leave values as they are, in inference."""


def _endings_back_from(
    operation: Any, feeds: dict[int, list[int]], operations: dict[int, Any]
) -> list[Ending]:
    found = []
    while operation is not None:
        activation = getattr(operation, "activation", None)
        name = getattr(activation, "__name__", "") or type(operation).__name__.lower()
        if name in ("softmax", "sigmoid", "tanh", "relu") or activation is not None:
            found.append(Ending(name, operation))
        elif type(operation).__name__ not in _PASS_VALUES_ON:
            break
        before = feeds.get(id(operation), [])
        if getattr(operation, "weights", None) or len(before) != 1:
            break
        operation = operations.get(before[0])
    return found


def renew_parameters(layers: Iterable[Any]) -> None:
    """Let the PyTorch modules that layers are see the variables that the layers own now."""
    for layer in layers:
        if hasattr(layer, "_torch_params"):
            layer._track_variables()


@contextmanager
def variables_limited(most: int) -> Iterator[list[str]]:
    """Let layers and metrics make variables of at most so many numbers in all inside the block.

    Yields:
        What the first variable beyond that was, in words, once there was one; it, and every later one, was
        refused by a `ValueError` before it took any memory.
    """
    import keras

    beyond: list[str] = []
    left = most

    def counting(make: Callable[..., Any]) -> Callable[..., Any]:
        def counted(owner: Any, *args: Any, **settings: Any) -> Any:
            nonlocal left
            shape = args[0] if args else settings.get("shape")
            left -= _size(shape)
            if left < 0:
                beyond.append(f"{type(owner).__name__} {owner.name!r} with a variable of shape {shape}")
                raise ValueError(f"more than {most:,} numbers")
            return make(owner, *args, **settings)

        return counted

    with (
        patched(keras.Layer, add_weight=counting(keras.Layer.add_weight)),
        patched(keras.Metric, add_variable=counting(keras.Metric.add_variable)),
    ):
        yield beyond


def _size(shape: Any) -> int:
    """Return how many numbers a variable has; what Keras refuses as a shape, it may refuse by itself."""
    sizes = shape if isinstance(shape, Iterable) else (shape,)
    return math.prod(size for size in sizes if isinstance(size, int))


def metric_variables(model: Any) -> Iterable[tuple[str, Any]]:
    """Yield the name of each metric of the model, with its state variables one by one."""
    for metric in getattr(model, "metrics", []):
        for variable in metric.variables:
            yield metric.name, variable
