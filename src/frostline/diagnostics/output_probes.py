"""Zeros added to the outputs of layers: the gradient by such a zero is the gradient by the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from frostline._keras.calls import mask_of, with_mask
from frostline._keras.methods import patched
from frostline.graph.reader import Computation, ReadVariable

OUTPUT = ":output"
"""Ends the name of a probe; no address has a colon."""


@dataclass(frozen=True)
class OutputProbes:
    """A zero for the output of each layer.

    Attributes:
        variables: The zeros by address of the layer, one Keras variable for each floating tensor of its
            output.
    """

    variables: Mapping[str, tuple[Any, ...]] = field(repr=False)

    def names(self, address: str) -> tuple[str, ...]:
        """Return the names under which a reader knows the probes of a layer."""
        return tuple(f"{address}{OUTPUT}{place}" for place in range(len(self.variables[address])))

    def added_to(self, computation: Computation) -> Computation:
        """Return a computation with the probes in it, as further weights that are asked about."""
        by_layer = {
            layer: address for layer, address in computation.layers.items() if address in self.variables
        }

        def loss(*arguments: Any) -> Any:
            with _outputs_changed(by_layer, self._added):
                return computation.loss(*arguments)

        sources = (
            ReadVariable(name, variable)
            for address, probes in self.variables.items()
            for name, variable in zip(self.names(address), probes, strict=True)
        )
        return replace(computation, loss=loss, variables=(*computation.variables, *sources))

    def _added(self, address: str, output: Any) -> Any:
        waiting = iter(self.variables[address])

        def added(tensor: Any) -> Any:
            if not _is_floating(tensor):
                return tensor
            probe = next(waiting, None)
            fits = probe is not None and tuple(probe.shape) == tuple(tensor.shape)
            return tensor + _cast(probe, tensor) if fits else tensor

        return _mapped(added, output)


def make_probes(computation: Computation) -> OutputProbes:
    """Run the computation once, and make a probe for the output of every layer that is called.

    A layer that is called several times with outputs of one shape has one probe for all of its calls.
    """
    shapes: dict[str, tuple[Any, ...]] = {}

    def note_shapes(address: str, output: Any) -> Any:
        flat = [tensor for tensor in keras.tree.flatten(output) if _is_floating(tensor)]
        shapes.setdefault(address, tuple((tuple(t.shape), str(t.dtype)) for t in flat))
        return output

    by_layer = {layer: address for layer, address in computation.layers.items() if address}
    with keras.StatelessScope(collect_losses=True), _outputs_changed(by_layer, note_shapes):
        computation.loss(*(argument.value for argument in computation.arguments))
    return OutputProbes(
        {
            address: tuple(keras.Variable(keras.ops.zeros(shape), dtype="float32") for shape, _ in outputs)
            for address, outputs in shapes.items()
            if outputs
        }
    )


@contextmanager
def _outputs_changed(by_layer: Mapping[int, str], change: Callable[[str, Any], Any]) -> Iterator[None]:
    original = keras.Layer.__call__

    def called(layer: Any, *arguments: Any, **options: Any) -> Any:
        output = original(layer, *arguments, **options)
        address = by_layer.get(id(layer))
        return output if address is None else change(address, output)

    with patched(keras.Layer, __call__=called):
        yield


def _is_floating(tensor: Any) -> bool:
    return keras.ops.is_tensor(tensor) and "float" in str(keras.backend.standardize_dtype(tensor.dtype))


def _cast(probe: Any, tensor: Any) -> Any:
    return keras.ops.cast(probe, keras.backend.standardize_dtype(tensor.dtype))


def _mapped(change: Callable[[Any], Any], output: Any) -> Any:
    """Map over a nest, and keep the masks that Keras notes on tensors."""

    def kept(tensor: Any) -> Any:
        changed = change(tensor)
        mask = mask_of(tensor)
        return changed if mask is None or changed is tensor else with_mask(changed, mask)

    return keras.tree.map_structure(kept, output)
