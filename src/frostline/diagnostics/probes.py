"""Outputs of layers, seen and added to while a loss is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from frostline._keras.calls import mask_of, with_mask
from frostline._keras.methods import patched
from frostline.diagnostics.loss import Question
from frostline.graph.reader import Source, Subject

OUTPUT = ":output"
"""Ends the name of a probe; no address has a colon."""


@dataclass(frozen=True)
class Probes:
    """A zero added to the output of each layer, so that the gradient by it is the gradient by the output.

    Attributes:
        held: The variables, by address of the layer, one for each floating tensor of its output.
    """

    held: Mapping[str, tuple[Any, ...]] = field(repr=False)

    def names(self, address: str) -> tuple[str, ...]:
        """Return the names under which a reader knows the probes of a layer."""
        return tuple(f"{address}{OUTPUT}{place}" for place in range(len(self.held[address])))

    def subject(self, subject: Subject) -> Subject:
        """Return a computation with the probes in it, as further weights that are asked about."""
        by_layer = {layer: address for layer, address in subject.layers.items() if address in self.held}

        def loss(*arguments: Any) -> Any:
            with _outputs(by_layer, self._added):
                return subject.loss(*arguments)

        sources = (
            Source(name, variable)
            for address, variables in self.held.items()
            for name, variable in zip(self.names(address), variables, strict=True)
        )
        return replace(subject, loss=loss, variables=(*subject.variables, *sources))

    def _added(self, address: str, output: Any) -> Any:
        waiting = iter(self.held[address])

        def added(tensor: Any) -> Any:
            if not _is_floating(tensor):
                return tensor
            probe = next(waiting, None)
            fits = probe is not None and tuple(probe.shape) == tuple(tensor.shape)
            return tensor + _cast(probe, tensor) if fits else tensor

        return _mapped(added, output)


def probes(question: Question, subject: Subject) -> Probes:
    """Run the computation once, and make a probe for the output of every layer that is called.

    A layer that is called several times with outputs of one shape has one probe for all of its calls.
    """
    import keras

    shapes: dict[str, tuple[Any, ...]] = {}

    def noted(address: str, output: Any) -> Any:
        flat = [tensor for tensor in keras.tree.flatten(output) if _is_floating(tensor)]
        shapes.setdefault(address, tuple((tuple(t.shape), str(t.dtype)) for t in flat))
        return output

    by_layer = {layer: address for layer, address in subject.layers.items() if address}
    with keras.StatelessScope(collect_losses=True), _outputs(by_layer, noted):
        subject.loss(*(argument.value for argument in subject.arguments))
    return Probes(
        {
            address: tuple(keras.Variable(keras.ops.zeros(shape), dtype="float32") for shape, _ in outputs)
            for address, outputs in shapes.items()
            if outputs
        }
    )


@contextmanager
def _outputs(by_layer: Mapping[int, str], change: Callable[[str, Any], Any]) -> Iterator[None]:
    import keras

    original = keras.Layer.__call__

    def called(layer: Any, *arguments: Any, **options: Any) -> Any:
        output = original(layer, *arguments, **options)
        address = by_layer.get(id(layer))
        return output if address is None else change(address, output)

    with patched(keras.Layer, __call__=called):
        yield


def _is_floating(tensor: Any) -> bool:
    import keras

    return keras.ops.is_tensor(tensor) and "float" in str(keras.backend.standardize_dtype(tensor.dtype))


def _cast(probe: Any, tensor: Any) -> Any:
    import keras

    return keras.ops.cast(probe, keras.backend.standardize_dtype(tensor.dtype))


def _mapped(change: Callable[[Any], Any], output: Any) -> Any:
    """Map over a nest, and keep the masks that Keras notes on tensors."""
    import keras

    def kept(tensor: Any) -> Any:
        changed = change(tensor)
        mask = mask_of(tensor)
        return changed if mask is None or changed is tensor else with_mask(changed, mask)

    return keras.tree.map_structure(kept, output)
