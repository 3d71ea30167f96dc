"""Recording a PyTorch computation while it runs: which operations, on which values, at which line.

PyTorch's own record knows the operations that a gradient comes back through, and none of those that it does not. So
every call of a PyTorch function is seen here too, and what the record says of its result tells which of its inputs
a gradient reaches. Operations that no call from Python starts, as in scripted functions, are handed on by a second
mode, beneath autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from frostline.graph import torch_functions as functions
from frostline.graph.ir import Builder, Graph, Kind, Leaf, Reason, Where
from frostline.graph.torch_autograd import Record, Slot, is_custom, kind_of, repeats_forward, slot_of
from frostline.graph.torch_frames import Caller
from frostline.graph.torch_originals import Originals
from frostline.graph.torch_values import Use, Values, is_differentiable, tensors_in

Input = tuple[int, Slot | None]
"""A value that an operation takes, and its place in PyTorch's record."""

_GETTER = type(torch.Tensor.shape.__get__)  # type: ignore[attr-defined]
_ATTRIBUTES_WITH_VALUES = frozenset({"data", "grad", "T", "H", "mT", "mH", "real", "imag"})
_MOST_DEPARTURES = 16
"""How many are linked one by one to whatever is made from Python numbers after them."""


@dataclass(frozen=True, slots=True)
class _Made:
    """Results whose place in PyTorch's record is yet to be read."""

    tensors: list[torch.Tensor]
    values: list[int]
    inputs: list[Input]
    reason: Reason | None


class Recorder:
    """Fills a graph with what runs inside it. It is a context manager.

    Args:
        layer: Tells the address of the layer that is being called.
        originals: Keeps captured tensors that are written to.

    Attributes:
        error: What PyTorch raises where a gradient is asked for, or "".
    """

    def __init__(self, layer: Callable[[], str | None], originals: Originals) -> None:
        self.error = ""
        self.busy = False
        self.inside_autograd = False
        self._layer = layer
        self._build = Builder()
        self._values = Values()
        self._record = Record(self._values.made_by.__contains__)
        self._modes = _Calls(self), _Beneath(self)
        self._unsettled: list[_Made] = []
        self._from_weights: set[int] = set()
        self._departures: list[int] = []
        self._off: dict[int, list[tuple[int, Reason | None]]] = {}
        self._left_off: set[int] = set()
        self._called_at: dict[int, Where | None] = {}
        self._originals = originals
        self._names: dict[int, tuple[torch.Tensor, Kind, str]] = {}

    def __enter__(self) -> Recorder:
        calls, beneath = self._modes
        beneath.__enter__()
        calls.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        calls, beneath = self._modes
        calls.__exit__(*error)
        beneath.__exit__(*error)
        self._settle()

    # Leaves and results ---------------------------------------------------------------------------

    def name(self, tensor: torch.Tensor, kind: Kind, name: str) -> None:
        """Tell what a tensor is. A weight is in the graph even if nothing reads it."""
        self._names[id(tensor)] = tensor, kind, name
        if kind == "weight" and self._values.of_object(Use.of(tensor)) is None:
            self._leaf(Use.of(tensor), kind, name)

    def _leaf(self, use: Use, kind: Kind, name: str, where: Where | None = None) -> int:
        value = self._build.leaf(
            kind,
            name,
            nbytes=use.tensor.nbytes,
            differentiable=is_differentiable(use.tensor),
            layer=self._layer(),
            where=where,
        )
        self._values.learn(use.tensor, value)
        self._values.learn_slot(use.slot, use.tensor, value)
        if kind in ("weight", "foreign"):
            self._from_weights.add(value)
        return value

    def graph(self, result: Any) -> Graph:
        """Return the graph of what the computation returned: a tensor, or a Python number."""
        if isinstance(result, torch.Tensor):
            loss = self._value(Use.of(result))
            self._leave_off([loss])
        else:
            loss = self._from_python(result, Caller.now())
        for consumer, inputs in self._off.items():
            for producer, reason in inputs:
                left = "no_grad" if consumer in self._left_off else None
                self._build.edge(producer, consumer, reason or left)
        return self._build.graph(loss)

    # Every call ------------------------------------------------------------------------------------

    def called(self, func: Any, types: Iterable[type], args: Any, kwargs: Any) -> Any:
        """Run a function of PyTorch, and note what it made from what."""
        name = functions.called(func)
        if self.busy or (type(func) is _GETTER and name not in _ATTRIBUTES_WITH_VALUES):
            return func(*args, **kwargs)
        if any(issubclass(kind, keras.Variable) for kind in types):
            with self._modes[0]:
                args, kwargs = _variables_read(args), _variables_read(kwargs)
        self._settle()
        inside_autograd, self.inside_autograd = self.inside_autograd, False
        self.busy = True
        try:
            uses = [Use.of(tensor) for tensor in tensors_in((args, kwargs))]
            if functions.may_write(name):
                bases = [use.tensor._base for use in uses if use.tensor._base is not None]
                uses += map(Use.of, bases)
                self._originals.keep(self._captured(uses))
            result = self._run(func, name, args, kwargs)
            self._note(name, (args, kwargs), uses, result)
        finally:
            self.busy = False
        if not inside_autograd:
            self._settle()
        return result

    def _run(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if name not in ("numpy", "__array__") or not args[0].requires_grad:
                raise
            self.error = self.error or str(error)
            return func(args[0].detach(), *args[1:], **kwargs)

    def _note(self, name: str, given: Any, uses: list[Use], result: Any) -> None:
        taken = {id(use.tensor): use for use in uses}
        written = {key for key, use in taken.items() if use.is_outdated(functions.may_write(name))}
        made = {id(tensor): tensor for tensor in tensors_in(result) if id(tensor) not in taken}
        made |= {key: taken[key].tensor for key in written if not isinstance(taken[key].slot, int)}
        if any(tensor.is_meta for tensor in made.values()):
            return
        if made:
            self._made(name, given, uses, list(made.values()))
        elif name in functions.DEPARTURES:
            self._departs(name, uses)
        for key in written - made.keys():  # a leaf that requires a gradient stays a leaf
            self._values.learn(taken[key].tensor, self._value(taken[key]))

    def _made(self, name: str, given: Any, uses: list[Use], made: list[torch.Tensor]) -> None:
        caller = Caller.now()
        inputs: list[Input] = [(self._value(use), use.slot) for use in functions.that_matter(name, uses)]
        if not inputs and name in functions.FROM_PYTHON:
            for tensor in made:
                self._values.learn(tensor, self._from_python(given[0], caller, tensor.nbytes))
                self._values.learn_slot(slot_of(tensor), tensor, self._value(Use.of(tensor)))
            return
        if self._departures and name in functions.TAKE_NUMBERS and caller.computed(given):
            inputs.append((self._from_python(given, caller), None))
        operation, reason = functions.operation(name), functions.reason_by_name(name, given)
        if reason == "detached" and caller.library_function == "stop_gradient":
            operation = reason = "stop_gradient"
        values = [self._node(operation, caller.where, is_differentiable(tensor)) for tensor in made]
        if not self._from_weights.isdisjoint(value for value, _ in inputs):
            self._from_weights.update(values)
        for tensor, value in zip(made, values, strict=True):
            self._values.learn(tensor, value)
        if torch.is_grad_enabled():
            self._leave_off(value for value, _ in inputs)
            self._unsettled.append(_Made(made, values, inputs, reason))
        else:
            self._off |= {value: [(one, reason) for one, _ in inputs] for value in values}
            self._called_at |= dict.fromkeys(values, caller.of_custom_function)

    def _node(self, operation: str, where: Where | None, differentiable: bool = True) -> int:
        return self._build.node(
            operation, layer=self._layer(), where=where, differentiable=differentiable
        )

    # Edges -----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Connect what was made, once PyTorch has finished its own record of it."""
        while self._unsettled:
            made = self._unsettled.pop(0)
            for tensor, value in zip(made.tensors, made.values, strict=True):
                self._connect(tensor, value, made.inputs, made.reason)

    def _connect(self, tensor: torch.Tensor, value: int, inputs: list[Input], reason: Reason | None) -> None:
        slot = slot_of(tensor)
        reached: dict[Slot, Reason | None] = {}
        if isinstance(slot, tuple) and slot not in self._values.by_slot:
            reached, nodes = self._record.behind(slot[0])
            self._values.learn_slot(slot, tensor, value)
            for node in nodes:
                self._values.made_by[node] = value
        for producer, place in inputs:
            whole = not (self._build[producer].differentiable and self._build[value].differentiable)
            lost: Reason | None = None if place is None or whole else "not_differentiable"
            why = reached[place] if place in reached else reason or lost
            self._build.edge(producer, value, why)
        for place in reached.keys() - {place for _, place in inputs}:
            self._build.edge(self._value_at(place), value, reached[place])

    # Values ----------------------------------------------------------------------------------------

    def _value(self, use: Use) -> int:
        """Return the value that a tensor held when it was used, found or added."""
        known = self._values.of_object(use)
        if isinstance(use.slot, tuple):
            if use.slot not in self._values.by_slot and use.slot[0] not in self._values.made_by:
                self._derive(use.slot[0], known)
            return self._value_at(use.slot)
        if known is None:
            known = self._new(use)
        elif self._values.is_written_since(use):
            now = self._values.of_memory(use.tensor)
            known = self._passed_on("view", [known] if now is None else [known, now], None)
            self._values.learn(use.tensor, known)
        if use.slot not in self._values.by_slot:
            self._values.learn_slot(use.slot, use.tensor, known)
        return known

    def _value_at(self, slot: Slot) -> int:
        """Return the value at a place in PyTorch's record; only its node, or the leaf, need be known."""
        if slot in self._values.by_slot:
            return self._values.by_slot[slot]
        if isinstance(slot, tuple):
            return self._values.made_by[slot[0]]
        return self._value(Use.of(self._record.leaves[slot]))

    def _new(self, use: Use) -> int:
        """Add a tensor that no call was seen to make."""
        _, kind, name = self._names.get(id(use.tensor), (None, "constant", ""))
        shared = self._values.of_memory(use.tensor)
        if name or shared is None:
            if kind == "constant" and use.slot is not None:
                kind = "foreign"
            return self._leaf(use, kind, name, Caller.now().where)
        known = shared if use.slot is None else self._passed_on("Parameter", [shared], "detached", Caller.now().where)
        self._values.learn(use.tensor, known)
        return known

    def _derive(self, last: Any, raw: int | None) -> None:
        """Add what only PyTorch's record shows: custom functions, `vmap`, what views make of their base.

        Args:
            last: The node of the record to begin at.
            raw: What the tensor was before PyTorch put this node on it.
        """
        caller = Caller.now()
        waiting = [last]
        while waiting:
            node = waiting[-1]
            steps = list(self._record.steps(node))
            unknown = [slot[0] for slot, _ in steps if isinstance(slot, tuple) and not self._record.knows(slot[0])]
            if unknown:
                waiting.extend(unknown)
                continue
            waiting.pop()
            if not self._record.knows(node):
                inputs = [(self._value_at(slot), reason) for slot, reason in steps]
                where = self._called_at.get(raw, caller.where) if raw is not None else caller.where
                if raw is not None and is_custom(node):
                    inputs += self._read_beside(node, raw, {value for value, _ in inputs})
                value = self._passed_on(functions.operation(kind_of(node)), inputs, None, where)
                self._values.made_by[node] = value

    def _read_beside(self, node: Any, raw: int, arguments: set[int]) -> list[tuple[int, Reason | None]]:
        """Return what a custom function reads besides its arguments: no gradient comes back to that.

        A checkpoint is different. It runs again with a record, so its operations count as recorded.
        """
        if repeats_forward(node):
            return [(raw, None)]
        found, waiting, met = set(), [raw], {raw}
        while waiting:
            value = waiting.pop()
            if value not in self._off:
                found.add(value)
                continue
            inputs = {producer for producer, _ in self._off[value]} - met - arguments
            met |= inputs
            waiting.extend(inputs)
        return [(value, "zero_gradient") for value in sorted(found & self._from_weights)]

    def _passed_on(
        self, operation: str, inputs: Iterable[int | tuple[int, Reason | None]], reason: Reason | None, where: Where | None = None
    ) -> int:
        """Add a value that is made from others."""
        value = self._node(operation, where)
        for entry in inputs:
            producer, why = entry if isinstance(entry, tuple) else (entry, reason)
            self._build.edge(producer, value, why)
            if producer in self._from_weights:
                self._from_weights.add(value)
        return value

    # Python ----------------------------------------------------------------------------------------

    def _departs(self, name: str, uses: list[Use]) -> None:
        """A tensor becomes a Python number or a NumPy array: it may come back as anything later on."""
        values = [self._value(use) for use in uses]
        if self._from_weights.isdisjoint(values):
            return
        left = self._node(functions.departure(name), Caller.now().where, differentiable=False)
        for value in values:
            self._build.edge(value, left, "left_framework")
        self._departures.append(left)
        if len(self._departures) > _MOST_DEPARTURES:
            joint = self._node("python", None, differentiable=False)
            for one in self._departures:
                self._build.edge(one, joint)
            self._departures = [joint]

    def _from_python(self, given: Any, caller: Caller, nbytes: int = 0) -> int:
        """Add a value that comes from Python. What Python made it from cannot be followed: from all that left."""
        if not self._departures or not caller.computed(given):
            return self._build.leaf("constant", nbytes=nbytes, layer=self._layer(), where=caller.where)
        made = self._passed_on("constant", self._departures, "left_framework", caller.where)
        self._from_weights.add(made)
        return made

    def _leave_off(self, values: Iterable[int]) -> None:
        """Note which values that were computed without a record go on to what has one: they are cut there."""
        self._left_off.update(value for value in values if value in self._off)

    def _captured(self, uses: list[Use]) -> Iterator[torch.Tensor]:
        for use in uses:
            known = self._values.of_object(use)
            if known is None or isinstance(self._build[known], Leaf):
                yield use.tensor


def _variables_read(nest: Any) -> Any:
    """Return a nest of arguments with Keras variables replaced by their tensors."""
    if isinstance(nest, keras.Variable):
        return nest.value
    if isinstance(nest, dict):
        return {key: _variables_read(part) for key, part in nest.items()}
    return type(nest)(map(_variables_read, nest)) if type(nest) in (tuple, list) else nest


class _Calls(TorchFunctionMode):  # type: ignore[misc]
    """Sees every call of a PyTorch function from Python."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._recorder.called(func, types, args, kwargs or {})


class _Beneath(TorchDispatchMode):  # type: ignore[misc]
    """Sees every operation, beneath autograd, and calls those from Python that no call from Python led to."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._recorder.inside_autograd = not self._recorder.busy
        return func(*args, **(kwargs or {}))
