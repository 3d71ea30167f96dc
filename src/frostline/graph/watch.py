"""Running a Keras computation without writing to a variable, noting the layers it calls and what it reads.

Loaded by the readers only, since it needs the classes of Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import CodeType
from typing import Any

import keras

from frostline._keras.variables import has_value
from frostline.graph.reader import Computation, UnknownLayer, Write
from frostline.graph.source_lines import users_line_now


def is_layer_call(code: CodeType) -> bool:
    """Whether a frame of the stack is the call of a layer, as it runs inside a `Watch`."""
    return code.co_filename == __file__ and code.co_name == "call_layer"


class Watch(keras.StatelessScope):  # type: ignore[misc]
    """A scope in which Keras variables keep their values, whatever is assigned to them.

    Use it around the computation. Assignments are seen by what follows inside the scope, as Keras has it.

    Args:
        computation: Whose layers are known.
        values: What variables are to read as inside, as pairs of a `keras.Variable` and a tensor.
        around: Given the address of a layer, the scope to call it in (a framework's own name scope).
    """

    def __init__(
        self,
        computation: Computation,
        values: Iterable[tuple[Any, Any]] = (),
        around: Callable[[str], AbstractContextManager[Any]] | None = None,
    ) -> None:
        super().__init__(state_mapping=list(values), collect_losses=True)
        self._around = around or (lambda address: nullcontext())
        self._addresses = dict(computation.layers)
        self._knows_layers = bool(computation.layers)
        self._kept_alive: list[Any] = []
        self._filled: dict[int, Any] = {}
        self._being_read: set[int] = set()
        self._stack: list[tuple[str, Any]] = []
        self.layers: dict[str, Any] = {}
        """Every layer that was called, by its address."""
        self.writes: list[Write] = []
        self.unknown_layers: list[UnknownLayer] = []
        self.read: dict[int, tuple[Any, str | None]] = {}
        """Every Keras variable that was read, by its `id`: the variable, and the layer that read it first."""
        self.fill: Callable[[Any], Any] | None = None
        """Given a variable that a layer made during the computation, the value to read for it."""
        self.failed_in: str | None = None
        """Address of the innermost layer whose call raised."""

    @property
    def layer(self) -> str | None:
        """Address of the innermost layer that is being called now, None outside of any."""
        return self._stack[-1][0] if self._stack else None

    @property
    def called(self) -> Any:
        """The innermost layer that is being called now, None outside of any."""
        return self._stack[-1][1] if self._stack else None

    def get_current_value(self, variable: Any) -> Any:
        """Return what a variable reads as here; called for each variable that is read.

        Keras answers None for one that it was given no value for. Its regularizers cannot do with that.
        """
        key = id(variable)
        # Reading `variable.value` below comes here again; None lets Keras give its own value.
        if key in self._being_read:
            return None
        self.read.setdefault(key, (variable, self.layer))
        if key in self.state_mapping:
            return self.state_mapping[key]
        self._being_read.add(key)
        try:
            if has_value(variable):
                return variable.value
            self._filled[key] = self.fill(variable) if self.fill else variable.value
        finally:
            self._being_read.discard(key)
        self.state_mapping[key] = self._filled[key]
        return self._filled[key]

    def substitute(self, values: Iterable[tuple[Any, Any]]) -> None:
        """Let variables read as these tensors, inside the scope, from now on."""
        for variable, value in values:
            self.state_mapping[id(variable)] = value

    def value_of(self, variable: Any) -> Any:
        """Return what a variable read as that nobody assigned to, also after the scope was left."""
        return self._filled.get(id(variable), variable.value)

    def add_update(self, update: tuple[Any, Any]) -> None:
        """As Keras has it; called for each variable that is assigned to."""
        self.writes.append(Write(update[0], self.layer, users_line_now()))
        super().add_update(update)

    def __enter__(self) -> Watch:
        self._patched = self._calls_followed()
        self._patched.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patched.__exit__(*error)

    @contextmanager
    def _calls_followed(self) -> Iterator[None]:
        original = keras.Layer.__call__

        def call_layer(layer: Any, *arguments: Any, **options: Any) -> Any:
            address = self._address_of(layer)
            self.layers.setdefault(address, layer)
            self._stack.append((address, layer))
            try:
                with self._around(address):
                    return original(layer, *arguments, **options)
            except BaseException:
                self.failed_in = self.failed_in or address
                raise
            finally:
                self._stack.pop()

        keras.Layer.__call__ = call_layer
        try:
            yield
        finally:
            keras.Layer.__call__ = original

    def _address_of(self, layer: Any) -> str:
        address = self._addresses.get(id(layer))
        if address is None:
            address = f"{self.layer}/{layer.name}" if self.layer else str(layer.name)
            self._addresses[id(layer)] = address
            self._kept_alive.append(layer)
            if self._knows_layers:
                self.unknown_layers.append(UnknownLayer(layer, address, users_line_now()))
        return address
