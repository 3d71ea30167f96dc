"""Inference mode for frozen layers, whatever their caller asks for.

Dropout, noise and moving statistics follow the `training` argument, and Keras hands that down from the model:
a frozen block inside a model in training still drops and still counts. So the `call` of each such layer is
wrapped, on the object alone: class, configuration and saved files stay what they were.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from frostline._keras.calls import call_apart
from frostline._keras.methods import replace_method, restore_method, roll_back_method
from frostline.resolution.resolution import LayerMode, Resolution

_asked: ContextVar[Any] = ContextVar("training argument of the outermost frozen layer", default=None)


def set_modes(resolution: Resolution) -> None:
    """Make the layers of a resolution run as its policies say; all others as Keras has them."""
    modes = {mode.address: mode for mode in resolution.modes}
    any_forced = any(mode.forced for mode in resolution.modes)
    for node in resolution.inventory.layers:
        mode = modes.get(node.address)
        if mode is None or not (mode.forced or (mode.keeps_statistics and any_forced)):
            restore_method(node.layer, "call")
        else:
            replace_method(node.layer, "call", functools.partial(_wrapped, mode=mode))
    _set_modes_of_modules(resolution)


def _set_modes_of_modules(resolution: Resolution) -> None:
    """Make modules inside layers run as the policies say, also when their layer is put into training."""
    forced = {mode.address for mode in resolution.module_modes if mode.forced}
    for address in dict.fromkeys(node.layer for node in resolution.inventory.modules):
        layer = resolution.inventory.layer_by_address[address].layer
        inside = [node for node in resolution.inventory.modules if node.layer == address]
        held = [node.handle for node in inside if node.address in forced]
        if held:
            replace_method(layer, "train", functools.partial(_training_but, held=held))
        else:
            restore_method(layer, "train")


def _training_but(train: Callable[..., Any], held: Iterable[Any]) -> Callable[..., Any]:
    @functools.wraps(train)
    def train_but(mode: bool = True) -> Any:
        layer = train(mode)
        for module in held:
            module.training = False
        return layer

    return train_but


_METHODS = ("call", "train")
"""What plans replace on layers; only layers on PyTorch have a `train`."""


def calls_of(layers: Iterable[Any]) -> list[tuple[Any, str, Any]]:
    """Return what stands in the place of each layer's methods now, for `restore_calls`."""
    return [(layer, name, vars(layer).get(name)) for layer in layers for name in _METHODS]


def restore_calls(calls: Iterable[tuple[Any, str, Any]]) -> None:
    """Put back what `calls_of` returned; what somebody other than a plan replaced since then stays."""
    for layer, name, method in calls:
        roll_back_method(layer, name, method)


def _wrapped(call: Callable[..., Any], mode: LayerMode) -> Callable[..., Any]:
    signature = inspect.signature(call)
    place = list(signature.parameters).index("training")
    default = signature.parameters["training"].default
    default = None if default is inspect.Parameter.empty else default

    @functools.wraps(call)
    def in_frozen_block(*args: Any, **kwargs: Any) -> Any:
        given = args[place] if len(args) > place else kwargs.get("training", default)
        # A frozen layer around this one hands False down. A BatchNormalization in it that may move statistics
        # needs what the model was asked for, so the outermost frozen layer remembers that for all within.
        asked = given if _asked.get() is None else _asked.get()
        training = False if mode.forced else asked
        if len(args) > place:
            args = (*args[:place], training, *args[place + 1 :])
        else:
            kwargs["training"] = training
        token = _asked.set(asked)
        try:
            return call_apart(call, *args, **kwargs)
        finally:
            _asked.reset(token)

    return in_frozen_block
