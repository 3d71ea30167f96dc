"""A computation on PyTorch, call by call: where it stops being finite, and where gradients become zero."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from frostline._keras.variables import to_numpy
from frostline.backends.torch import functions
from frostline.backends.torch.autograd import kind_of
from frostline.backends.torch.internals import leaf_of, writes_to
from frostline.backends.torch.reader import sandboxed, tensors_of
from frostline.backends.torch.recorder import variables_read
from frostline.backends.torch.restore import Originals, Restoring
from frostline.backends.torch.values import is_differentiable, tensors_in
from frostline.graph.ir import Kind, Where
from frostline.graph.not_finite import BadResults, NotFinite, not_finite_at
from frostline.graph.reader import Computation
from frostline.graph.source_lines import run_user_code, users_line_now
from frostline.graph.watch import Watch
from frostline.graph.zero_gradient import Factor, Zeroing, Zeros, begins_before, factors, uneven, zeroing_at

_FACTORS: dict[Kind, Factor] = {"weight": "weight", "state": "weight"}


def first(computation: Computation) -> NotFinite | None:
    """Run the computation, and return the first operation whose result or gradient is not finite."""
    found: list[NotFinite] = []

    def look(one: _Return) -> None:
        if not found and not _is_finite(one.given) and all(map(_is_finite, one.received)):
            found.append(one.call.found(one.given, one.operation, backward=True))

    cause = _run(computation, look)
    return cause or (found[0] if found else None)


def zeroing(computation: Computation) -> list[Zeroing]:
    """Run the computation, and return where gradients become zero on their way back."""
    found: list[tuple[Any, Zeroing]] = []
    alive: set[Any] = set()
    behind: list[_Gathered] = []

    def look(one: _Return) -> None:
        behind[:] = [one.behind]
        if one.received:
            if any(bool(gradient.to_dense().any()) for gradient in one.received):
                alive.add(one.node)
            place = one.call.layer, one.call.where
            received, given = _array(one.received[0]), _array(one.given)
            values = one.call.values_behind(one.to, given.shape)
            at = zeroing_at(one.operation, received, given, place, one.weights, _dtype(one.given), values)
            if at is not None:
                found.append((one.to, _with_cause(at, one)))

    _run(computation, look)
    # Zeros take nothing from weights to which a gradient goes on from there, or from what was made before.
    passed = _Gathered(lambda node: behind[0].of(node) if node in alive else frozenset())
    kept = (at.without(passed.of(to)) for to, at in found)
    return [one for one in kept if one is not None]


def _run(computation: Computation, look: Callable[[_Return], None]) -> NotFinite | None:
    """Run the computation forwards and, where its result is finite, backwards; else say what it is from."""
    arguments, named = tensors_of(computation)
    watch, originals = Watch(computation), Originals()
    calls = _Calls(watch, {id(one.tensor): Zeros(one.name, _FACTORS.get(one.kind, "data")) for one in named})
    with sandboxed(named, originals):
        with watch, Restoring(originals), calls:
            loss = run_user_code(computation.loss, *arguments)
            loss = loss.sum() if isinstance(loss, torch.Tensor) else None
        if loss is None or not _is_finite(loss):
            return calls.cause_of(loss)
        weights = [one for one in named if one.kind == "weight" and is_differentiable(one.tensor)]
        if loss.requires_grad and weights:
            _go_back(loss, {id(one.tensor): one.name for one in weights}, calls.by_node, look)
    return None


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a function: what it is called, where, and what it took and made."""

    operation: str
    layer: str | None
    where: Where | None
    operands: tuple[_Operand, ...] = field(repr=False)

    def zeros_but(self, node: Any) -> list[_Operand]:
        """Return what it multiplied by that is nothing but zeros, but for what a node of the record made."""
        operands = list(factors(self.operation, self.operands))
        itself = next((one for one in operands if node is not None and one.is_of(node)), None)
        return [one for one in operands if one is not itself and one.is_zero and one.source]

    def values_behind(self, node: Any, shape: tuple[int, ...]) -> Iterator[Any]:
        """Yield the operand that a node made, and what it was made from, as far back as is known."""
        alike = [one for one in self.operands if one.node is not None or one.tensor.requires_grad]
        alike = [one for one in alike if one.tensor.shape == shape and writes_to(one.tensor) == one.writes]
        if alike:
            chosen = next((one for one in alike if node is not None and one.is_of(node)), alike[0])
            yield _array(chosen.tensor)
            if isinstance(chosen.source, _Call):
                yield from chosen.source.values_behind(None, shape)

    def found(self, result: torch.Tensor, operation: str = "", *, backward: bool = False) -> NotFinite:
        return not_finite_at(
            operation or self.operation,
            _array(result),
            [_array(one.tensor) for one in self.operands],
            (self.layer, self.where),
            backward=backward,
        )


@dataclass(frozen=True, slots=True)
class _Operand:
    """What a call took, as it was before: calls may write to it.

    Attributes:
        tensor: The tensor.
        source: The call that made it, or what it is called, where that is known.
        is_zero: Whether it was nothing but zeros.
        node: What made it, on PyTorch's record.
        writes: How often it had been written to.
    """

    tensor: torch.Tensor
    source: _Call | Zeros | None
    is_zero: bool
    node: Any
    writes: int

    def is_of(self, node: Any) -> bool:
        """Whether a node of the record hands a gradient on from it."""
        return self.node is node or leaf_of(node) is self.tensor

    @property
    def origin(self) -> Zeros:
        """Where its zeros began."""
        source = self.source
        while isinstance(source, _Call):
            zeros = source.zeros_but(None)
            if not begins_before(source.operation, source.operands, zeros):
                return Zeros.made_by(source.operation, source.layer)
            source = zeros[0].source
        assert source is not None, "zeros are looked into where it is known whence they are"
        return source


def _with_cause(at: Zeroing, one: _Return) -> Zeroing:
    """Return the same with what made zeros of it, where an operand is nothing but zeros."""
    if at.adds_up and not one.has_terms:
        at = replace(at, adds_up=False)
    zeros = one.call.zeros_but(one.to) if at.may_multiply else []
    return at.multiplying(zeros[0].origin) if zeros else at


class _Calls(TorchFunctionMode):
    """Looks at what every call returns, and notes which call put which nodes on PyTorch's record."""

    def __init__(self, watch: Watch, names: Mapping[int, Zeros]) -> None:
        super().__init__()
        self._watch = watch
        self._names = names
        self._bad: BadResults[tuple[torch.Tensor, _Call]] = BadResults()
        self._made: dict[int, tuple[weakref.ref[torch.Tensor], _Call]] = {}
        self.by_node: dict[Any, tuple[_Call, str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = functions.called(func)
        given = (variables_read(args), variables_read(kwargs or {})) if name else ()
        operands = tuple(self._operand(one) for one in tensors_in(given) if _holds_numbers(one))
        result = func(*args, **(kwargs or {}))
        if name:
            self._note(name, result, operands, holds_infinity=_holds_infinity(given))
        return result

    def _operand(self, tensor: torch.Tensor) -> _Operand:
        with torch.no_grad():
            is_zero = bool(tensor.numel()) and not tensor.to_dense().any()
        source = self._names.get(id(tensor)) or self._maker_of(tensor)
        return _Operand(tensor, source, is_zero, tensor.grad_fn, writes_to(tensor))

    def cause_of(self, loss: Any) -> NotFinite | None:
        """Return what made the loss not finite, where operations did."""
        found = self._bad.cause_of(id(loss))
        return found[1][1].found(found[1][0]) if found else None

    def _note(self, name: str, result: Any, operands: tuple[_Operand, ...], *, holds_infinity: bool) -> None:
        call = _Call(functions.operation_name(name), self._watch.layer, users_line_now(), operands)
        taken = [one.tensor for one in operands]
        unchanged = [one.tensor for one in operands if writes_to(one.tensor) == one.writes]
        for tensor in filter(_holds_numbers, tensors_in((result,))):
            if not _is_finite(tensor):
                before = (id(one) for one in taken if one is not tensor and not _is_finite(one))
                is_nan = bool(torch.isnan(tensor.detach().to_dense()).any())
                self._bad.add(id(tensor), (tensor, call), before, is_nan=is_nan, is_literal=holds_infinity)
            self._note_record(tensor.grad_fn, call)
            if not any(tensor is one for one in unchanged):
                self._made[id(tensor)] = weakref.ref(tensor), call

    def _maker_of(self, tensor: torch.Tensor) -> _Call | None:
        reference, call = self._made.get(id(tensor), (None, None))
        return call if reference is not None and reference() is tensor else None

    def _note_record(self, node: Any, call: _Call) -> None:
        new, waiting = [], [node]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in self.by_node:
                new.append(node)
                self.by_node[node] = call, _operation(node)
                waiting += [before for before, _ in node.next_functions]
        inner = [one for one in new if one.next_functions]
        if len(inner) == 1:  # then the call has the better name
            self.by_node[inner[0]] = call, call.operation


@dataclass(frozen=True, slots=True)
class _Return:
    """One gradient that a node of the record of PyTorch handed back to another.

    Attributes:
        call: The call that put the node on the record.
        operation: What the node does.
        node: The node.
        to: The node that it is handed back to.
        received: What the node was given.
        given: What it handed back.
        behind: Which weights lie behind a node.
    """

    call: _Call
    operation: str
    node: Any
    to: Any
    received: list[torch.Tensor]
    given: torch.Tensor
    behind: _Gathered

    @property
    def weights(self) -> frozenset[str]:
        return self.behind.of(self.to)

    @property
    def has_terms(self) -> bool:
        """Whether a sum of zero has terms that are not zero: then it is none once they are weighted."""
        places = [place for place, (node, _) in enumerate(self.node.next_functions) if node is self.to]
        shared = [one * torch.as_tensor(uneven(one.shape)).to(one) for one in self.received]
        with torch.no_grad():
            again = self.node(*shared)
        again = again if isinstance(again, tuple) else (again,)
        return any(again[place] is not None and bool(again[place].any()) for place in places)


def _go_back(
    loss: torch.Tensor,
    names: dict[int, str],
    by_node: dict[Any, tuple[_Call, str]],
    look: Callable[[_Return], None],
) -> None:
    """Go back from a loss; PyTorch calls the nodes of its record one by one, the last one first."""
    behind = _Gathered(lambda node: frozenset(filter(None, (names.get(id(leaf_of(node))),))))

    def at(node: Any, given_back: Any, received: Any) -> None:
        given = [one for one in received if one is not None]
        for (before, _), one in zip(node.next_functions, given_back, strict=False):
            if one is not None:
                look(_Return(*by_node[node], node, before, given, one, behind))

    hooks = [node.register_hook(partial(at, node)) for node in by_node if node.next_functions]
    wanted = [tensor for node in by_node if (tensor := leaf_of(node)) is not None and id(tensor) in names]
    try:
        if wanted:
            # Nodes may be asked again, and need what they keep.
            torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=True)
    finally:
        for hook in hooks:
            hook.remove()


class _Gathered:
    """What the nodes of PyTorch's record have of their own, together with all nodes behind them.

    Args:
        own: Names that a node has of its own.
    """

    def __init__(self, own: Callable[[Any], frozenset[str]]) -> None:
        self._own = own
        self._known: dict[Any, frozenset[str]] = {}

    def of(self, node: Any) -> frozenset[str]:
        """Return the names of a node and of those behind it."""
        waiting = [node] if node is not None else []
        while waiting:
            here = waiting[-1]
            before = [one for one, _ in here.next_functions if one is not None]
            unknown = [one for one in before if one not in self._known]
            if unknown:
                waiting += unknown
                continue
            sets = (self._known[one] for one in before)
            self._known[waiting.pop()] = self._own(here).union(*sets)
        return self._known.get(node, frozenset())


def _operation(node: Any) -> str:
    """Return what made a node of the record: one of the operations that a call consists of."""
    name = _CAPITAL.sub(r"_\1", kind_of(node)).lower().strip("_")
    return functions.operation_name(name)


_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def _holds_infinity(given: Any) -> bool:
    """Whether a Python number, or one in a NumPy array, among the arguments of a call is infinite."""
    numbers = (one for one in keras.tree.flatten(given) if isinstance(one, float | np.ndarray | np.generic))
    return any(np.asarray(one).dtype.kind == "f" and bool(np.isinf(one).any()) for one in numbers)


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _holds_numbers(tensor: torch.Tensor) -> bool:
    return is_differentiable(tensor) and not tensor.is_meta


def _is_finite(tensor: torch.Tensor) -> bool:
    with torch.no_grad():
        return bool(torch.isfinite(tensor.to_dense()).all())


def _array(tensor: torch.Tensor) -> Any:
    return to_numpy(tensor.detach().to_dense())
