"""Which frozen variables the code of layers assigns to, whatever their flags say.

`apply` sets flags, modes and an optimizer, and none of these has a say in what `call` or `train_step` writes.
`fit` holds fingerprints against that; under plain `model.fit` it goes unseen. So the code is read: the
methods that a training step runs, and what stands before `.assign(...)` in them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

import keras

from frostline.graph.source_lines import is_own_class
from frostline.model.code_origin import attribute, is_own
from frostline.render.foreign import exact
from frostline.resolution.resolution import Resolution

_ROOTS = ("call", "train_step", "compute_loss")
_ASSIGNING = frozenset({"assign", "assign_add", "assign_sub"})
_IN_PLACE = frozenset({"copy_", "add_", "sub_", "mul_", "div_", "fill_", "zero_", "lerp_"})
"""Methods of PyTorch's tensors: they count where a variable stands before them, and say nothing otherwise."""

_SAME = frozenset({"value", "_value", "data"})
"""Attributes of a variable that are its own memory."""

_WHOLE = frozenset({"set_weights", "load_own_variables", "load_weights"})
"""Methods of a layer that assign to its weights."""


@dataclass(frozen=True, slots=True)
class Unheld:
    """A frozen variable that code assigns to.

    Attributes:
        address: Its address; empty where the code does not show which variable it is.
        layer: The class of the layer whose code does it.
        method: The method.
    """

    address: str
    layer: str
    method: str

    def __str__(self) -> str:
        what = self.address or "variables that its code does not show by name"
        return f"{exact(what)} ({exact(self.layer)}.{self.method} assigns to it)"


def unheld(resolution: Resolution) -> tuple[Unheld, ...]:
    """Return the variables that a resolution holds fixed and that a training step assigns to all the same.

    Layers that run in inference mode are left out. Of code that does not show what it assigns to, only that
    of the user's own classes counts.
    """
    forced = {mode.address for mode in resolution.modes if mode.forced}
    decisions = (*resolution.decisions, *resolution.statistics)
    held = {id(d.weight.variable): d.weight.address for d in decisions if not d.may_move}
    found: dict[Unheld, None] = {}
    for node in resolution.inventory.layers:
        if node.address in forced:
            continue
        for method, written in _writes_of(node.layer):
            kind = type(node.layer).__name__
            if written is None:
                if is_own_class(type(node.layer)) and held:
                    found[Unheld("", kind, method)] = None
                continue
            named = (held[id(one)] for one in written if id(one) in held)
            found |= dict.fromkeys(Unheld(address, kind, method) for address in named)
    return tuple(found)


def _writes_of(layer: Any) -> Iterator[tuple[str, list[Any] | None]]:
    """Yield each method that assigns, with the variables; None where the code does not show them."""
    waiting = [(name, type(layer).__mro__) for name in _ROOTS if hasattr(type(layer), name)]
    met = set()
    while waiting:
        name, bases = waiting.pop()
        owner = next((base for base in bases if name in vars(base)), None)
        if owner is None or owner in (keras.Layer, keras.Model) or (owner, name) in met:
            continue
        met.add((owner, name))
        tree = _syntax(vars(owner)[name])
        if tree is None:
            continue
        method = _Method(tree, {tree.args.args[0].arg: [layer]} if tree.args.args else {})
        yield from ((name, written) for written in method.writes())
        names = getattr(inspect.unwrap(vars(owner)[name]), "__globals__", {})
        for helper in method.helpers(names):
            # Of a function that is not the layer's own, only what shows itself.
            yield from ((name, written) for written in helper.writes() if written is not None)
        waiting += [(called, _classes(type(layer), owner, whose)) for called, whose in method.calls()]


def _classes(kind: type, owner: type, whose: str) -> tuple[type, ...]:
    """Return the classes in which a method is looked up, as `_Method.calls` names them."""
    order = kind.__mro__
    if not whose:
        return order
    if whose == "super":
        return order[order.index(owner) + 1 :]
    named = next((place for place, one in enumerate(order) if one.__name__ == whose), len(order))
    return order[named:]


@cache
def _syntax(function: Any) -> ast.FunctionDef | None:
    """Return the syntax of a function; None where its source is not there, or it is not a function."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    return tree.body[0] if isinstance(tree.body[0], ast.FunctionDef) else None


class _Method:
    """A method of a layer, with the objects that names in its code stand for."""

    def __init__(self, tree: ast.FunctionDef, given: Mapping[str, list[Any] | None]) -> None:
        self._tree = tree
        self._self = tree.args.args[0].arg if tree.args.args else ""
        self._given = given
        self._names: dict[str, list[ast.expr]] = {}
        self._elements: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._bind(node.targets[0], node.value, self._names)
            elif isinstance(node, ast.NamedExpr):
                self._bind(node.target, node.value, self._names)
            elif isinstance(node, ast.For | ast.comprehension):
                self._bind(node.target, node.iter, self._elements)
            elif isinstance(node, ast.Call):
                self._bind_lambda(node)

    def _bind(self, target: ast.expr, value: ast.expr, table: dict[str, list[ast.expr]]) -> None:
        if isinstance(target, ast.Name):
            table.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Tuple):
            called = ast.unparse(value.func) if isinstance(value, ast.Call) else ""
            parts: list[ast.expr] = getattr(value, "elts", [])
            if called.endswith(".items"):
                parts = [ast.Constant(None), value]
            if isinstance(value, ast.Call) and called in ("zip", "enumerate"):
                parts = value.args if called == "zip" else [value, *value.args]
            for one, part in zip(target.elts, parts, strict=False):
                self._bind(one, part, table)

    def _bind_lambda(self, call: ast.Call) -> None:
        """Let the arguments of a lambda stand for members of what it is given to map."""
        if call.args and isinstance(call.args[0], ast.Lambda):
            for one, value in zip(call.args[0].args.args, call.args[1:], strict=False):
                self._elements.setdefault(one.arg, []).append(value)

    def writes(self) -> Iterator[list[Any] | None]:
        """Yield what each assignment writes to; None where that does not show."""
        for node in ast.walk(self._tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in _WHOLE:
                layers = self._objects(node.func.value, 0) or []
                yield [v for one in layers if isinstance(one, keras.Layer) for v in one.weights]
            elif node.func.attr in _ASSIGNING | _IN_PLACE:
                objects = self._objects(node.func.value, 0)
                if objects is not None:
                    yield [one for one in objects if isinstance(one, keras.Variable)]
                elif node.func.attr in _ASSIGNING and node.args:  # a table's takes its columns by name
                    yield None

    def calls(self) -> Iterator[tuple[str, str]]:
        """Yield the methods of its own that are called, with the class: empty, `super`, or its name."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if owner == self._self or owner.startswith("super("):
                    yield node.func.attr, "" if owner == self._self else "super"
                elif node.args and ast.unparse(node.args[0]) == self._self:  # `Above.train_step(self, data)`
                    yield node.func.attr, owner.rpartition(".")[2]

    def helpers(self, names: Mapping[str, Any], depth: int = 3) -> Iterator[_Method]:
        """Yield the functions of the user's own that are called by name, with what they are given.

        Args:
            names: The globals that the code runs with.
            depth: So many calls within calls are followed.
        """
        for node in ast.walk(self._tree) if depth else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            function: Any = names.get(node.func.id)
            tree = _syntax(function) if _is_own_function(function) else None
            if tree is not None:
                places = zip(tree.args.args, node.args, strict=False)
                given = {one.arg: self._objects(value, 0) for one, value in places}
                given |= {one.arg: self._objects(one.value, 0) for one in node.keywords if one.arg}
                yield (helper := _Method(tree, given))
                yield from helper.helpers(function.__globals__, depth - 1)

    def _objects(self, expression: ast.expr, depth: int) -> list[Any] | None:
        """Return all objects that an expression may stand for; None where that does not show."""
        if depth > 8:
            return None
        if isinstance(expression, ast.Name):
            return self._named(expression.id, depth)
        if isinstance(expression, ast.List | ast.Tuple | ast.Dict):
            held = expression.values if isinstance(expression, ast.Dict) else expression.elts
            parts = [self._objects(one, depth + 1) for one in held]
            return None if None in parts else [[one for part in parts for one in part or ()]]
        if isinstance(expression, ast.Subscript):
            owners = self._objects(expression.value, depth + 1)
            return owners if isinstance(expression.slice, ast.Slice) else _members(owners)
        if isinstance(expression, ast.Call):
            return self._called(expression, depth)
        if isinstance(expression, ast.NamedExpr):
            return self._objects(expression.value, depth + 1)
        if isinstance(expression, ast.IfExp | ast.BoolOp | ast.BinOp):
            return self._one_of(_branches(expression), depth)
        if isinstance(expression, ast.Attribute):
            owners = self._objects(expression.value, depth + 1)
            if owners is None:
                return None
            return [_part(owner, expression.attr) for owner in owners]
        return None

    def _one_of(self, expressions: list[ast.expr], depth: int) -> list[Any] | None:
        parts = [self._objects(one, depth + 1) for one in expressions]
        return None if None in parts else [one for part in parts for one in part or ()]

    def _called(self, call: ast.Call, depth: int) -> list[Any] | None:
        """Return what a call gives that only passes on what it is given, as `list` does."""
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("values", "items") and not call.args:
            return self._objects(call.func.value, depth + 1)
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in ("list", "tuple", "reversed", "sorted", "iter", "set") and len(call.args) == 1:
            return self._objects(call.args[0], depth + 1)
        if name == "getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
            owners = self._objects(call.args[0], depth + 1)
            return None if owners is None else [_part(owner, str(call.args[1].value)) for owner in owners]
        return None

    def _named(self, name: str, depth: int) -> list[Any] | None:
        if name in self._given:
            return self._given[name]
        found: list[Any] = []
        for table, inside in ((self._names, False), (self._elements, True)):
            for expression in table.get(name, ()):
                objects = self._objects(expression, depth + 1)
                objects = _members(objects) if inside else objects
                if objects is None:
                    return None
                found += objects
        return found or None


def _branches(expression: ast.IfExp | ast.BoolOp | ast.BinOp) -> list[ast.expr]:
    """Return the parts of which one, or all, become the value."""
    if isinstance(expression, ast.IfExp):
        return [expression.body, expression.orelse]
    return expression.values if isinstance(expression, ast.BoolOp) else [expression.left, expression.right]


def _is_own_function(value: Any) -> bool:
    return isinstance(value, FunctionType) and is_own(value.__module__)


def _part(owner: Any, name: str) -> Any:
    return owner if isinstance(owner, keras.Variable) and name in _SAME else attribute(owner, name)


def _members(objects: list[Any] | None) -> list[Any] | None:
    if objects is None:
        return None
    found: list[Any] = []
    for one in objects:
        if isinstance(one, dict):
            found += one.values()
        elif isinstance(one, list | tuple):
            found += one
        else:
            return None
    return found
