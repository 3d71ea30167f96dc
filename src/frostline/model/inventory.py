"""The weights and layers of a model by address. Only this module knows how a model holds its weights."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from frostline._keras.layers import (
    metric_variables,
    own_statistics,
    own_weights,
    producers,
    seed_generators,
    sublayers,
)
from frostline.errors import ModelError, UnbuiltModelError, listed, near

Role = Literal["weight", "statistic", "seed", "metric"]

_MOST_ROUTES = 16
"""How often a shared layer is followed: models that share at every level have exponentially many routes."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One `keras.Variable` of a model.

    Attributes:
        address: The chain of layer names from the model down, then the variable's name. Never begins with
            the model's own name.
        aliases: Further addresses of the same variable, where layers or weights are shared.
        role: `weight` (made to be trained), `statistic` (never was: a moving mean, a fixed table), `seed`
            (state of a random generator) or `metric`.
        layer: Address of the layer that made it, `""` for the model itself.
        types: Class names, base classes included, of the layers on the way to it.
        shape: Its shape.
        dtype: Its dtype, such as `float32`.
        variable: The variable itself.
    """

    address: str
    aliases: tuple[str, ...]
    role: Role
    layer: str
    types: frozenset[str] = field(repr=False)
    shape: tuple[int, ...]
    dtype: str
    variable: Any = field(repr=False, compare=False)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The canonical address, then the aliases."""
        return (self.address, *self.aliases)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rpartition("/")[2]

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes its values take."""
        return self.size * itemsize(self.dtype)

    @property
    def combination(self) -> Any:
        """What a parametrized weight is made of: `how`, `base`, `parts`, `path`; None for a plain one."""
        return getattr(self.variable, "combination", None)

    @property
    def storage(self) -> Any:
        """The variable that holds a tensor of its shape: itself, or the base of a parametrized weight."""
        return self.variable if self.combination is None else self.combination.base

    @property
    def targets(self) -> tuple[tuple[str, Any], ...]:
        """What an optimizer updates, with addresses: the variable, or the parts of a parametrized weight."""
        if self.combination is None:
            return ((self.address, self.variable),)
        return tuple((f"{self.address}:{name}", part) for name, part in self.combination.parts.items())

    @property
    def trained_size(self) -> int:
        """How many numbers an optimizer updates for it: its size, or that of its parts."""
        return sum(math.prod(int(n) for n in variable.shape) for _, variable in self.targets)

    @property
    def replaced_size(self) -> int:
        """How many of its own elements training replaces: none where parts are added to or multiply it."""
        made_of = self.combination
        return self.trained_size if made_of is None or made_of.how.keeps_elements else 0

    @property
    def part(self) -> str:
        """What of it trains, and how layers compute with it, in words; empty for a plain weight."""
        made_of = self.combination
        return f"{made_of.how}, {made_of.path}" if made_of is not None else ""

    def numpy(self) -> npt.NDArray[Any]:
        """Return its present value as an array of its shape (`bfloat16` as a NumPy extension type)."""
        import keras

        return np.asarray(keras.ops.convert_to_numpy(self.variable))


@dataclass(frozen=True, slots=True)
class LayerNode:
    """One layer of a model.

    Attributes:
        address: The chain of layer names from the model down; `""` for the model itself.
        aliases: Further addresses of the same layer.
        types: Class names of this layer, base classes included.
        parents: Addresses of the layers that hold it.
        own: Addresses of the weights and statistics it made itself.
        below: Addresses of all weights and statistics in it.
        takes_training: Whether its `call` has a `training` argument.
        feeds: Addresses of the nearest layers with weights that its output goes to, inside the graph that
            holds it; empty where the order is unknown (subclassed models).
        fed_by: The same for its input.
        layer: The layer itself.
        quantized: Whether its kernel is held as integers.
        constant: Whether it declares its statistics to be constants, which nothing moves.
    """

    address: str
    aliases: tuple[str, ...]
    types: frozenset[str] = field(repr=False)
    parents: tuple[str, ...]
    own: tuple[str, ...]
    below: tuple[str, ...] = field(repr=False)
    takes_training: bool
    feeds: tuple[str, ...]
    fed_by: tuple[str, ...]
    layer: Any = field(repr=False, compare=False)
    quantized: bool = False
    constant: bool = False

    @property
    def depth(self) -> int:
        """How many layers lie around it, the model not counted."""
        return 0 if not self.address else self.address.count("/") + 1


@dataclass(frozen=True)
class Inventory:
    """All weights and layers of a model, in the model's own order.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> [weight.address for weight in inventory(model)]
        ['head/kernel', 'head/bias']
    """

    model_name: str
    weights: tuple[Weight, ...]
    layers: tuple[LayerNode, ...]

    def __iter__(self) -> Iterator[Weight]:
        return iter(self.weights)

    @cached_property
    def by_address(self) -> dict[str, Weight]:
        """Weights by each of their addresses."""
        return {address: w for w in self.weights for address in w.addresses}

    @cached_property
    def layer_by_address(self) -> dict[str, LayerNode]:
        """Layers by each of their addresses."""
        return {a: node for node in self.layers for a in (node.address, *node.aliases)}

    def of_role(self, *roles: Role) -> tuple[Weight, ...]:
        """Return the weights with one of these roles."""
        return tuple(w for w in self.weights if w.role in roles)

    @cached_property
    def top(self) -> tuple[LayerNode, ...]:
        """The top-level layers that hold trainable weights, in the model's order."""
        weights = {w.address for w in self.of_role("weight")}
        return tuple(n for n in self.layers if n.depth == 1 and not weights.isdisjoint(n.below))

    def find_layer(self, name: str) -> LayerNode:
        """Return the layer at an address, or the only one of that name.

        Raises:
            ModelError: There is none, or more than one.
        """
        if name in self.layer_by_address:
            return self.layer_by_address[name]
        found = [n for n in self.layers if n.address.rpartition("/")[2] == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise ModelError(
                f"{len(found)} layers are named {name!r}",
                expected="an address that picks one",
                remedy=f"write one of: {listed((n.address for n in found), most=8)}",
            )
        names = {n.address for n in self.layers} | {n.address.rpartition("/")[2] for n in self.layers}
        close = near(name, names - {""})
        raise ModelError(
            f"the model {self.model_name!r} has no layer {name!r}",
            expected="the address of a layer, or a name that only one layer has",
            remedy=f"did you mean {listed(close)}?" if close else "see `frostline show MODEL`",
        )


def inventory(model: Any) -> Inventory:
    """List the weights and layers of a Keras model or layer.

    Args:
        model: A built `keras.Model` (Functional, Sequential or subclassed) or `keras.Layer`.

    Returns:
        An `Inventory`. Addresses are unique. Where two neighbours have one name, the second is `name#2`.

    Raises:
        ModelError: `model` is not a Keras layer.
        UnbuiltModelError: Some of its weights do not exist yet.
    """
    import keras

    if not isinstance(model, keras.Layer):
        raise ModelError(
            "this is not a Keras model",
            received=f"an object of type {type(model).__module__}.{type(model).__qualname__}",
            expected="a keras.Model or keras.Layer",
        )
    _require_built(model)
    routes = _routes(model)
    weights = _weights(model, routes)
    return Inventory(model.name, weights, _layers(model, routes, weights))


def _require_built(model: Any) -> None:
    import keras

    # A layer without `build` makes no weights; one that a symbolic call passed by is not built yet.
    unbuilt = [
        layer.name for layer in _walk(model) if not layer.built and type(layer).build is not keras.Layer.build
    ]
    if unbuilt:
        raise UnbuiltModelError(
            f"the model {model.name!r} is not built, so its weights do not exist yet",
            received=f"{len(unbuilt)} unbuilt layers: {listed(unbuilt)}",
            expected="a model that knows the shape of its input",
            remedy="call model.build(input_shape), or call it once on a batch: model(x[:1])",
        )


def _walk(layer: Any, seen: set[int] | None = None) -> Iterator[Any]:
    seen = set() if seen is None else seen
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield layer
    for sublayer in sublayers(layer):
        yield from _walk(sublayer, seen)


def _numbered(names: list[str]) -> list[str]:
    """Make neighbours' names unique: the second `dense` becomes `dense#2`."""
    met: Counter[str] = Counter()
    unique = []
    for name in names:
        met[name] += 1
        unique.append(name if met[name] == 1 else f"{name}#{met[name]}")
    return unique


def _routes(model: Any) -> dict[int, tuple[Any, list[tuple[str, ...]]]]:
    """For each layer, by id: the layer and its routes as tuples of names, shortest first."""
    found: dict[int, tuple[Any, list[tuple[str, ...]]]] = {id(model): (model, [()])}

    def visit(layer: Any, route: tuple[str, ...], above: frozenset[int]) -> None:
        children = sublayers(layer)
        names = _numbered([child.name for child in children])
        for child, name in zip(children, names, strict=True):
            if id(child) in above:
                continue
            _, routes = found.setdefault(id(child), (child, []))
            if len(routes) >= _MOST_ROUTES:
                continue
            routes.append((*route, name))
            visit(child, routes[-1], above | {id(child)})

    visit(model, (), frozenset({id(model)}))
    for _, routes in found.values():
        routes.sort(key=len)
    return found


def _types(layer: Any) -> frozenset[str]:
    """Class names from the layer's class up to, and without, `keras.Layer` and `keras.Model`."""
    import keras

    names = []
    for cls in type(layer).__mro__:
        if cls in (keras.Layer, keras.Model):
            break
        names.append(cls.__name__)
    return frozenset(names or [type(layer).__name__])


@dataclass(slots=True)
class _Found:
    role: Role
    variable: Any
    layer: str
    addresses: list[str]
    types: set[str]


def _variables_of(layer: Any) -> Iterator[tuple[Role, str, Any]]:
    """Yield the role, the name and the variable of all that a layer itself holds."""
    held: list[tuple[Role, str, Any]] = []
    held += [("weight", v.name, v) for v in own_weights(layer)]
    held += [("statistic", v.name, v) for v in own_statistics(layer)]
    held += [("seed", "seed_generator/state", sg.state) for sg in seed_generators(layer)]
    names = _numbered([name for _, name, _ in held])
    for (role, _, variable), name in zip(held, names, strict=True):
        yield role, name, variable


def _weights(model: Any, routes: dict[int, tuple[Any, list[tuple[str, ...]]]]) -> tuple[Weight, ...]:
    types = {route: _types(layer) for layer, layer_routes in routes.values() for route in layer_routes}
    found: dict[int, _Found] = {}
    for layer in _walk(model):
        for role, name, variable in _variables_of(layer):
            for route in routes[id(layer)][1]:
                entry = found.setdefault(id(variable), _Found(role, variable, "/".join(route), [], set()))
                entry.addresses.append("/".join((*route, name)))
                for depth in range(1, len(route) + 1):
                    entry.types |= types[route[:depth]]
                if role == "weight":
                    entry.role = role
    for metric, variable in metric_variables(model):
        address = f"metrics/{metric}/{variable.name}"
        found.setdefault(id(variable), _Found("metric", variable, "metrics", [], set())).addresses.append(
            address
        )
    return tuple(_weight(entry) for entry in found.values())


def _weight(entry: _Found) -> Weight:
    ordered = sorted(dict.fromkeys(entry.addresses), key=lambda address: address.count("/"))
    return Weight(
        address=ordered[0],
        aliases=tuple(ordered[1:]),
        role=entry.role,
        layer=entry.layer,
        types=frozenset(entry.types),
        shape=tuple(int(n) for n in entry.variable.shape),
        dtype=str(entry.variable.dtype),
        variable=entry.variable,
    )


def _layers(
    model: Any, routes: dict[int, tuple[Any, list[tuple[str, ...]]]], weights: tuple[Weight, ...]
) -> tuple[LayerNode, ...]:
    address_of = {key: "/".join(layer_routes[0]) for key, (_, layer_routes) in routes.items()}
    by_id = {id(w.variable): w.address for w in weights}
    own: dict[int, tuple[str, ...]] = {}
    below: dict[int, tuple[str, ...]] = {}
    parents: dict[int, list[str]] = {}
    for layer in _walk(model):
        variables = own_weights(layer) + own_statistics(layer)
        own[id(layer)] = tuple(by_id[id(v)] for v in variables)
        for child in sublayers(layer):
            parents.setdefault(id(child), []).append(address_of[id(layer)])
    for layer in _walk(model):
        nested = (own[id(inner)] for inner in _walk(layer))
        below[id(layer)] = tuple(dict.fromkeys(a for addresses in nested for a in addresses))
    nodes = []
    order = _Order(model, below)
    for layer in _walk(model):
        key = id(layer)
        feeds, fed_by = order.around(layer)
        nodes.append(
            LayerNode(
                address=address_of[key],
                aliases=tuple("/".join(route) for route in routes[key][1][1:]),
                types=_types(layer),
                parents=tuple(parents.get(key, ())),
                own=own[key],
                below=below[key],
                takes_training="training" in inspect.signature(layer.call).parameters,
                feeds=tuple(address_of[i] for i in feeds),
                fed_by=tuple(address_of[i] for i in fed_by),
                layer=layer,
                quantized=getattr(layer, "quantization_mode", None) is not None,
                constant=getattr(layer, "statistics_are_constant", False) is True,
            )
        )
    return tuple(nodes)


class _Order:
    """Which layers with weights come next to a layer in the graphs that hold it."""

    def __init__(self, model: Any, below: dict[int, tuple[str, ...]]) -> None:
        self._below = below
        self._before: dict[int, list[int]] = {}
        self._after: dict[int, list[int]] = {}
        for container in _walk(model):
            for consumer, operations in producers(container).items():
                self._before.setdefault(consumer, []).extend(operations)
                for operation in operations:
                    self._after.setdefault(operation, []).append(consumer)

    def around(self, layer: Any) -> tuple[list[int], list[int]]:
        """Return the ids of the nearest layers with weights after and before `layer`."""
        return self._nearest(id(layer), self._after), self._nearest(id(layer), self._before)

    def _nearest(self, start: int, edges: dict[int, list[int]]) -> list[int]:
        found: list[int] = []
        seen = {start}
        waiting = [start]
        while waiting:
            for key in edges.get(waiting.pop(), ()):
                if key in seen:
                    continue
                seen.add(key)
                if self._below.get(key):
                    found.append(key)
                else:
                    waiting.append(key)
        return found


def itemsize(dtype: str) -> int:
    """Return the bytes of one element of a dtype, the ones that NumPy does not know included."""
    sizes = {"bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int4": 1, "uint4": 1}
    return sizes.get(dtype) or int(np.dtype(dtype).itemsize)
