"""Recording a PyTorch computation while it runs: which operations, on which values, at which line.

PyTorch's own record knows the operations that a gradient comes back through, and none of those that it does
not. So every call of a PyTorch function is seen here too, and what the record says of its result tells which
of its inputs a gradient reaches. Operations that no call from Python starts, as in scripted functions, are
handed on by a second mode, beneath autograd.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from frostline.backends.torch import functions
from frostline.backends.torch.frames import Caller
from frostline.backends.torch.graph_builder import Input, TorchGraphBuilder
from frostline.backends.torch.internals import base_of, beneath_skipped
from frostline.backends.torch.restore import Originals
from frostline.backends.torch.values import Use, tensors_in
from frostline.errors import text_of
from frostline.graph.ir import Graph, Reason, Where

_MOST_HOST_READS = 16
"""How many are linked one by one to whatever is made from Python numbers after them."""


@dataclass(frozen=True, slots=True)
class _Results:
    """Results whose place in PyTorch's record is yet to be read."""

    tensors: list[torch.Tensor]
    values: list[int]
    inputs: list[Input]
    reason: Reason | None


class CallRecorder:
    """Fills a graph with what runs inside it. It is a context manager.

    Args:
        layer: Tells the address of the layer that is being called.
        strange: Tells the name of a variable that nobody named, "" where it has none.
        originals: Keeps captured tensors that are written to.

    Attributes:
        builder: Builds the graph.
        error: What PyTorch raises where a gradient is asked for, or "".
        in_layer: Put around the call of a layer, given its address.
        branches: The lines at which Python chose by the values of a tensor.
    """

    def __init__(
        self, layer: Callable[[], str | None], strange: Callable[[torch.Tensor], str], originals: Originals
    ) -> None:
        self.error = ""
        self.busy = False
        self.inside_autograd = False
        self._of_layers: list[Caller] = []
        self.builder = TorchGraphBuilder(layer, lambda: self._caller().where, strange)
        self.in_layer = _InLayer(self._of_layers)
        self._originals = originals
        self._calls, self._beneath = _Calls(self), _Beneath(self)
        self._scopes = ExitStack()
        self._unconnected: list[_Results] = []
        self._host_reads: list[int] = []
        self.branches: list[Where | None] = []

    def __enter__(self) -> CallRecorder:
        self._scopes.enter_context(self._beneath)
        self._scopes.enter_context(self._calls)
        return self

    def __exit__(self, *error: Any) -> None:
        self._scopes.close()
        self._connect_results()

    def graph(self, result: Any) -> Graph:
        """Return the graph of what the computation returned: a tensor, or a Python number."""
        is_tensor = isinstance(result, torch.Tensor)
        return self.builder.finish(self.builder.value(Use.of(result)) if is_tensor else self._from_python())

    def close(self) -> None:
        """Let go of all tensors. No graph can be had afterwards."""
        self._unconnected.clear()
        self.builder.forget()

    # Every call ------------------------------------------------------------------------------------

    def called(self, func: Any, types: Iterable[type], args: Any, kwargs: Any) -> Any:
        """Run a function of PyTorch, and note what it made from what."""
        name = functions.called(func)
        if self.busy or not name:
            return func(*args, **kwargs)
        if types and any(issubclass(kind, keras.Variable) for kind in types):
            with self._calls:
                args, kwargs = variables_read(args), variables_read(kwargs)
        self._connect_results()
        # What `_Beneath` hands on runs below autograd, which puts its record on the result afterwards: it can
        # be read at the next call only.
        inside_autograd, self.inside_autograd = self.inside_autograd, False
        self.busy = True
        try:
            uses = [Use.of(tensor) for tensor in tensors_in((args, kwargs))]
            if functions.may_write(name):
                uses += [Use.of(base) for use in uses if (base := base_of(use.tensor)) is not None]
                self._originals.keep(use.tensor for use in uses if self.builder.is_captured(use.tensor))
            with beneath_skipped(use.tensor for use in uses):
                result = self._run(func, name, args, kwargs)
            self._record_call(name, (args, kwargs), uses, result)
        finally:
            self.busy = False
        if not inside_autograd:
            self._connect_results()
        return result

    def _run(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if name not in ("numpy", "__array__") or not args[0].requires_grad:
                raise
            self.error = self.error or text_of(error)
            return func(args[0].detach(), *args[1:], **kwargs)

    def _record_call(self, name: str, given: Any, uses: list[Use], result: Any) -> None:
        moves = functions.may_write(name)
        written = [use for use in uses if use.is_written() or (moves and use.is_moved())]
        taken = {id(use.tensor) for use in uses}
        made = {id(tensor): tensor for tensor in tensors_in((result,)) if id(tensor) not in taken}
        # A leaf that requires a gradient stays a leaf, whatever is written to it without a record.
        made |= {id(use.tensor): use.tensor for use in written if not isinstance(use.key, int)}
        if name == "lift_fresh":  # the tensor that `from_numpy` makes
            self.builder.learn(uses[0].tensor, self._from_python(uses[0].tensor.nbytes))
        elif name == "__array_wrap__":  # what NumPy computed, as a tensor again: the values had left before
            for tensor in made.values():
                self.builder.learn(tensor, self._from_python(tensor.nbytes))
        elif not made:
            if name in functions.DECIDING:
                self._note_branch()
            if name in functions.HOST_READS:
                self._record_host_read(name, uses)
        elif not any(tensor.is_meta for tensor in made.values()):
            self._add_results(name, given, uses, list(made.values()))
        for use in written:
            if isinstance(use.key, int):
                self.builder.learn(use.tensor, self.builder.value(use))

    def _add_results(self, name: str, given: Any, uses: list[Use], made: list[torch.Tensor]) -> None:
        """Add what a call made to the graph; what it was made from follows in `_connect_results`."""
        caller = self._caller()
        inputs: list[Input] = [
            (self.builder.value(use), use.key) for use in functions.operands_that_matter(name, uses)
        ]
        # A number that left the record may come back, and nothing shows which one it is: a tensor made from
        # computed numbers counts as made from all that left before, one of literals is a constant.
        if not inputs and name in functions.FROM_PYTHON:
            add = self._from_python if caller.computed(given) else self.builder.constant
            for tensor in made:
                self.builder.learn(tensor, add(tensor.nbytes))
            return
        if self._host_reads and name in functions.TAKE_NUMBERS and caller.computed(given):
            inputs.append((self._from_python(), None))
        operation, reason = functions.operation_name(name), functions.reason_by_name(name, given)
        # Keras's stop_gradient calls `detach`, which PyTorch's users write where they mean something else.
        if reason == "detached" and caller.library_function == "stop_gradient":
            operation = reason = "stop_gradient"
        where = caller.where
        values = [self.builder.node(operation, where, made=one) for one in made]
        if any(value in self.builder.from_weights for value, _ in inputs):
            self.builder.from_weights.update(values)
        # Known at once, since the next call may take it, while PyTorch has not put it on record yet.
        for tensor, value in zip(made, values, strict=True):
            self.builder.learn(tensor, value)
        # Without a record this may be a block under `no_grad`, or the inside of a custom function, whose
        # result PyTorch puts on record at its end. Only how the values are used later tells which.
        if torch.is_grad_enabled():
            self.builder.use_in_record(value for value, _ in inputs)
            self._unconnected.append(_Results(made, values, inputs, reason))
        else:
            self.builder.add_unrecorded(values, inputs, reason, caller.of_custom_function)

    def _connect_results(self) -> None:
        """Connect what was made, once PyTorch has finished its own record of it."""
        waiting, self._unconnected = self._unconnected, []
        for made in waiting:
            for tensor, value in zip(made.tensors, made.values, strict=True):
                self.builder.connect(tensor, value, made.inputs, made.reason)

    def _caller(self) -> Caller:
        return Caller.now(self._of_layers)

    # Python ----------------------------------------------------------------------------------------

    def _note_branch(self) -> None:
        caller = self._caller()
        if caller.library_function in functions.CHOOSING:
            self.branches.append(caller.where)

    def _record_host_read(self, name: str, uses: list[Use]) -> None:
        """A tensor becomes a Python number or a NumPy array, and may come back as anything later on."""
        values = [self.builder.value(use) for use in uses]
        if self.builder.from_weights.isdisjoint(values):
            return
        inputs: list[tuple[int, Reason | None]] = [(value, "left_framework") for value in values]
        operation, where = functions.operation_name(name), self._caller().where
        self._host_reads.append(self.builder.node(operation, where, inputs, differentiable=False))
        if len(self._host_reads) > _MOST_HOST_READS:
            inputs = [(one, None) for one in self._host_reads]
            self._host_reads = [self.builder.node("python", None, inputs, differentiable=False)]

    def _from_python(self, nbytes: int = 0) -> int:
        """Add a value that comes from Python, where nothing is followed: maybe from all that went there."""
        if not self._host_reads:
            return self.builder.constant(nbytes)
        inputs: list[tuple[int, Reason | None]] = [(left, "left_framework") for left in self._host_reads]
        return self.builder.node("constant", self._caller().where, inputs)


def variables_read(nest: Any) -> Any:
    """Return a nest of arguments with Keras variables replaced by their tensors."""
    if isinstance(nest, keras.Variable):
        return nest.value
    if isinstance(nest, dict):
        return {key: variables_read(part) for key, part in nest.items()}
    return type(nest)(map(variables_read, nest)) if type(nest) in (tuple, list) else nest


class _InLayer:
    """Notes who calls a layer, so that the stack above it need be walked only once."""

    def __init__(self, callers: list[Caller]) -> None:
        self._callers = callers

    def __call__(self, address: str) -> _InLayer:
        return self

    def __enter__(self) -> None:
        frame = inspect.currentframe()
        calls_layer = frame.f_back if frame else None
        self._callers.append(Caller.now(self._callers, calls_layer.f_back if calls_layer else None))

    def __exit__(self, *error: Any) -> None:
        self._callers.pop()


class _Calls(TorchFunctionMode):
    """Sees every call of a PyTorch function from Python."""

    def __init__(self, recorder: CallRecorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._recorder.called(func, types, args, kwargs or {})


class _Beneath(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, beneath autograd, and calls those from Python that no call from Python led to.

    Such an operation is one that C++ runs for an autograd function or a compiled part: its result gets its
    autograd record only after it has come back here, so the recorder is told to read it later.
    """

    def __init__(self, recorder: CallRecorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._recorder.inside_autograd = not self._recorder.busy
        return func(*args, **(kwargs or {}))
