"""The graph of a PyTorch computation, built value by value while the computation runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from frostline.backends.torch import functions
from frostline.backends.torch.autograd import AutogradKey, Record, autograd_key, kind_of
from frostline.backends.torch.internals import is_custom
from frostline.backends.torch.values import TensorValues, Use, is_differentiable
from frostline.graph.ir import Builder, Graph, Kind, Leaf, Reason, Where

Input = tuple[int, AutogradKey | None]
"""A value that an operation takes, and its place in PyTorch's record."""


class TorchGraphBuilder:
    """Nodes and edges so far, and which tensor holds which value.

    Args:
        layer: Tells the address of the layer that is being called.
        where: Tells the user's line that is running.
        strange: Tells the name of a variable that nobody named, "" where it has none.

    Attributes:
        from_weights: The values that weights have a part in.
    """

    def __init__(
        self,
        layer: Callable[[], str | None],
        where: Callable[[], Where | None],
        strange: Callable[[torch.Tensor], str],
    ) -> None:
        self.from_weights: set[int] = set()
        self._layer, self._where, self._strange = layer, where, strange
        self._build = Builder()
        self._values = TensorValues()
        self._record = Record(lambda node: node in self._values.made_by)
        self._names: dict[int, tuple[Kind, str]] = {}
        self._unrecorded: dict[int, list[tuple[int, Reason | None]]] = {}
        self._unrecorded_in_use: set[int] = set()
        self._called_at: dict[int, Where | None] = {}

    def name(self, tensor: torch.Tensor, kind: Kind, name: str) -> None:
        """Tell what a tensor is. A weight is in the graph even if nothing reads it."""
        self._names[id(tensor)] = kind, name
        if kind == "weight" and self._values.of_object(tensor) is None:
            self._leaf(Use.of(tensor), kind, name, None)

    def finish(self, loss: int) -> Graph:
        """Return the graph of this loss."""
        self.use_in_record([loss])
        for consumer, inputs in self._unrecorded.items():
            for producer, reason in inputs:
                left: Reason | None = "no_grad" if consumer in self._unrecorded_in_use else None
                self._build.edge(producer, consumer, reason or left)
        return self._build.graph(loss)

    @property
    def unasked(self) -> tuple[str, ...]:
        """What could not be asked of PyTorch, in words."""
        return tuple(dict.fromkeys(self._record.unasked))

    def forget(self) -> None:
        """Let go of everything but the nodes and edges: it would wait for the garbage collector otherwise."""
        self._values.forget()
        self._record.forget()

    # Adding ----------------------------------------------------------------------------------------

    def constant(self, nbytes: int = 0) -> int:
        """Add a value that comes from outside."""
        return self._build.leaf("constant", nbytes=nbytes, layer=self._layer(), where=self._where())

    def node(
        self,
        operation: str,
        where: Where | None,
        inputs: Iterable[tuple[int, Reason | None]] = (),
        *,
        differentiable: bool = True,
        made: torch.Tensor | None = None,
    ) -> int:
        """Add a value made by an operation, with what is known of the tensor that holds it."""
        known: dict[str, Any] = {"differentiable": differentiable}
        if made is not None:
            dtype = str(made.dtype).removeprefix("torch.")
            known = {"differentiable": is_differentiable(made), "dtype": dtype, "shape": made.shape}
        value = self._build.node(operation, layer=self._layer(), where=where, **known)
        for producer, reason in inputs:
            self._build.edge(producer, value, reason)
            if producer in self.from_weights:
                self.from_weights.add(value)
        return value

    def learn(self, tensor: torch.Tensor, value: int) -> None:
        """Note that a tensor now holds this value."""
        self._values.learn(tensor, value)

    def add_unrecorded(
        self, values: list[int], inputs: list[Input], reason: Reason | None, where: Where | None
    ) -> None:
        """Note what values were made from while PyTorch's record was off.

        Such a part of a computation counts as one cut, at the operations whose results are used with it on.
        """
        self._unrecorded |= {value: [(one, reason) for one, _ in inputs] for value in values}
        self._called_at |= dict.fromkeys(values, where)

    def use_in_record(self, values: Iterable[int]) -> None:
        """Note that these values are used with the record on."""
        self._unrecorded_in_use.update(value for value in values if value in self._unrecorded)

    def connect(self, tensor: torch.Tensor, value: int, inputs: list[Input], reason: Reason | None) -> None:
        """Add the edges of a value, by what PyTorch's record says of the tensor that holds it.

        Args:
            tensor: The tensor.
            value: The value.
            inputs: What it was made from.
            reason: Why no gradient passes where the record has nothing to say, None if one would.
        """
        key = autograd_key(tensor)
        # The record says to which earlier values a gradient goes back, the call which values it took. An
        # input with a place in the record that is not among those is cut off here. What the record leads to
        # besides, such as the base of a view, was used although the call did not name it.
        reached: dict[AutogradKey, Reason | None] = {}
        if isinstance(key, tuple) and key not in self._values.by_key:
            reached, nodes = self._record.behind(key[0])
            self._values.learn_key(key, tensor, value)
            self._values.made_by.update(dict.fromkeys(nodes, value))
        for producer, place in inputs:
            if place in reached:
                why = reached.get(place)
            else:
                why = reason or (None if place is None else "not_differentiable")
            self._build.edge(producer, value, why)
        for place in reached.keys() - {place for _, place in inputs}:
            self._build.edge(self._value_at(place), value, reached[place])

    # Looking up ------------------------------------------------------------------------------------

    def is_captured(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was there before the computation."""
        value = self._values.of_object(tensor)
        return value is None or isinstance(self._build[value], Leaf)

    def value(self, use: Use) -> int:
        """Return the value that a tensor held when it was used, found or added."""
        known = self._values.of_object(use.tensor)
        if isinstance(use.key, tuple):
            if use.key not in self._values.by_key and use.key[0] not in self._values.made_by:
                self._add_from_record(use.key[0], known)
            return self._value_at(use.key)
        if known is None:
            known = self._new(use)
        elif self._values.is_written_since(use):
            # Written through another tensor on the same memory: it holds some of both from now on.
            now = self._values.of_memory(use.tensor)
            both = {known, known if now is None else now}
            known = self.node("view", self._where(), [(one, None) for one in both])
            self._values.learn(use.tensor, known)
        if use.key is not None and use.key not in self._values.by_key:
            self._values.learn_key(use.key, use.tensor, known)
        return known

    def _value_at(self, key: AutogradKey) -> int:
        """Return the value at a place in PyTorch's record whose node is known, or that is a leaf."""
        if key in self._values.by_key:
            return self._values.by_key[key]
        if isinstance(key, tuple):
            return self._values.made_by[key[0]]
        return self.value(Use.of(self._record.leaves[key]))

    def _new(self, use: Use) -> int:
        """Add a tensor that no call was seen to make."""
        kind, name = self._names.get(id(use.tensor), ("constant", ""))
        if kind == "constant":
            name = self._strange(use.tensor)
            shared = None if name else self._values.of_memory(use.tensor)
            if shared is not None:
                if use.key is not None:
                    shared = self.node("Parameter", self._where(), [(shared, "detached")])
                self._values.learn(use.tensor, shared)
                return shared
            if name or use.key is not None:
                kind, name = "foreign", name or f"a tensor of shape {tuple(use.tensor.shape)}"
        return self._leaf(use, kind, name, self._where())

    def _leaf(self, use: Use, kind: Kind, name: str, where: Where | None) -> int:
        differentiable = is_differentiable(use.tensor)
        nbytes, layer = use.tensor.nbytes, self._layer()
        value = self._build.leaf(
            kind, name, nbytes=nbytes, differentiable=differentiable, layer=layer, where=where
        )
        self._values.learn(use.tensor, value)
        if use.key is not None:
            self._values.learn_key(use.key, use.tensor, value)
        if kind in ("weight", "foreign"):
            self.from_weights.add(value)
        return value

    # What only PyTorch's record shows --------------------------------------------------------------

    def _add_from_record(self, last: Any, raw: int | None) -> None:
        """Add nodes of PyTorch's record: custom functions, `vmap`, what writing to a view makes of its base.

        Args:
            last: The node to begin at.
            raw: The value of its tensor before PyTorch put this node on it.
        """
        where = self._where() if raw is None else self._called_at.get(raw, self._where())
        waiting = [last]
        while waiting:
            node = waiting.pop()
            if node in self._values.made_by:
                continue
            steps = list(self._record.steps(node))
            behind = [key[0] for key, _ in steps if isinstance(key, tuple)]
            unknown = [one for one in behind if one not in self._values.made_by]
            if unknown:
                # Once more behind those that it is made from: a node needs its inputs' numbers.
                waiting += [node, *unknown]
                continue
            inputs = [(self._value_at(key), reason) for key, reason in steps]
            if raw is not None and is_custom(node):
                inputs += self._read_besides_arguments(raw, {value for value, _ in inputs})
            made = self.node(functions.operation_name(kind_of(node)), where, inputs)
            self._values.made_by[node] = made

    def _read_besides_arguments(self, raw: int, arguments: set[int]) -> list[tuple[int, Reason | None]]:
        """Return what a custom function reads besides its arguments: no gradient comes back to that."""
        found, waiting, met = set(), [raw], {raw} | arguments
        while waiting:
            value = waiting.pop()
            if value not in self._unrecorded:
                found.add(value)
                continue
            inputs = {producer for producer, _ in self._unrecorded[value]} - met
            met |= inputs
            waiting.extend(inputs)
        return [(value, "zero_gradient") for value in sorted(found & self.from_weights)]
