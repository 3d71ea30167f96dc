"""Where the layers and variables of a model are: each has the names on the way to it as its address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from frostline._keras.layers import (
    metric_variables,
    own_statistics,
    own_weights,
    producers,
    seed_generators,
    sublayers,
)
from frostline._keras.variables import held_tensor
from frostline.backends.held_state import Holdings
from frostline.model.held_state import is_held, remembered

Role = Literal["weight", "statistic", "seed", "metric", "state"]

Route = tuple[str, ...]
"""The names of the layers from the model down to one of them; empty for the model itself."""

Edges = dict[int, list[int]]
"""What follows each layer or operation in the graphs of a model, all by id."""

_MOST_ROUTES = 16
"""How often a shared layer is followed: models that share at every level have exponentially many routes."""


def walk(layer: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """Yield a layer and all layers in it, each once, in the order of the model."""
    seen = set() if seen is None else seen
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield layer
    for sublayer in sublayers(layer):
        yield from walk(sublayer, seen)


def routes_to_layers(model: Any) -> dict[int, list[Route]]:
    """Return the routes to each layer, by its id, shortest first."""
    found: dict[int, list[Route]] = {id(model): [()]}

    def visit(layer: Any, route: Route, above: frozenset[int]) -> None:
        children = sublayers(layer)
        names = _numbered([child.name for child in children])
        for child, name in zip(children, names, strict=True):
            if id(child) in above:
                continue
            routes = found.setdefault(id(child), [])
            if len(routes) >= _MOST_ROUTES:
                continue
            routes.append((*route, name))
            visit(child, routes[-1], above | {id(child)})

    visit(model, (), frozenset({id(model)}))
    for routes in found.values():
        routes.sort(key=len)
    return found


def class_names(layer: Any) -> frozenset[str]:
    """Return class names from the layer's class up to, and without, `keras.Layer` and `keras.Model`."""
    import keras

    names = []
    for cls in type(layer).__mro__:
        if cls in (keras.Layer, keras.Model):
            break
        names.append(cls.__name__)
    return frozenset(names or [type(layer).__name__])


@dataclass(slots=True)
class FoundVariable:
    """A variable of a model.

    Attributes:
        role: What it is for.
        variable: The variable itself.
        layer: Address of the first layer that has it.
        addresses: All its addresses, as they were found.
        types: Class names of the layers on the way to it.
        numbered: Whether Keras gave it the name in its addresses.
    """

    role: Role
    variable: Any
    layer: str
    addresses: list[str]
    types: set[str]
    numbered: bool


def find_variables(
    model: Any, routes: Mapping[int, list[Route]], holdings: Mapping[int, Holdings]
) -> list[FoundVariable]:
    """Return every variable of a model once, in the model's own order.

    Args:
        model: The model.
        routes: The routes to its layers.
        holdings: What each layer holds beside its Keras variables, by its id.
    """
    types = {route: class_names(layer) for layer in walk(model) for route in routes[id(layer)]}
    found: dict[int, FoundVariable] = {}

    def add(role: Role, variable: Any, layer: str, address: str, *, numbered: bool = True) -> FoundVariable:
        key = variable.key if is_held(variable) else id(variable)
        new = FoundVariable(role, variable, layer, [], set(), numbered)
        entry = found.setdefault(key, new)
        entry.addresses.append(address)
        return entry

    for layer in walk(model):
        held = holdings[id(layer)]
        for role, name, variable, numbered in _variables_of(layer, held):
            for route in routes[id(layer)]:
                entry = add(role, variable, "/".join(route), "/".join((*route, name)), numbered=numbered)
                entry.types.update(*(types[route[:depth]] for depth in range(1, len(route) + 1)))
                entry.types.update(*_types_of_modules(held, name))
                # One layer may hold as a statistic what another one trains.
                if role == "weight":
                    entry.role = role
    for metric, variable in metric_variables(model):
        add("metric", variable, "metrics", f"metrics/{metric}/{variable.name}")
    return list(found.values())


def _variables_of(layer: Any, held: Holdings) -> Iterator[tuple[Role, str, Any, bool]]:
    """Yield the role, the name and the variable of all that a layer itself holds.

    And whether the name is the variable's own: a PyTorch module and a tree of parameters have names for what
    Keras calls `variable_8`.
    """
    variables: list[tuple[Role, str, Any, bool]] = []
    for role, variable, given in _own(layer, held):
        variables += [(role, name, variable, False) for name in given]
        if not given:
            variables.append((role, variable.name, variable, True))
    variables += [("seed", "seed_generator/state", sg.state, True) for sg in seed_generators(layer)]
    variables += [("state", v.name, v, True) for v in remembered(layer)]
    variables += [(state.role, name, state, False) for name, state in held.states]
    names = _numbered([name for _, name, _, _ in variables])
    for (role, _, variable, numbered), name in zip(variables, names, strict=True):
        yield role, name, variable, numbered


def _own(layer: Any, held: Holdings) -> list[tuple[Role, Any, tuple[str, ...]]]:
    """Return the weights and statistics of a layer, with the names that they have in it beside Keras's."""
    found: list[tuple[Role, Any, tuple[str, ...]]] = [("weight", v, ()) for v in own_weights(layer)]
    found += [("statistic", v, ()) for v in own_statistics(layer)]
    if not held.names:
        return found
    places = {key: place for place, key in enumerate(held.names)}
    named = []
    for role, variable, _ in found:
        tensor = id(held_tensor(variable))
        key = tensor if tensor in places else id(variable)
        # Keras takes a parameter that needs no gradient when it is wrapped, as in a module that was frozen
        # and loaded, for one that was never made to train.
        is_weight = role == "weight" or tensor in held.trainable
        named.append(
            (places.get(key, -1), "weight" if is_weight else role, variable, held.names.get(key, ()))
        )
    # In the order of the module, whatever needs a gradient in it.
    return [(role, variable, names) for _, role, variable, names in sorted(named, key=lambda one: one[0])]


def _types_of_modules(held: Holdings, name: str) -> Iterator[frozenset[str]]:
    """Yield the class names of the modules inside a layer that a name leads through."""
    for module in held.modules:
        if not module.path or name.startswith(f"{module.path}/"):
            yield module.types


def _numbered(names: list[str]) -> list[str]:
    """Make neighbours' names unique: the second `dense` becomes `dense#2`."""
    met: Counter[str] = Counter()
    unique = []
    for name in names:
        met[name] += 1
        unique.append(name if met[name] == 1 else f"{name}#{met[name]}")
    return unique


def graph_edges(model: Any) -> tuple[Edges, Edges]:
    """Return what each layer's output goes to, and what its input comes from, in the graphs of a model."""
    after: Edges = {}
    before: Edges = {}
    for container in walk(model):
        for consumer, operations in producers(container).items():
            before.setdefault(consumer, []).extend(operations)
            for operation in operations:
                after.setdefault(operation, []).append(consumer)
    return after, before


def nearest(start: int, edges: Edges, wanted: Container[int]) -> list[int]:
    """Return the first of the wanted layers on each way along the edges, past those that are not wanted."""
    found: list[int] = []
    seen = {start}
    waiting = [start]
    while waiting:
        for key in edges.get(waiting.pop(), ()):
            if key in seen:
                continue
            seen.add(key)
            if key in wanted:
                found.append(key)
            else:
                waiting.append(key)
    return found
