"""The weights and layers of a model by address."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.layers import automatic_name, own_statistics, own_weights, sublayers
from frostline._keras.variables import dtype_of, to_numpy
from frostline.backends.held_state import Holdings, joined
from frostline.errors import ModelError, listed, near
from frostline.model.addresses import (
    FoundVariable,
    Route,
    class_names,
    find_variables,
    graph_edges,
    nearest,
    routes_to_layers,
    walk,
)
from frostline.model.addresses import Role as Role
from frostline.model.alignment import Known, stem_of_name
from frostline.model.checks import require_built, require_keras_layer
from frostline.model.held_state import held_state_kept, holdings_of, is_held, is_lookup


@dataclass(frozen=True, slots=True)
class Weight:
    """One `keras.Variable` of a model, or state of it that is none, such as a buffer of a PyTorch module.

    Attributes:
        address: The chain of layer names from the model down, then the variable's name. Never begins with
            the model's own name.
        aliases: Further addresses of the same variable, where layers or weights are shared.
        role: `weight` (made to be trained), `statistic` (never was: a moving mean, a fixed table), `seed`
            (state of a random generator), `metric`, or `state` (what a recurrent layer remembers between
            calls).
        layer: Address of the layer that made it, `""` for the model itself.
        types: Class names, base classes included, of the layers on the way to it.
        shape: Its shape.
        dtype: The dtype of its numbers, such as `float32`.
        variable: The variable itself, or the `HeldState`, which is read and assigned alike.
        stem: The address with `*` for the number of each name that Keras made by itself (`dense*/kernel`).
        former: The same as Frostline 0.1 had it, which did not know the names that PyTorch modules and trees
            of parameters have for what Keras calls `variable_8`; empty where it is the same.
    """

    address: str
    aliases: tuple[str, ...]
    role: Role
    layer: str
    types: frozenset[str] = field(repr=False)
    shape: tuple[int, ...]
    dtype: str
    variable: Any = field(repr=False, compare=False)
    stem: str = field(default="", repr=False, compare=False)
    former: str = field(default="", repr=False, compare=False)

    def known(self, kind: object) -> Known:
        """Return what is known of it beside its address, to find it in another copy of the model."""
        return Known(kind, self.stem, self.former, self.is_held or self.role == "state")

    @property
    def is_held(self) -> bool:
        """Whether it is state that is no `keras.Variable`."""
        return is_held(self.variable)

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
    def part(self) -> str:
        """What of it trains, and how layers compute with it, in words; empty for a plain weight."""
        made_of = self.combination
        return f"{made_of.how}, {made_of.path}" if made_of is not None else ""

    def numpy(self) -> npt.NDArray[Any]:
        """Return a copy of its present value, of its shape (`bfloat16` as a NumPy extension type)."""
        return to_numpy(self.variable)


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
        stem: The address with `*` for the number of each name that Keras made by itself.
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
    stem: str = field(default="", repr=False)

    @property
    def depth(self) -> int:
        """How many layers lie around it, the model not counted."""
        return 0 if not self.address else self.address.count("/") + 1


@dataclass(frozen=True, slots=True)
class ModuleNode:
    """A module of the backend's own inside a layer, such as one of PyTorch's.

    Attributes:
        address: The address of its layer, and the names from there to it.
        layer: The address of the layer.
        own: Addresses of the weights and statistics that it holds itself.
        below: Addresses of all weights and statistics in it.
        follows: The address of the module whose mode is also its own; None where it decides for itself.
        handle: The module.
    """

    address: str
    layer: str
    own: tuple[str, ...]
    below: tuple[str, ...] = field(repr=False)
    follows: str | None
    handle: Any = field(repr=False, compare=False)


@dataclass(frozen=True)
class Inventory:
    """All weights and layers of a model, in the model's own order.

    Attributes:
        model_name: The model's name.
        weights: All its variables, and its state that is none.
        layers: Its layers.
        modules: Modules of the backend's own inside its layers.
        refused: State that cannot be read and written, by the addresses of the layers that hold it.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> [weight.address for weight in inventory(model)]
        ['head/kernel', 'head/bias']
    """

    model_name: str
    weights: tuple[Weight, ...]
    layers: tuple[LayerNode, ...]
    modules: tuple[ModuleNode, ...] = ()
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

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

    def held_state_kept(self) -> AbstractContextManager[None]:
        """Put back, at the end of a block, what the layers hold beside their Keras variables."""
        return held_state_kept(node.layer for node in self.layers)

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
    require_keras_layer(model)
    require_built(model)
    routes = routes_to_layers(model)
    stems = _layer_stems(model, routes)
    holdings = {id(layer): holdings_of(layer) for layer in walk(model)}
    weights = tuple(_weight(found, stems) for found in find_variables(model, routes, holdings))
    by_address = {"/".join(routes[key][0]): held for key, held in holdings.items()}
    return Inventory(
        model.name,
        weights,
        _layers(model, routes, weights, stems),
        _modules(by_address, weights),
        {address: held.refused for address, held in by_address.items() if held.refused},
    )


def require_holdable(model_inventory: Inventory) -> None:
    """Check that all state of a model can be read and put back.

    Raises:
        ModelError: Some cannot; names it.
    """
    if not model_inventory.refused:
        return
    found = [joined(a, one) for a, phrases in model_inventory.refused.items() for one in phrases]
    raise ModelError(
        f"the model {model_inventory.model_name!r} holds state that Frostline cannot read and put back, so "
        "nothing could be said of what training does to it",
        received=listed(found, most=8),
        expected="state in Keras variables, dense buffers of PyTorch modules, or tf.Variables of numbers",
        remedy="make it with self.add_weight(trainable=False), or train with guard=False and without resume, "
        "which proves nothing",
    )


def _layer_stems(model: Any, routes: Mapping[int, list[Route]]) -> dict[str, str]:
    """Return the address of each layer without the numbers that Keras gave, by each of its addresses."""
    name_stems = {
        route: stem_of_name(route[-1], automatic_name(layer))
        for layer in walk(model)
        for route in routes[id(layer)]
        if route
    }
    return {
        "/".join(route): "/".join(name_stems[route[:depth]] for depth in range(1, len(route) + 1))
        for route in name_stems
    }


def _weight(found: FoundVariable, layer_stems: Mapping[str, str]) -> Weight:
    ordered = sorted(dict.fromkeys(found.addresses), key=lambda address: address.count("/"))
    return Weight(
        address=ordered[0],
        aliases=tuple(ordered[1:]),
        role=found.role,
        layer=found.layer,
        types=frozenset(found.types),
        shape=tuple(int(n) for n in found.variable.shape),
        dtype=dtype_of(found.variable),
        variable=found.variable,
        stem=_stem(ordered[0], layer_stems, numbered=found.numbered),
        former=_former_stem(found, layer_stems),
    )


def _stem(address: str, layer_stems: Mapping[str, str], *, numbered: bool = True) -> str:
    """Return the address of a variable without the numbers that Keras gave to its layers and to itself."""
    names = address.split("/")
    *inner, name = names
    depth = next((n for n in range(len(inner), 0, -1) if "/".join(inner[:n]) in layer_stems), 0)
    layers = (layer_stems["/".join(inner[:depth])],) if depth else ()
    return "/".join((*layers, *inner[depth:], stem_of_name(name, "variable") if numbered else name))


def _former_stem(found: FoundVariable, layer_stems: Mapping[str, str]) -> str:
    if found.numbered or is_held(found.variable):
        return ""
    address = f"{found.layer}/{found.variable.name}" if found.layer else found.variable.name
    return _stem(address, layer_stems)


def _modules(holdings: Mapping[str, Holdings], weights: tuple[Weight, ...]) -> tuple[ModuleNode, ...]:
    """Return the modules inside layers by their addresses, with what stands below these."""
    if not any(held.modules for held in holdings.values()):
        return ()
    own: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for weight in (w for w in weights if w.role in ("weight", "statistic")):
        holders = {address.rpartition("/")[0] for address in weight.addresses}
        for address in holders:
            own.setdefault(address, []).append(weight.address)
        for prefix in {one for address in holders for one in _prefixes(address)}:
            below.setdefault(prefix, []).append(weight.address)
    found = []
    for layer, held in holdings.items():
        for one in held.modules:
            address = joined(layer, one.path)
            follows = joined(layer, one.follows) if one.follows is not None else None
            lists = tuple(own.get(address, ())), tuple(below.get(address, ()))
            found.append(ModuleNode(address, layer, *lists, follows, one.handle))
    return tuple(found)


def _prefixes(address: str) -> list[str]:
    names = address.split("/")
    return ["/".join(names[:depth]) for depth in range(1, len(names) + 1)]


def _layers(
    model: Any,
    routes: Mapping[int, list[Route]],
    weights: tuple[Weight, ...],
    stems: Mapping[str, str],
) -> tuple[LayerNode, ...]:
    layers = list(walk(model))
    address_of = {key: "/".join(layer_routes[0]) for key, layer_routes in routes.items()}
    by_id = {id(w.variable): w.address for w in weights}
    own = {id(n): tuple(by_id[id(v)] for v in own_weights(n) + own_statistics(n)) for n in layers}
    for weight in weights:
        if weight.is_held and weight.role == "statistic":
            for key in (key for key, address in address_of.items() if address == weight.layer):
                own[key] += (weight.address,)
    below = {
        id(layer): tuple(dict.fromkeys(address for inner in walk(layer) for address in own[id(inner)]))
        for layer in layers
    }
    parents: dict[int, list[str]] = {}
    for layer in layers:
        for child in sublayers(layer):
            parents.setdefault(id(child), []).append(address_of[id(layer)])
    after, before = graph_edges(model)
    with_weights = {key for key, addresses in below.items() if addresses}
    nodes = []
    for layer in layers:
        key = id(layer)
        node = LayerNode(
            address=address_of[key],
            aliases=tuple("/".join(route) for route in routes[key][1:]),
            types=class_names(layer),
            parents=tuple(parents.get(key, ())),
            own=own[key],
            below=below[key],
            takes_training="training" in inspect.signature(layer.call).parameters,
            feeds=tuple(address_of[i] for i in nearest(key, after, with_weights)),
            fed_by=tuple(address_of[i] for i in nearest(key, before, with_weights)),
            layer=layer,
            quantized=getattr(layer, "quantization_mode", None) is not None,
            constant=getattr(layer, "statistics_are_constant", False) is True or is_lookup(layer),
            stem=stems.get(address_of[key], ""),
        )
        nodes.append(node)
    return tuple(nodes)


def itemsize(dtype: str) -> int:
    """Return the bytes of one element of a dtype, the ones that NumPy does not know included."""
    sizes = {"bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int4": 1, "uint4": 1}
    return sizes.get(dtype) or int(np.dtype(dtype).itemsize)
