"""What Keras's own tools are told of parametrized weights.

Keras lists the base of a weight and its parts as variables of their own. So a summary would count trained
elements twice, and quantization would turn the one into integers and leave the other. And a file with the
plain weights would hold slots of the parts, which Keras cannot give to an optimizer of plain weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from frostline._keras.layers import whole_weight
from frostline._keras.methods import replace_method, restore_method
from frostline._keras.optimizers import compiled_optimizer
from frostline._keras.variables import has_parts
from frostline.errors import ParametrizationError, listed

_BY = "weights"

counting: ContextVar[bool] = ContextVar("counting", default=False)
"""Whether the base of a weight shows only the elements that no part holds."""


def tell(model: Any, holders: Iterable[Any]) -> None:
    """Let a model, and the layers in it that hold a parametrized weight, know of it."""
    if hasattr(model, "summary"):
        replace_method(model, "summary", _counting_once, by=_BY)
        replace_method(model, "get_compile_config", functools.partial(_without_slots_of_parts, model), by=_BY)
    for layer in (model, *holders):
        replace_method(layer, "quantize", functools.partial(_refusing, layer), by=_BY)


def forget(model: Any, holders: Iterable[Any]) -> None:
    """Undo `tell`, where no parametrized weight is left."""
    for layer in holders:
        if not has_parts(layer):
            restore_method(layer, "quantize", by=_BY)
    if not _parametrized(model):
        restore_method(model, "quantize", by=_BY)
        if hasattr(model, "summary"):
            restore_method(model, "summary", by=_BY)
            restore_method(model, "get_compile_config", by=_BY)


def _parametrized(layer: Any) -> list[Any]:
    return [v for v in layer.trainable_weights + layer.non_trainable_weights if whole_weight(v) is not v]


def _counting_once(summary: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(summary)
    def counted(*arguments: Any, **named: Any) -> Any:
        with _counted_once():
            return summary(*arguments, **named)

    return counted


@contextmanager
def _counted_once() -> Iterator[None]:
    token = counting.set(True)
    try:
        yield
    finally:
        counting.reset(token)


def _without_slots_of_parts(model: Any, settings: Callable[..., Any]) -> Callable[..., Any]:
    """Let files be opened uncompiled, once the optimizer has slots."""

    @functools.wraps(settings)
    def plainly() -> Any:
        built = getattr(compiled_optimizer(model), "built", False)
        return {} if built else settings()

    return plainly


def _refusing(layer: Any, quantize: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(quantize)
    def refused(*arguments: Any, **named: Any) -> Any:
        names = dict.fromkeys(whole_weight(variable).path for variable in _parametrized(layer))
        raise ParametrizationError(
            f"{layer.name!r} holds parametrized weights, whose trained parts quantization would leave out",
            received=listed(names),
            expected="plain weights",
            remedy="train first, call frostline.merge(model), then quantize",
        )

    return refused
