"""All that an audit knows of a model: `inspect_model` finds it out, the rules read it."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from frostline._keras.optimizers import (
    compiled_optimizer,
    optimizer_chain,
    optimizer_targets,
)
from frostline.backends import dispatch
from frostline.diagnostics import remedies
from frostline.diagnostics.config_round_trip import RoundTrip, round_trip
from frostline.diagnostics.diagnosis import Diagnosis
from frostline.diagnostics.explanation import Explanation, Status, said_at
from frostline.diagnostics.model_loss import ModelLoss
from frostline.diagnostics.not_finite import find_not_finite
from frostline.diagnostics.planned_training import PlannedTraining, under_plan
from frostline.diagnostics.prediction import prediction
from frostline.diagnostics.targets import Target, targets_of, with_targets_in_range
from frostline.diagnostics.zero_factors import zero_at_the_start
from frostline.diagnostics.zeroes import Zeroes, find_zeroes
from frostline.graph.ir import Leaf, Node, Where
from frostline.graph.not_finite import NotFinite
from frostline.graph.reader import Measured, Trace, Write, norm
from frostline.graph.zero_gradient import Zeroing
from frostline.model.checks import require_keras_model
from frostline.model.inventory import Inventory, LayerNode, Weight
from frostline.optimizers.rebuild import strangers_in
from frostline.plan.plan import Plan
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve

ONLY_PENALTY = "only its penalty moves it"
"""Of a weight that no gradient of the loss of the data reaches."""

_BEST: tuple[Status, ...] = ("not_finite", "trains", "zero", "cut", "unused")
"""What may be said of a weight that is to train, and of its parts what decides first."""


@dataclass(frozen=True)
class Inspection:
    """One model with one batch: what is planned, its gradient graph and its gradients.

    Attributes:
        model: The model.
        loss: The loss on the batch.
        planned: Which weights are to train.
        trace: What the reader of the backend saw.
        measured: The gradients of the loss without penalties, on the batch; None where only the structure
            was asked about, or where nothing trains.
        starting: Names of what trains whose gradient is zero at the start only, beside a factor of zero.
        not_finite: Where the numbers of the loss or of a gradient stop being finite, where they do.
        total: The same as `measured` with penalties; None where there are none.
        targets: The targets of each output, as they were given.
        zeroes: Where gradients become zero on their way back.
        overflowing_scale: What an optimizer multiplies the loss by, where that alone makes gradients
            infinite; else 0.
    """

    model: Any = field(repr=False)
    loss: ModelLoss = field(repr=False)
    planned: PlannedTraining = field(repr=False)
    trace: Trace = field(repr=False)
    measured: Measured | None = field(default=None, repr=False)
    starting: frozenset[str] = frozenset()
    not_finite: NotFinite | None = None
    total: Measured | None = field(default=None, repr=False)
    targets: list[Target] = field(default_factory=list, repr=False)
    zeroes: Zeroes = field(default_factory=Zeroes, repr=False)
    overflowing_scale: float = 0.0

    @property
    def inventory(self) -> Inventory:
        """The weights and layers of the model."""
        return self.planned.inventory

    @cached_property
    def predicted(self) -> Any:
        """What the model makes of the inputs, as in use; nothing of it is kept.

        Raises:
            Exception: Whatever the model raises where it does not train.
        """
        return prediction(self.model, self.loss.x)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the gradient graph says of each weight that is to train."""
        return Diagnosis(self.trace, self.measured, (), self.starting, self.not_finite, of_model=True)

    @cached_property
    def written(self) -> Mapping[str, Write]:
        """What a forward pass in training assigns to, by address: weights, statistics, seeds."""
        by_id = {id(w.variable): w.address for w in self.inventory.of_role("weight", "statistic", "seed")}
        return {
            by_id[id(write.variable)]: write for write in self.trace.writes if id(write.variable) in by_id
        }

    @cached_property
    def random(self) -> frozenset[str]:
        """Addresses of the layers that draw random numbers in training."""
        drawn = {w.layer for w in self.inventory.of_role("seed") if w.address in self.written}
        nodes = self.trace.graph.nodes
        # Keras on PyTorch leaves dropout to PyTorch's own generator.
        dropped = {n.layer for n in nodes if isinstance(n, Node) and n.layer and n.operation == "dropout"}
        return frozenset(drawn | dropped)

    @cached_property
    def foreign(self) -> tuple[Leaf, ...]:
        """Variables that the loss is computed from and that the model does not own."""
        reaches = self.diagnosis.flow.reaches
        return tuple(leaf for index, leaf in self.trace.graph.leaves("foreign") if reaches[index])

    @cached_property
    def in_optimizer(self) -> frozenset[str] | None:
        """Addresses of the weights that the optimizer was built for; None where it is not built."""
        optimizer = compiled_optimizer(self.model)
        if optimizer is None or not optimizer.built:
            return None
        targets = {id(v) for v in optimizer_targets(optimizer_chain(optimizer)[-1])}
        return frozenset(w.address for w in self.weights if targets.issuperset(id(v) for _, v in w.targets))

    @cached_property
    def strangers(self) -> tuple[str, ...]:
        """What the optimizer was built for and the model does not have, by path and shape."""
        optimizer = compiled_optimizer(self.model)
        if optimizer is None or not optimizer.built:
            return ()
        roles = self.inventory.of_role("weight", "statistic")
        addresses = {id(v): a for w in roles for a, v in ((w.address, w.variable), *w.targets)}
        return tuple(strangers_in(optimizer, addresses))

    @property
    def compiled(self) -> frozenset[str] | None:
        """Addresses of what the compiled training function trains; None where none was compiled."""
        return self.in_optimizer if getattr(self.model, "train_function", None) is not None else None

    @cached_property
    def inside_frozen(self) -> frozenset[str]:
        """Addresses of the layers inside frozen parts, those without weights between frozen ones included."""
        trained = self.planned.trained
        plan = Plan().train(lambda weight: weight.address in trained, optional=True)
        return frozenset(mode.address for mode in resolve(self.model, plan).modes)

    @cached_property
    def custom_layers(self) -> tuple[LayerNode, ...]:
        """The layers, the model included, whose classes are neither Keras's nor Frostline's."""
        known = ("keras.", "keras_hub.", "frostline.layers.", "frostline.demo.")
        return tuple(n for n in self.inventory.layers if not type(n.layer).__module__.startswith(known))

    @cached_property
    def round_trip(self) -> RoundTrip:
        """How the model comes back from its own configuration."""
        custom, foreign = bool(self.custom_layers), bool(self.foreign)
        return round_trip(self.model, self.inventory, self.loss.x, compare=custom, untracked=foreign)

    @cached_property
    def holding_frozen(self) -> frozenset[str]:
        """Addresses of the layers with weights of their own, none of which is to train."""
        weights = {w.address for w in self.weights}
        return frozenset(
            node.address
            for node in self.inventory.layers
            if not weights.isdisjoint(node.own) and self.planned.trained.isdisjoint(node.own)
        )

    @cached_property
    def depends(self) -> bytearray:
        """For each node of the graph 1 where it is computed from a weight that is to train."""
        graph = self.trace.graph
        found = bytearray(len(graph.nodes))
        waiting = [index for index, _ in graph.leaves("weight")]
        while waiting:
            node = waiting.pop()
            if not found[node]:
                found[node] = 1
                waiting.extend(graph.edges[edge].consumer for edge in graph.used_by[node])
        return found

    @cached_property
    def backward(self) -> tuple[int, ...]:
        """The nodes that a gradient is propagated back through, on its way to a weight that is to train."""
        live, depends = self.diagnosis.flow.live, self.depends
        return tuple(index for index in range(len(live)) if live[index] and depends[index])

    @property
    def normalizes_batches(self) -> bool:
        """Whether there is a BatchNormalization in the model."""
        return any("BatchNormalization" in node.types for node in self.inventory.layers)

    def called_at(self, layer: str, operation: str = "") -> Where | None:
        """Return the user's line at which a layer is called, or an operation; None where none is known.

        Args:
            layer: Address of the layer; "" for any.
            operation: Name of the operation; "" for any.
        """
        of_layer = (n for n in self.trace.graph.nodes if isinstance(n, Node) and layer in ("", n.layer))
        return next((n.where for n in of_layer if n.where and operation in ("", n.operation)), None)

    @cached_property
    def computing_layers(self) -> Mapping[str, int]:
        """How many operations each layer adds to the loss."""
        nodes, reaches = self.trace.graph.nodes, self.diagnosis.flow.reaches
        return Counter(n.layer for i, n in enumerate(nodes) if isinstance(n, Node) and n.layer and reaches[i])

    @cached_property
    def prefix_layers(self) -> Mapping[str, int]:
        """The same for the layers that depend on nothing that trains, and give the same at each call.

        So none that draws at random, assigns to a variable, makes layers or variables while it is called, or
        stands behind one that does.
        """
        graph = self.trace.graph
        touched = {n.layer for i, n in enumerate(graph.nodes) if isinstance(n, Node) and self.depends[i]}
        kept = [a for a in self.computing_layers if a not in touched and a not in self._behind_unsteady]
        return {address: self.computing_layers[address] for address in kept}

    @cached_property
    def _behind_unsteady(self) -> frozenset[str]:
        """The layers that may give something else at each call, and those that are computed from them."""
        graph, trace = self.trace.graph, self.trace
        unsteady = {*self.random, *(write.layer for write in trace.writes)}
        unsteady |= {unknown.address for unknown in trace.unknown_layers}
        waiting = [i for i, n in enumerate(graph.nodes) if isinstance(n, Node) and n.layer in unsteady]
        waiting += [index for index, _ in graph.leaves("foreign")]
        met: set[int] = set()
        while waiting:
            node = waiting.pop()
            if node not in met:
                met.add(node)
                waiting.extend(graph.edges[edge].consumer for edge in graph.used_by[node])
        return frozenset(n.layer for i in met if isinstance(n := graph.nodes[i], Node) and n.layer)

    @cached_property
    def weights(self) -> tuple[Weight, ...]:
        """The weights, without statistics."""
        return self.inventory.of_role("weight")

    @cached_property
    def statuses(self) -> Mapping[str, Status]:
        """The status of each weight, of each statistic that is to stay fixed, and of foreign variables."""
        found: dict[str, Status] = {weight.address: self.status_of(weight) for weight in self.weights}
        for weight in self.inventory.of_role("statistic"):
            if weight.address not in self.planned.moving:
                found[weight.address] = self._held_status(weight.address)
        return found | {leaf.name: "untracked" for leaf in self.foreign}

    def status_of(self, weight: Weight) -> Status:
        """Return the status of one weight; if it is to train, it must have been asked about."""
        address = weight.address
        trains = address in self.planned.trained
        compiled = self.compiled
        # A plan renews what was compiled before it; flags set by hand do not.
        changed = compiled is not None and trains != (address in compiled)
        obeyed = not trains and dispatch.train_step().OBEYS_FREEZING
        if self.planned.resolution is None and changed and not obeyed:
            return "stale"
        if not trains:
            return self._held_status(address)
        status = self.diagnosis.status(self._deciding_part(weight))
        return "partial" if status == "trains" and weight.part else status

    def _held_status(self, address: str) -> Status:
        """Return the status of what no optimizer is to change."""
        if address in self.planned.assigned:
            return "assigned"
        return "leaks" if address in self.written else "frozen"

    def reach_of(self, address: str) -> Status:
        """Return what the graph says of a weight that was asked about, whether or not it is to train."""
        return self.diagnosis.status(self._deciding_part(self.inventory.by_address[address]))

    def explain(self, address: str) -> Explanation:
        """Explain a weight that was asked about."""
        weight = self.inventory.by_address[address]
        found = replace(self.diagnosis.explain(self._deciding_part(weight)), address=address)
        if found.status == "zero" and (cause := self.cause_of_zero(address)) is not None:
            note, remedy = said_at(cause.fact, cause.layer, cause.where), remedies.of_zero(cause)
            found = replace(found, note=note, remedy=remedy)
        if found.status in ("cut", "unused", "zero") and self._is_penalized(weight):
            found = replace(found, note="; ".join(filter(None, (found.note, ONLY_PENALTY))))
        if not weight.part:
            return found
        status: Status = "partial" if found.status == "trains" else found.status
        note = "; ".join(filter(None, (f"what trains of it: {weight.combination.how}", found.note)))
        return replace(found, status=status, gradient_norm=self.gradient_norm(weight), note=note)

    def cause_of_zero(self, address: str) -> Zeroing | None:
        """Return the operation that takes the whole gradient away from a weight; None where none was seen."""
        return self.zeroes.cause_for([name for name, _ in self.inventory.by_address[address].targets])

    def _is_penalized(self, weight: Weight) -> bool:
        gradients = self.total.gradients if self.total else {}
        found = (gradients.get(name) for name, _ in weight.targets)
        return any(one is not None and bool(one.any()) for one in found)

    def gradient_norm(self, weight: Weight) -> float | None:
        """Return the norm of the gradient of a weight, that of all its parts together, None without one."""
        gradients = self.measured.gradients if self.measured else {}
        sizes = [norm(gradients.get(name)) for name, _ in weight.targets]
        known = [size for size in sizes if size is not None]
        return math.hypot(*known) if known else None

    def _deciding_part(self, weight: Weight) -> str:
        """Return the name of the part of a weight that has the best status, its own where it has no parts.

        A weight of which one part trains is not cut, whatever becomes of its other parts.
        """
        names = [name for name, _ in weight.targets]
        return min(names, key=lambda name: (_BEST.index(self.diagnosis.status(name)), name in self.starting))


@contextmanager
def inspect_model(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    plan: Plan | Resolution | None = None,
    loss: Any = None,
    sample_weight: Any = None,
    asked: tuple[str, ...] | None = None,
    measured: bool = True,
    routes_only: bool = False,
    closely: bool = True,
    added: bool = False,
) -> Iterator[Inspection]:
    """Trace the loss of a model and measure its gradients; inside the block the plan's flags are set.

    Args:
        model: As for `audit`.
        x: As for `audit`.
        y: As for `audit`.
        plan: As for `audit`.
        loss: As for `audit`.
        sample_weight: As for `audit`.
        asked: Addresses of the weights to ask about; else those that are to train.
        measured: Whether to compute the gradients, too.
        routes_only: Whether all that depends on none of these weights may be left out of the graph.
        closely: Whether to measure more where that tells more: a gradient of zero that is one at the start
            only, and what penalties move.
        added: Whether what layers add by `add_loss` counts as the loss of the data.
    """
    require_model(model)
    with _random_state_kept(), under_plan(model, plan) as planned, planned.inventory.held_state_kept():
        targets = targets_of(model, y, loss)
        seen_y = with_targets_in_range(y, targets)
        model_loss = ModelLoss(
            model, planned.inventory, x, seen_y, sample_weight, loss, penalties=False, added=added
        )
        wanted = planned.trained if asked is None else asked
        trace = dispatch.trace(model_loss.computation(wanted, routes_only=routes_only))
        found = Inspection(model, model_loss, planned, trace, targets=targets)
        yield _looked_into(found, wanted, closely) if measured and wanted else found


def _looked_into(inspection: Inspection, wanted: Collection[str], closely: bool) -> Inspection:
    """Measure the loss and its gradients, and look into what is strange about them."""
    planned = inspection.planned
    scaled, gradients = measured_as_trained(inspection.loss, wanted)
    computation = scaled.computation(wanted)
    not_finite = find_not_finite(computation, gradients)
    overflowing = scaled.scale > 1 and not gradients.is_finite and not gradients.error
    measured = replace(
        inspection,
        measured=gradients.divided_by(scaled.scale),
        not_finite=not_finite,
        overflowing_scale=scaled.scale if overflowing else 0.0,
    )
    if not closely:
        return measured
    starting = zero_at_the_start(computation, gradients, _names(planned, planned.trained))
    zeroes = find_zeroes(computation, gradients, _names(planned, wanted), starting)
    measured = replace(measured, starting=starting, zeroes=zeroes)
    if not inspection.loss.left_out:
        return measured
    penalized, total = measured_as_trained(replace(scaled, penalties=True), wanted)
    not_finite = not_finite or find_not_finite(penalized.computation(wanted), total)
    return replace(measured, total=total.divided_by(penalized.scale), not_finite=not_finite)


def measured_as_trained(model_loss: ModelLoss, wanted: Collection[str]) -> tuple[ModelLoss, Measured]:
    """Measure a loss as a training step in half precision scales it, and return the loss so scaled, too.

    What overflows is tried with less, as the optimizer does after a step that it leaves out for that. Where
    it would leave out more steps than it takes from its usual scale to none, that is what is measured.
    """
    begun = scale = model_loss.scale if model_loss.scale != 1 else model_loss.scale_in_training
    first = None
    while True:
        scaled = replace(model_loss, scale=scale)
        measured = dispatch.measure(scaled.computation(wanted))
        first = first or (scaled, measured)
        if scale <= 1 or measured.error or measured.is_finite:
            overflows = measured.is_finite and begun / scale > _MOST_LEFT_OUT
            return first if overflows else (scaled, measured)
        scale = max(1.0, scale / _LESS)


_LESS = 16.0
"""The optimizer halves; that would take a step for each of fifteen powers of two."""

_MOST_LEFT_OUT = 2.0**16
"""Keras begins at 2 ** 15."""


def _names(planned: PlannedTraining, addresses: Iterable[str]) -> set[str]:
    """Return the names under which gradients of weights are measured: those of their parts."""
    return {name for one in addresses for name, _ in planned.inventory.by_address[one].targets}


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Put the states of Python's and NumPy's generators back: initializers and user code draw from them."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def require_model(model: Any) -> None:
    """Raise `ModelError` for what is not a Keras model."""
    require_keras_model(
        model, "looked at", remedy="for a computation without a model use fl.explain(loss_fn, variables)"
    )


def notes_of(inspection: Inspection) -> Iterator[str]:
    """Yield what is to be known of the loss as a whole."""
    if inspection.measured and inspection.measured.error:
        error = inspection.measured.error.splitlines()[0]
        yield f"no gradients on this batch, all statuses are by structure alone: the framework says: {error}"
    for stopped in dict.fromkeys(inspection.loss.stopped):
        yield f"the training step was seen in part: {stopped}; gradients that it takes later are not known"
    if inspection.zeroes.unseen:
        yield f"which operation hands back zeros was not seen: {inspection.zeroes.unseen}"
    for unasked in inspection.trace.unasked:
        yield f"{unasked}; it is taken to pass"
