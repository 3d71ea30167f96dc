"""The gradient graph of a computation on PyTorch, and its gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import torch
from torch.utils import checkpoint

from frostline._keras.calls import uncast
from frostline._keras.variables import to_numpy
from frostline.backends.torch.recorder import CallRecorder
from frostline.backends.torch.restore import Originals, Restoring
from frostline.backends.torch.values import is_differentiable, tensors_in
from frostline.errors import said, text_of
from frostline.graph.ir import Kind
from frostline.graph.reader import Computation, Measured, Trace, require_loss
from frostline.graph.source_lines import run_user_code
from frostline.graph.watch import Watch


@dataclass(frozen=True, slots=True)
class Named:
    """A tensor that the computation names."""

    kind: Kind
    name: str
    tensor: torch.Tensor


def read(computation: Computation) -> Trace:
    """Run the computation once, and note what runs.

    Functions compiled by `torch.compile` run as plain Python meanwhile. Captured tensors that are written to
    get their values back at the end, and so do the random generators.
    """
    arguments, named = tensors_of(computation)
    originals = Originals()
    recorder = CallRecorder(lambda: watch.layer, lambda tensor: _name_of_unknown(tensor, watch), originals)
    watch = Watch(computation, around=recorder.in_layer)
    watch.fill = _first_value
    with ExitStack() as stack:
        # What was assigned to statistics hangs on the record that a backward pass would need.
        stack.callback(watch.state_mapping.clear)
        stack.callback(recorder.close)
        stack.enter_context(sandboxed(named, originals))
        for one in named:
            recorder.builder.name(one.tensor, one.kind, one.name)
        with watch, recorder:
            loss = run_user_code(computation.loss, *arguments)
        graph, unasked = recorder.graph(require_loss(loss)), recorder.builder.unasked
    branches = tuple(dict.fromkeys(recorder.branches))
    return Trace(graph, tuple(watch.writes), tuple(watch.unknown_layers), recorder.error, unasked, branches)


def measure(computation: Computation) -> Measured:
    """Compute the loss and its gradients once, and leave every variable and every tensor as it was."""
    arguments, named = tensors_of(computation)
    weights = {one.name: one.tensor for one in named if one.kind == "weight"}
    watch = Watch(computation)
    watch.fill = _first_value
    originals = Originals()
    with sandboxed(named, originals):
        try:
            with watch, Restoring(originals):
                loss = require_loss(computation.loss(*arguments))
        except RuntimeError as error:
            if "requires grad" not in text_of(error):  # nothing to do with gradients: the user's own
                raise
            return Measured(float("nan"), {}, text_of(error).strip() or said(error))
        if not isinstance(loss, torch.Tensor):
            return Measured(float(np.sum(loss)), dict.fromkeys(weights))
        try:
            gradients = _gradients(loss, weights)
        except RuntimeError as error:
            return Measured(float("nan"), {}, text_of(error).strip() or said(error))
        return Measured(float(loss.detach().sum()), gradients)


def _gradients(loss: torch.Tensor, weights: dict[str, torch.Tensor]) -> dict[str, npt.NDArray[Any] | None]:
    found: dict[str, npt.NDArray[Any] | None] = dict.fromkeys(weights)
    wanted = {name: tensor for name, tensor in weights.items() if is_differentiable(tensor)}
    if loss.requires_grad and wanted:
        given = torch.autograd.grad(loss.sum(), list(wanted.values()), allow_unused=True)
        for name, gradient in zip(wanted, given, strict=True):
            if gradient is not None:
                found[name] = _array(gradient)
    return found


def _array(gradient: torch.Tensor) -> npt.NDArray[Any]:
    dense = gradient.to_dense()
    if dense.dtype == torch.bfloat16:
        return to_numpy(dense)
    return np.array(dense.numpy(force=True))  # also of the zeros that PyTorch has not made yet


# What the computation gets -------------------------------------------------------------------------


def tensors_of(computation: Computation) -> tuple[list[Any], list[Named]]:
    """Return the arguments of the computation, arrays as tensors, and all tensors that have a name."""
    named = [Named(source.kind, source.name, _tensor_of(source.variable)) for source in computation.variables]
    arguments = []
    for argument in computation.arguments:
        value = keras.tree.map_structure(_as_tensor, argument.value)
        arguments.append(value)
        for path, part in keras.tree.flatten_with_path(value):
            if isinstance(part, torch.Tensor) and (argument.kind != "weight" or is_differentiable(part)):
                name = "/".join(str(step) for step in (argument.name, *path) if step != "")
                named.append(Named(argument.kind, name, part))
    return arguments, named


def _tensor_of(variable: Any) -> torch.Tensor:
    if isinstance(variable, keras.Variable):
        with uncast():
            variable = variable.value
    return variable  # type: ignore[no-any-return]


def _as_tensor(value: Any) -> Any:
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "biufcV"
    return keras.ops.convert_to_tensor(value) if is_array else value


def _name_of_unknown(tensor: torch.Tensor, watch: Watch) -> str:
    """Return what a variable that the computation does not name is called: as Keras does, or its layer."""
    with uncast():
        held = (variable for variable, _ in watch.read.values() if watch.value_of(variable) is tensor)
        variable = next(held, None)
    if variable is not None:
        return str(variable.path)
    if watch.called is None or not tensor.requires_grad:
        return ""
    attributes = {**vars(watch.called), **dict(watch.called.named_parameters())}
    name = next((name for name, value in attributes.items() if value is tensor), "")
    return f"{watch.layer}/{name.replace('.', '/')}" if watch.layer and name else name


# The scopes that it runs in ------------------------------------------------------------------------


@contextmanager
def sandboxed(named: list[Named], originals: Originals) -> Iterator[None]:
    """Let gradients be recorded for all weights, and put everything back at the end."""
    with ExitStack() as stack:
        stack.callback(originals.restore)
        stack.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count())))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_checkpoints_entered())
        if "torch._dynamo" in sys.modules:  # else nothing is compiled; importing it takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        # What is frozen by its flag leaves no record, and the question may be about it.
        for one in named:
            if one.kind == "weight" and is_differentiable(one.tensor) and not one.tensor.requires_grad:
                one.tensor.requires_grad_(True)
                stack.callback(one.tensor.requires_grad_, False)
        yield


@contextmanager
def _checkpoints_entered() -> Iterator[None]:
    """Let reentrant checkpoints run as the other kind, which can be followed and asked for chosen gradients.

    What the reentrant kind does otherwise stays: where no argument requires a gradient, there is none.
    """

    def entered(function: Any, preserve: bool, *arguments: Any) -> Any:
        if any(tensor.requires_grad for tensor in tensors_in(arguments)):
            return checkpoint.checkpoint(
                function, *arguments, use_reentrant=False, preserve_rng_state=preserve
            )
        with torch.no_grad():
            return function(*arguments)

    checkpoint.CheckpointFunction.apply = staticmethod(entered)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del checkpoint.CheckpointFunction.apply


def _first_value(variable: keras.Variable) -> torch.Tensor:
    """Return a first value for a variable that a layer makes during the computation."""
    with uncast():
        value = variable.value.detach()
    return torch.nn.Parameter(value, requires_grad=variable.trainable and is_differentiable(value))
