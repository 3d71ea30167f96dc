"""What PyTorch's own record of a computation says: to which earlier values a gradient comes back.

A tensor that requires a gradient names the node that made it (`grad_fn`), and each node those before it.
Where a node hands back zeros whatever comes, as that of `round` does, the record goes on, but no gradient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from frostline.backends.torch.internals import (
    is_custom,
    is_of_complex,
    leaf_of,
    random_gradients,
    require_record_names,
    rounds_quotient,
)
from frostline.errors import UnsupportedVersionError
from frostline.graph.ir import Reason
from frostline.graph.reader import unasked

AutogradKey = tuple[Any, int] | int
"""A differentiable value: a node of the record and the number of its output, or the `id` of a leaf tensor."""

_ZERO = frozenset({"Bernoulli", "Binomial", "Ceil", "Floor", "Poisson", "Round", "Sign", "Trunc"})
"""Operations whose derivative PyTorch records, and gives as zeros."""

_OVERWRITES = frozenset(
    {"Cauchy", "Copy", "Exponential", "Fill", "Geometric", "LogNormal", "Normal", "Random", "Uniform", "Zero"}
)
"""Operations that put new values in the place of their first operand."""

_NUMBER = re.compile(r"(Backwards?\d*)$")


def autograd_key(tensor: torch.Tensor) -> AutogradKey | None:
    """Return where a tensor stands in PyTorch's record, None where it requires no gradient."""
    node = tensor.grad_fn
    if node is not None:
        return node, tensor.output_nr
    return id(tensor) if tensor.requires_grad else None


def kind_of(node: Any) -> str:
    """Return the name of what made a value, as in `Round` for `RoundBackward0`."""
    return _NUMBER.sub("", str(node.name()).rpartition("::")[2])


class Record:
    """PyTorch's record, read as far back as values that are known already.

    Args:
        is_known: Whether the output of a node is a value of the graph already.

    Attributes:
        leaves: The leaf tensors that were met, by their `id`.
        unasked: What could not be asked, in words: there a gradient is taken to pass.
    """

    def __init__(self, is_known: Callable[[Any], bool]) -> None:
        require_record_names()
        self.knows = is_known
        self.leaves: dict[int, torch.Tensor] = {}
        self.unasked: list[str] = []
        self._custom: dict[Any, list[Reason | None]] = {}

    def forget(self) -> None:
        """Let go of the nodes that were met."""
        self.leaves.clear()
        self._custom.clear()

    def behind(self, node: Any) -> tuple[dict[AutogradKey, Reason | None], list[Any]]:
        """Return the known values behind a node, and the unknown nodes on the way to them, itself included.

        Each known value comes with None where a gradient reaches it, and else with a reason why not.
        """
        found: dict[AutogradKey, Reason | None] = {}
        waiting: list[tuple[Any, Reason | None]] = [(node, None)]
        passed = {node: True}
        while waiting:
            current, stopped = waiting.pop()
            for key, reason in self.steps(current):
                why = stopped or reason
                if isinstance(key, int) or self.knows(key[0]):
                    found[key] = found[key] and why if key in found else why  # one open route is enough
                # A node that was passed on a stopped route is passed again on an open one.
                elif key[0] not in passed or (why is None and not passed[key[0]]):
                    passed[key[0]] = why is None
                    waiting.append((key[0], why))
        return found, list(passed)

    def steps(self, node: Any) -> Iterator[tuple[AutogradKey, Reason | None]]:
        """Yield the values that a node was made from, each with the reason why no gradient passes, if so."""
        kind = kind_of(node)
        for place, (before, output) in enumerate(node.next_functions):
            # The record keeps the operand that was overwritten, for the shape of its gradient of zeros.
            if before is None or (place == 0 and kind in _OVERWRITES):
                continue
            # The node of a leaf lives only as long as something holds it; the tensor itself stays the same.
            variable = leaf_of(before)
            key: AutogradKey = (before, output)
            if variable is not None:
                key = id(variable)
                self.leaves[key] = variable
            yield key, self._reason(node, kind, place)

    def _reason(self, node: Any, kind: str, place: int) -> Reason | None:
        if kind in _ZERO or (kind == "Copysign" and place == 1):
            return "not_differentiable"
        if kind == "Sgn" and not is_of_complex(node):
            return "not_differentiable"
        if kind == "Div" and rounds_quotient(node):
            return "not_differentiable"
        if kind in ("NotImplemented", "Error"):
            return "unregistered"
        if is_custom(node):
            if node not in self._custom:
                self._custom[node] = self._given_by(node)
            return self._custom[node][place]
        return None

    def _given_by(self, node: Any) -> list[Reason | None]:
        try:
            return _given_by(node)
        except UnsupportedVersionError:
            raise
        except Exception as error:  # a user's function may raise anything, and not in training
            self.unasked.append(unasked(f"the gradient of {kind_of(node)}", error))
            return [None] * len(node.next_functions)


def _given_by(node: Any) -> list[Reason | None]:
    """Run a custom backward function on random numbers: `zero_gradient` for what it gives nothing or zeros.

    Nothing but running it tells: the record holds a Python function only as one node. A zero counts only
    where it does not come from the numbers that it was given: the gradient of a dead unit is zero too, on
    these data. So the numbers require a gradient, and what depends on them has a record of its own.
    """
    everything_passes: list[Reason | None] = [None] * len(node.next_functions)
    if kind_of(node) == "CheckpointFunction":  # running it would write to `grad`
        return everything_passes
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), _ZeroTimes():
        given = node.apply(*random_gradients(node))
    given = given if isinstance(given, tuple | list) else (given,)
    # It returns one gradient for each argument of `forward`; the record has only those that need one.
    wanted = iter(one for one, needed in zip(given, node.needs_input_grad, strict=False) if needed)
    return [
        None if before is None or _is_given(next(wanted, None)) else "zero_gradient"
        for before, _ in node.next_functions
    ]


def _is_given(gradient: Any) -> bool:
    if gradient is None:
        return False
    made = gradient.grad_fn
    # `once_differentiable` puts an Error on all that it returns, whether or not it depends on anything.
    depends = gradient.requires_grad and (made is None or kind_of(made) != "Error")
    return depends or bool(gradient.detach().count_nonzero())


class _ZeroTimes(TorchFunctionMode):
    """Lets a product with the number zero depend on nothing: `grad * 0` is how many return no gradient."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.__name__ in ("mul", "multiply", "__mul__", "__rmul__") and any(map(_is_zero, args)):
            return result.detach()
        return result


def _is_zero(factor: Any) -> bool:
    if isinstance(factor, torch.Tensor):
        return factor.dim() == 0 and not factor.requires_grad and not factor.is_meta and factor.item() == 0
    return bool(factor == 0)
