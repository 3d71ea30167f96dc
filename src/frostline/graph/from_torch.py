"""The gradient graph of a computation on PyTorch, and its gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import torch

from frostline import _keras
from frostline.graph.ir import Kind
from frostline.graph.places import computed_for_frostline
from frostline.graph.read import Measured, Subject, Trace
from frostline.graph.torch_originals import Originals, Restoring
from frostline.graph.torch_recorder import Recorder
from frostline.graph.torch_values import is_differentiable
from frostline.graph.watching import Watch


@dataclass(frozen=True, slots=True)
class _Named:
    """A tensor that the subject names."""

    kind: Kind
    name: str
    tensor: torch.Tensor

_GRADIENT_ERRORS = ("require grad", "requires grad", "derivative", "backward")
"""Words of the errors that PyTorch raises where there is no gradient to compute."""


def read(subject: Subject) -> Trace:
    """Run the computation once and note what runs. Functions compiled by `torch.compile` run as plain Python."""
    arguments, named = _tensors_of(subject)
    originals = Originals()
    with ExitStack() as stack:
        watch = _Watch(subject, lambda tensor, name: recorder.name(tensor, "foreign", name))
        recorder = Recorder(lambda: watch.layer, originals)
        for one in named:
            recorder.name(one.tensor, one.kind, one.name)
        _enter(stack, named, originals)
        with watch, recorder:
            result = computed_for_frostline(subject.loss, *arguments)
        return Trace(recorder.graph(result), tuple(watch.writes), tuple(watch.strangers), recorder.error)


def measure(subject: Subject) -> Measured:
    """Compute the loss and its gradients once, and leave every variable and every tensor as it was."""
    arguments, named = _tensors_of(subject)
    weights = {one.name: one.tensor for one in named if one.kind == "weight"}
    originals = Originals()
    with ExitStack() as stack:
        _enter(stack, named, originals)
        try:
            with _Watch(subject), Restoring(originals):
                loss = subject.loss(*arguments)
                gradients = _gradients(loss, weights)
        except RuntimeError as error:
            if not any(phrase in str(error) for phrase in _GRADIENT_ERRORS):
                raise
            return Measured(float("nan"), {}, str(error))
    return Measured(float(loss.detach().sum() if isinstance(loss, torch.Tensor) else np.sum(loss)), gradients)


def _gradients(loss: Any, weights: dict[str, torch.Tensor]) -> dict[str, npt.NDArray[Any] | None]:
    if not isinstance(loss, torch.Tensor):
        return dict.fromkeys(weights)
    wanted = {name: tensor for name, tensor in weights.items() if is_differentiable(tensor)}
    found = torch.autograd.grad(loss.sum(), list(wanted.values()), allow_unused=True)
    gradients: dict[str, npt.NDArray[Any] | None] = dict.fromkeys(weights)
    for name, gradient in zip(wanted, found, strict=True):
        if gradient is not None:
            gradients[name] = keras.ops.convert_to_numpy(gradient.to_dense())
    return gradients


# What the computation gets -------------------------------------------------------------------------


def _tensors_of(subject: Subject) -> tuple[list[Any], list[_Named]]:
    """Return the arguments of the computation, arrays as tensors, and all tensors that have a name."""
    named = [_Named(source.kind, source.name, _tensor_of(source.variable)) for source in subject.variables]
    arguments = []
    for argument in subject.arguments:
        value = keras.tree.map_structure(_as_tensor, argument.value)
        arguments.append(value)
        for path, part in keras.tree.flatten_with_path(value):
            if isinstance(part, torch.Tensor) and (argument.kind != "weight" or is_differentiable(part)):
                name = "/".join(str(step) for step in (argument.name, *path) if step != "")
                named.append(_Named(argument.kind, name, part))
    return arguments, named


def _tensor_of(variable: Any) -> torch.Tensor:
    if isinstance(variable, keras.Variable):
        with _keras.uncast():
            variable = variable.value
    return variable  # type: ignore[no-any-return]


def _as_tensor(value: Any) -> Any:
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "biufcV"
    return keras.ops.convert_to_tensor(value) if is_array else value


# The scopes that it runs in ------------------------------------------------------------------------


def _enter(stack: ExitStack, named: list[_Named], originals: Originals) -> None:
    """Let gradients be recorded by all weights, and put everything back at the end."""
    stack.callback(originals.restore)
    stack.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count())))
    stack.enter_context(torch.enable_grad())
    if "torch._dynamo" in sys.modules:  # else nothing is compiled; importing it takes seconds
        stack.enter_context(torch.compiler.set_stance("force_eager"))
    for one in named:
        held = one.kind == "weight" and is_differentiable(one.tensor) and not one.tensor.requires_grad
        if held:
            one.tensor.requires_grad_(True)
            stack.callback(one.tensor.requires_grad_, False)


class _Watch(Watch):
    """Notes Keras variables that nobody named, and gives those without a value one, as they are made in `call`."""

    def __init__(self, subject: Subject, strange: Callable[[torch.Tensor, str], Any] | None = None) -> None:
        super().__init__(subject)
        self._strange = strange
        self._looking = False
        self._met = {id(source.variable): source.variable for source in subject.variables}
        self._fresh: dict[int, torch.Tensor] = {}

    def get_current_value(self, variable: Any) -> Any:
        """As Keras has it."""
        if self._looking:
            return None
        found = super().get_current_value(variable)
        if id(variable) not in self._met:
            self._met[id(variable)] = variable
            self._meet(variable)
        return self._fresh.get(id(variable)) if found is None else found

    def _meet(self, variable: Any) -> None:
        self._looking = True
        try:
            with _keras.uncast():
                tensor = variable.value
        finally:
            self._looking = False
        if not _keras.has_value(variable):
            trains = variable.trainable and is_differentiable(tensor)
            tensor = self._fresh[id(variable)] = torch.nn.Parameter(tensor.detach(), requires_grad=trains)
        if self._strange and isinstance(tensor, torch.nn.Parameter):
            self._strange(tensor, variable.path)
