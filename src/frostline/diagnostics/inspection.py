"""All that an audit knows of a model: `inspect_model` finds it out, the rules read it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from frostline._keras.optimizers import (
    compiled_optimizer,
    optimizer_chain,
    optimizer_targets,
)
from frostline.backends import dispatch
from frostline.diagnostics.added_losses import ADDED, AddedLosses
from frostline.diagnostics.carried_state import CarriedState
from frostline.diagnostics.config_round_trip import RoundTrip, round_trip
from frostline.diagnostics.diagnosis import Diagnosis
from frostline.diagnostics.explanation import Explanation, Status
from frostline.diagnostics.model_loss import ModelLoss
from frostline.diagnostics.planned_training import PlannedTraining
from frostline.diagnostics.prediction import prediction
from frostline.diagnostics.targets import Target
from frostline.diagnostics.zeroes import Zeroes, explained_by
from frostline.graph.ir import Leaf, Node, Reason, Where
from frostline.graph.not_finite import NotFinite
from frostline.graph.reader import Measured, Trace, Write, norm
from frostline.graph.zero_gradient import Zeroing
from frostline.model.inventory import Inventory, LayerNode, Weight
from frostline.optimizers.rebuild import strangers_in
from frostline.plan.plan import Plan
from frostline.resolution.resolve import resolve

ONLY_PENALTY = "only its penalty moves it"
"""Of a weight that no gradient of the loss of the data reaches."""

_MEANT: tuple[Reason, ...] = ("stop_gradient", "detached", "no_grad")
"""Why a gradient stops where someone wrote that it should."""

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
        carried: What becomes of gradients of zero once a batch has left its state behind.
        not_finite: Where the numbers of the loss or of a gradient stop being finite, where they do.
        added: The same with what layers add by `add_loss`, where a weight gets no gradient without.
        total: The same as `measured` with penalties; None where there are none.
        targets: The targets of each output, as they were given.
        zeroes: Where gradients become zero on their way back.
        balanced: Names of what trains whose gradient cancels over the samples, and not over some of them.
        idle: Names of what trains whose gradient is what rounding leaves of zero, here nothing.
        unread: Names of what trains and whose numbers the loss leaves out, though it is computed.
        overflowing_scale: What an optimizer multiplies the loss by, where that alone makes gradients
            infinite; else 0.
    """

    model: Any = field(repr=False)
    loss: ModelLoss = field(repr=False)
    planned: PlannedTraining = field(repr=False)
    trace: Trace = field(repr=False)
    measured: Measured | None = field(default=None, repr=False)
    starting: frozenset[str] = frozenset()
    carried: CarriedState = field(default_factory=CarriedState)
    not_finite: NotFinite | None = None
    added: AddedLosses | None = field(default=None, repr=False)
    total: Measured | None = field(default=None, repr=False)
    targets: list[Target] = field(default_factory=list, repr=False)
    zeroes: Zeroes = field(default_factory=Zeroes, repr=False)
    balanced: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()
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
        return Diagnosis(
            self.trace,
            self.measured,
            (),
            self.starting,
            self.not_finite,
            balanced=self.balanced,
            idle=self.idle,
            unread=self.unread,
            carried=self.carried.woken,
            of_model=True,
        )

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
        return self.diagnosis.flow.stems

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

    def returned_at(self, layer: str) -> Where | None:
        """Return the user's line at which the call of a layer ends; None where none is known."""
        nodes = self.trace.graph.nodes
        ends = [n.where for n in nodes if isinstance(n, Node) and layer and n.layer == layer and n.where]
        return ends[-1] if ends else None

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
        met = graph.onward_from(waiting)
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
        status = self.reach_of(address)
        return "partial" if status == "trains" and weight.part else status

    def _held_status(self, address: str) -> Status:
        """Return the status of what no optimizer is to change."""
        if address in self.planned.assigned:
            return "assigned"
        return "leaks" if address in self.written else "frozen"

    def reach_of(self, address: str) -> Status:
        """Return what the graph says of a weight that was asked about, whether or not it is to train."""
        part = self._deciding_part(self.inventory.by_address[address])
        return self._diagnosis_of(part).status(part)

    def _diagnosis_of(self, part: str) -> Diagnosis:
        """Return what tells most of a weight that the loss of the data is not computed from."""
        if self.added and self.diagnosis.status(part) == "unused":
            beside = self.added.diagnosis.status(part)
            if beside not in ("trains", "unused"):
                return self.added.diagnosis
        return self.diagnosis

    def moved_by_added(self, address: str) -> bool:
        """Whether `add_loss` alone moves a weight that was asked about: it trains by that.

        Not where something else than a stop that was meant cuts it, such as `argmax`: that is a fault still.
        """
        if self.added is None or self.reach_of(address) not in ("cut", "unused", "zero"):
            return False
        part = self._deciding_part(self.inventory.by_address[address])
        if not all(cut.reason in _MEANT for cut in self._diagnosis_of(part).explain(part).cuts):
            return False
        return self.added.moves([name for name, _ in self.inventory.by_address[address].targets])

    def explain(self, address: str) -> Explanation:
        """Explain a weight that was asked about."""
        weight = self.inventory.by_address[address]
        part = self._deciding_part(weight)
        found = replace(self._diagnosis_of(part).explain(part), address=address)
        if found.status == "zero" and (cause := self.cause_of_zero(address)) is not None:
            found = explained_by(cause, found)
        if self.moved_by_added(address):
            found = replace(found, note=ADDED, remedy="", added=True)
        elif found.status in ("cut", "unused", "zero") and self._is_penalized(weight):
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


def notes_of(inspection: Inspection) -> Iterator[str]:
    """Yield what is to be known of the loss as a whole."""
    if inspection.measured and inspection.measured.error:
        error = inspection.measured.error.splitlines()[0]
        yield f"no gradients on this batch, all statuses are by structure alone: the framework says: {error}"
    for stopped in dict.fromkeys(inspection.loss.stopped):
        yield f"the training step was seen in part: {stopped}; gradients that it takes later are not known"
    for count in inspection.loss.several:
        yield (
            f"the training step takes gradients of {count} losses: they were added, each with a weight of "
            "its own, so that none cancels another; the loss and the sizes of gradients are those of the sum"
        )
    if inspection.zeroes.unseen:
        yield f"which operation hands back zeros was not seen: {inspection.zeroes.unseen}"
    for state in inspection.carried.dropped:
        yield (
            f"{state} is not among model.non_trainable_variables: on this backend Keras's training step does "
            "not hand it on from batch to batch, and weights that it would give a gradient stay as they are"
        )
    for unasked in inspection.trace.unasked:
        yield f"{unasked}; it is taken to pass"
