"""The loss that `fit` would compute for a model and a batch, as a computation for the readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import (
    call_for_training,
    compute_loss,
    has_compiled_loss,
    has_own_loss,
    losses_left_unbuilt,
)
from frostline._keras.methods import patched
from frostline._keras.optimizers import loss_scale
from frostline.diagnostics.custom_step import has_custom_step, loss_of_step
from frostline.diagnostics.missing_parts import missing_parts
from frostline.diagnostics.refused import left_framework, refusal_said
from frostline.errors import AuditError, FrostlineError, listed
from frostline.graph.ir import Kind
from frostline.graph.reader import Argument, Computation, ReadVariable
from frostline.model.inventory import Inventory, Weight


@dataclass(frozen=True)
class ModelLoss:
    """The loss of a model on one batch.

    Attributes:
        model: The model.
        inventory: Its weights and layers.
        x: A batch of inputs, as `model.fit` takes it.
        y: Its targets, or None.
        sample_weight: Weights of its samples, or None.
        loss: A function of targets and predictions, or the name of one of Keras's, in place of the
            compiled one.
        penalties: Whether penalties are part of it: regularizers of weights and activities, and what layers
            add by `add_loss`.
        added: Whether what layers add is part of it all the same; it is where the model has no other loss.
        scale: What it is multiplied by, as a training step does in half precision.
        left_out: What of these there was, where they are not part of it; filled when it is computed.
        stopped: What a training step of the model's own raised behind a gradient that it took, in words:
            whatever it takes later was not seen.
        several: How many losses such a step takes gradients of, where there is more than one.
    """

    model: Any = field(repr=False)
    inventory: Inventory = field(repr=False)
    x: Any = field(repr=False)
    y: Any = field(default=None, repr=False)
    sample_weight: Any = field(default=None, repr=False)
    loss: Any = None
    penalties: bool = True
    added: bool = False
    scale: float = 1.0
    stopped: list[str] = field(default_factory=list, repr=False, compare=False)
    several: set[int] = field(default_factory=set, repr=False, compare=False)
    left_out: set[str] = field(default_factory=set, repr=False, compare=False)

    def computation(self, asked: Iterable[str], *, routes_only: bool = False) -> Computation:
        """Return the computation, with the weights at these addresses as what is asked about.

        Args:
            asked: The addresses.
            routes_only: Whether nothing else is of interest.

        Raises:
            AuditError: The model has no loss.
        """
        self._require_loss()
        wanted = set(asked)

        def sources(weight: Weight) -> Iterator[ReadVariable]:
            kind: Kind = "weight" if weight.address in wanted else "state"
            for name, variable in weight.targets:
                yield ReadVariable(name, variable, kind)
            if weight.combination is not None:
                yield ReadVariable(f"{weight.address}:base", weight.storage, "state")

        return Computation(
            self._computed,
            # What is held beside Keras's variables is untracked, as far as training goes.
            tuple(source for weight in self.inventory if not weight.is_held for source in sources(weight)),
            tuple(Argument(tensors(part), "input", name) for name, part in self._parts()),
            {id(node.layer): node.address for node in self.inventory.layers},
            routes_only,
        )

    def with_added(self) -> ModelLoss:
        """Return the same with what layers add, and still without regularizers."""
        return replace(self, added=True)

    @property
    def scale_in_training(self) -> float:
        """What a training step multiplies it by; one of the model's own does so by itself, and is seen so."""
        own = self.loss is None and has_custom_step(self.model)
        return 1.0 if own else loss_scale(self.model)

    def _parts(self) -> Iterable[tuple[str, Any]]:
        return (("x", self.x), ("y", self.y), ("sample_weight", self.sample_weight))

    def _computed(self, *parts: Any) -> Any:
        without = nullcontext() if self.penalties else self._without_penalties()
        with refusal_said(self.model, self.loss), losses_left_unbuilt(self.model), without:
            value = self._compute(*parts)
        return value if self.scale == 1 else value * self.scale

    @contextmanager
    def _without_penalties(self) -> Iterator[None]:
        every = {id(v): v for w in self.inventory for v in (w.variable, *(part for _, part in w.targets))}
        holders = [(one, "regularizer") for one in every.values()]
        holders += [(node.layer, "activity_regularizer") for node in self.inventory.layers]
        kept = [
            (one, name, value) for one, name in holders if (value := getattr(one, name, None)) is not None
        ]
        self.left_out.update(name for _, name, _ in kept)
        try:
            for one, name, _ in kept:
                setattr(one, name, None)
            with self._without_added_losses():
                yield
        finally:
            for one, name, value in kept:
                setattr(one, name, value)

    @contextmanager
    def _without_added_losses(self) -> Iterator[None]:
        """Leave out what layers add, unless a model has no other loss: then it is what it learns by."""
        if self.added or (self.loss is None and not has_compiled_loss(self.model)):
            yield
            return
        usual = keras.Layer.losses

        def none(layer: Any) -> list[Any]:
            if usual.fget(layer):
                self.left_out.add("add_loss")
            return []

        with patched(keras.Layer, losses=property(none)):
            yield

    def _compute(self, x: Any, y: Any, sample_weight: Any) -> Any:
        if self.loss is None and has_custom_step(self.model):
            with self._missing_named(x=x, y=y):
                return loss_of_step(self.model, x, y, sample_weight, self.stopped, self.several)
        with self._missing_named(x=x):
            predicted = call_for_training(self.model, x)
        with self._missing_named(y=y), self._lengths_named(x, y, sample_weight):
            return self._loss_of(x, y, predicted, sample_weight)

    @contextmanager
    def _missing_named(self, **given: Any) -> Iterator[None]:
        """Where something raises for want of inputs or targets, say which are missing.

        A loss may do without targets: only that it raises shows that it does not.
        """
        try:
            yield
        except FrostlineError:
            raise
        except Exception as error:
            missing = missing_parts(self.model, **given)
            if not missing or left_framework(error):
                raise
            raise AuditError(
                f"the loss of the model {self.model.name!r} cannot be computed without {listed(missing)}",
                received=f"no {listed(missing)}",
                expected="one batch, as model.fit takes it: x, and y where the loss needs targets",
                remedy=f"pass {listed(missing)}; on the command line, data that has it (--target names "
                "a column or an array)",
            ) from error

    @contextmanager
    def _lengths_named(self, x: Any, y: Any, sample_weight: Any) -> Iterator[None]:
        """Where the loss raises and its arguments have different numbers of samples, say so."""
        try:
            yield
        except FrostlineError:
            raise
        except Exception as error:
            counts = _samples_of(x=x, y=y, sample_weight=sample_weight)
            if len(set(counts.values())) < 2 or left_framework(error):
                raise
            raise AuditError(
                f"the loss of the model {self.model.name!r} cannot be computed",
                received=listed(f"{name} of {count} samples" for name, count in counts.items()),
                expected="one batch: a target, and a weight if any, for each sample",
                remedy="pass the targets of these very inputs, as x[:n], y[:n]",
            ) from error

    def _loss_of(self, x: Any, y: Any, predicted: Any, sample_weight: Any) -> Any:
        if self.loss is not None:
            extra = getattr(self.model, "losses", ())
            value = self._given_loss(y, predicted, sample_weight)
            return sum((keras.ops.sum(one) for one in extra), start=value)
        if not has_own_loss(self.model) and not self.model.losses:
            raise self._no_loss("a model that compile() was given no loss for, and no loss")
        return compute_loss(self.model, x, y, predicted, sample_weight)

    def _given_loss(self, y: Any, predicted: Any, sample_weight: Any) -> Any:
        """Compute the loss that was given as `compile` would have it: a mean, with masks and weights."""
        function = keras.losses.get(self.loss)
        if isinstance(self.loss, str | keras.losses.Loss) and len(keras.tree.flatten(predicted)) > 1:
            raise AuditError(
                f"the model {self.model.name!r} has several outputs, and loss={self.loss!r} is for one",
                expected="a function of all targets and all predictions",
                remedy="loss=lambda y, predicted: ..., or compile the model with a loss for each output",
            )
        if y is None:
            return keras.ops.mean(function(y, predicted))

        class Given(keras.losses.Loss):  # type: ignore[misc]  # Keras ships no types
            def call(self, y_true: Any, y_pred: Any) -> Any:
                return function(y_true, y_pred)

        given = function if isinstance(function, keras.losses.Loss) else Given()
        return given(y, predicted, sample_weight)

    def _require_loss(self) -> None:
        if self.loss is not None or getattr(self.model, "compiled", False):
            return
        raise self._no_loss("a model that is not compiled, and no loss")

    def _no_loss(self, received: str) -> AuditError:
        return AuditError(
            f"the model {self.model.name!r} has no loss",
            received=received,
            expected="the loss that it is trained with",
            remedy='compile the model with one, or say which: loss="mse", or loss=lambda y, predicted: ...',
        )


def _samples_of(**parts: Any) -> dict[str, int]:
    """Return how many samples the first array of each part has, of those that have any."""
    shapes = {
        name: [tuple(one.shape) for one in keras.tree.flatten(part) if hasattr(one, "shape")]
        for name, part in parts.items()
    }
    return {name: int(found[0][0]) for name, found in shapes.items() if found and found[0]}


def tensors(part: Any) -> Any:
    """Turn the arrays in a nest into tensors. Text stays as it is, and so does what is a tensor already."""

    def tensor(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.number | list) and np.asarray(value).dtype.kind in "biufc":
            return keras.ops.convert_to_tensor(value)
        return value

    return keras.tree.map_structure(tensor, part)
