"""The first operation of a computation on PyTorch whose result, or whose gradient, is not finite."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from frostline._keras.variables import to_numpy
from frostline.backends.torch import functions
from frostline.backends.torch.autograd import kind_of
from frostline.backends.torch.reader import sandboxed, tensors_of
from frostline.backends.torch.recorder import variables_read
from frostline.backends.torch.restore import Originals, Restoring
from frostline.backends.torch.values import is_differentiable, tensors_in
from frostline.graph.ir import Where
from frostline.graph.not_finite import BadResults, NotFinite, not_finite_at
from frostline.graph.reader import Computation
from frostline.graph.source_lines import run_user_code, users_line_now
from frostline.graph.watch import Watch


def first(computation: Computation) -> NotFinite | None:
    """Run the computation forwards and, where its result is finite, backwards."""
    arguments, named = tensors_of(computation)
    watch, originals = Watch(computation), Originals()
    calls = _Calls(watch)
    with sandboxed(named, originals):
        with watch, Restoring(originals), calls:
            loss = run_user_code(computation.loss, *arguments)
            loss = loss.sum() if isinstance(loss, torch.Tensor) else None
        if loss is None or not _is_finite(loss):
            return calls.cause_of(loss)
        weights = [one.tensor for one in named if one.kind == "weight" and is_differentiable(one.tensor)]
        return _backwards(loss, weights, calls.by_node) if loss.requires_grad and weights else None


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a function: what it is called, where, and what it took and made."""

    operation: str
    layer: str | None
    where: Where | None
    operands: tuple[torch.Tensor, ...]

    def found(self, result: torch.Tensor, operation: str = "", *, backward: bool = False) -> NotFinite:
        return not_finite_at(
            operation or self.operation,
            _array(result),
            [_array(one) for one in self.operands],
            (self.layer, self.where),
            backward=backward,
        )


class _Calls(TorchFunctionMode):
    """Looks at what every call returns, and notes which call put which nodes on PyTorch's record."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._bad: BadResults[tuple[torch.Tensor, _Call]] = BadResults()
        self.by_node: dict[Any, _Call] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if name := functions.called(func):
            self._note(name, result, tensors_in((variables_read(args), variables_read(kwargs or {}))))
        return result

    def cause_of(self, loss: Any) -> NotFinite | None:
        """Return what made the loss not finite, where operations did."""
        found = self._bad.cause_of(id(loss))
        return found[1][1].found(found[1][0]) if found else None

    def _note(self, name: str, result: Any, taken: Iterable[torch.Tensor]) -> None:
        operands = tuple(one for one in taken if _holds_numbers(one))
        call = _Call(functions.operation_name(name), self._watch.layer, users_line_now(), operands)
        for tensor in filter(_holds_numbers, tensors_in((result,))):
            if not _is_finite(tensor):
                before = (id(one) for one in operands if one is not tensor and not _is_finite(one))
                self._bad.add(id(tensor), (tensor, call), before)
            self._note_record(tensor.grad_fn, call)

    def _note_record(self, node: Any, call: _Call) -> None:
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in self.by_node:
                self.by_node[node] = call
                waiting += [before for before, _ in node.next_functions]


def _backwards(
    loss: torch.Tensor, weights: list[torch.Tensor], by_node: dict[Any, _Call]
) -> NotFinite | None:
    """Go back from a loss; PyTorch calls the nodes of its record one by one, the last one first."""
    found: list[NotFinite] = []

    def look(node: Any, given_back: Any, received: Any) -> None:
        bad = next((one for one in given_back if one is not None and not _is_finite(one)), None)
        if not found and bad is not None and all(one is None or _is_finite(one) for one in received):
            call = by_node[node]
            found.append(call.found(bad, _operation(node), backward=True))

    hooks = [node.register_hook(partial(look, node)) for node in by_node]
    try:
        torch.autograd.grad(loss, weights, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _operation(node: Any) -> str:
    """Return what made a node of the record: one of the operations that a call consists of."""
    name = _CAPITAL.sub(r"_\1", kind_of(node)).lower().strip("_")
    return functions.operation_name(name)


_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def _holds_numbers(tensor: torch.Tensor) -> bool:
    return is_differentiable(tensor) and not tensor.is_meta


def _is_finite(tensor: torch.Tensor) -> bool:
    with torch.no_grad():
        return bool(torch.isfinite(tensor.to_dense()).all())


def _array(tensor: torch.Tensor) -> Any:
    return to_numpy(tensor.detach().to_dense())
