"""What a plan decides for one model: every weight and layer of it, and the table that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from rich.console import ConsoleRenderable

from frostline.errors import listed
from frostline.model.inventory import Inventory, Weight
from frostline.optimizers import memory
from frostline.plan.plan import Plan
from frostline.render.tables import Rendered, bytes_text, count, share, stacked, table
from frostline.resolution.decision import Decision, elements_text


@dataclass(frozen=True, slots=True)
class LayerMode:
    """How a layer with a `training` argument runs under a plan.

    Attributes:
        address: The layer.
        keeps_statistics: Whether it made statistics of its own, as BatchNormalization does.
        forced: Whether it runs in inference mode whatever the caller asks for.
    """

    address: str
    keeps_statistics: bool
    forced: bool


@dataclass(frozen=True)
class Resolution(Rendered):
    """All decisions of a plan for one model. Prints as a table and shows in notebooks.

    Attributes:
        plan: The plan.
        inventory: The model's weights and layers.
        decisions: One for each weight, in the model's order.
        statistics: One for each statistic.
        modes: One for each layer inside a frozen part that has a `training` argument.
        notes: What the plan cannot see but the user should know.
        module_modes: One for each frozen module of the backend's own inside a layer, such as a BatchNorm of
            PyTorch's.
    """

    plan: Plan
    inventory: Inventory = field(repr=False)
    decisions: tuple[Decision, ...]
    statistics: tuple[Decision, ...]
    modes: tuple[LayerMode, ...]
    notes: tuple[str, ...]
    _optimizer: Any = field(default=None, repr=False, compare=False)
    module_modes: tuple[LayerMode, ...] = ()

    @cached_property
    def _by_address(self) -> dict[str, Decision]:
        every = (*self.decisions, *self.statistics)
        return {address: d for d in every for address in d.weight.addresses}

    def __getitem__(self, address: str) -> Decision:
        """Return the decision for an address; `KeyError` where the model has none such."""
        return self._by_address[address]

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.decisions)

    @property
    def trained(self) -> tuple[Decision, ...]:
        """The decisions for the weights that train."""
        return tuple(d for d in self.decisions if d.trains)

    @property
    def frozen(self) -> tuple[Decision, ...]:
        """The decisions for the weights that stay fixed."""
        return tuple(d for d in self.decisions if not d.may_move)

    @property
    def assigned(self) -> tuple[Decision, ...]:
        """The decisions for the weights and statistics that code assigns."""
        return tuple(d for d in (*self.decisions, *self.statistics) if d.assigned)

    @property
    def moving(self) -> tuple[Decision, ...]:
        """The decisions for the statistics that their layers may move."""
        return tuple(d for d in self.statistics if d.trains and not d.assigned)

    @property
    def changing(self) -> tuple[Decision, ...]:
        """The decisions for all that may change in training: by the optimizer, by layers, or by code."""
        return tuple(d for d in (*self.decisions, *self.statistics) if d.may_move)

    @property
    def trained_elements(self) -> int:
        """How many numbers train."""
        return sum(d.trained_elements for d in self.trained)

    @property
    def frozen_elements(self) -> int:
        """How many numbers stay fixed, statistics not counted."""
        return sum(d.weight.size - d.replaced_elements for d in self.decisions if not d.assigned)

    @property
    def assigned_elements(self) -> int:
        """How many numbers of weights the model's own code assigns, statistics not counted."""
        return sum(d.weight.size for d in self.decisions if d.assigned)

    @property
    def elements(self) -> int:
        """How many numbers the weights have, and those beside them that train; statistics not counted."""
        return self.trained_elements + self.frozen_elements + self.assigned_elements

    def optimizer_memory(self, optimizer: Any) -> int:
        """Return how many bytes of slots an optimizer needs for what trains.

        Args:
            optimizer: A `keras.optimizers.Optimizer`, or its name, such as `"adam"`.

        Raises:
            OptimizerError: It has no configuration to make a copy from.
        """
        return memory.slot_bytes(optimizer, [v for d in self.trained for v in d.stand_ins()])

    def to_data(self) -> dict[str, Any]:
        """Return the resolution as plain data, for JSON."""
        return {
            "frostline": 1,
            "model": self.inventory.model_name,
            "plan": [str(rule) for rule in self.plan.rules],
            "default": self.plan.default,
            "trained_elements": self.trained_elements,
            "frozen_elements": self.frozen_elements,
            **({"assigned_elements": self.assigned_elements} if self.assigned else {}),
            "weights": [d.to_data() for d in (*self.decisions, *self.statistics)],
            "inference": list(
                dict.fromkeys(m.address for m in (*self.modes, *self.module_modes) if m.forced)
            ),
            "notes": list(self.notes),
        }

    def table(self, *, full: bool = False) -> ConsoleRenderable:
        """Return the table as something Rich draws; `full` gives every weight a row of its own."""
        rows = [_row(self, group) for group in _groups(self, full)]
        return stacked(
            table(
                ("weights", "shape", "elements", "status", "why"),
                rows,
                numbers=("elements",),
                title=f"Plan for {self.inventory.model_name}",
            ),
            "",
            *self._summary(),
            *(f"note: {text}" for text in self.notes),
        )

    def __rich__(self) -> ConsoleRenderable:
        return self.table()

    def _summary(self) -> list[str]:
        total = self.elements
        lines = [
            f"trains {self.trained_elements:,} of {total:,} elements "
            f"({share(self.trained_elements, total)}), in {len(self.trained)} of "
            f"{count(len(self.decisions), 'weight')}"
        ]
        if self.assigned:
            lines.append(f"left to code that assigns: {count(len(self.assigned), 'variable')}")
        if self.statistics:
            held = sum(not d.trains for d in self.statistics)
            moving = len(self.moving)
            lines.append(f"statistics: {held} held, {moving} moving")
        forced = {mode.address for mode in self.modes if mode.forced}
        if forced:
            outermost = [
                a for a in forced if not forced.intersection(self.inventory.layer_by_address[a].parents)
            ]
            outermost.sort(key=list(self.inventory.layer_by_address).index)
            names = listed((address or "the whole model" for address in outermost), most=3)
            lines.append(f"run in inference mode: {names} ({count(len(forced), 'layer')} in all)")
        lines += self._modules_summary(forced)
        if self._optimizer is not None:
            name = type(self._optimizer).__name__
            every = [d.weight.storage for d in self.decisions]
            lines.append(
                f"optimizer memory ({name}): {bytes_text(self.optimizer_memory(self._optimizer))}, "
                f"against {bytes_text(memory.slot_bytes(self._optimizer, every))} if all trained"
            )
        return lines

    def _modules_summary(self, forced_layers: set[str]) -> list[str]:
        """Name the modules that run in inference mode inside layers that do not."""
        node_of = {node.address: node for node in self.inventory.modules}
        forced = {m.address for m in self.module_modes if m.forced}
        inside = [a for a in forced if node_of[a].layer not in forced_layers]
        outermost = sorted((a for a in inside if a.rpartition("/")[0] not in forced), key=list(node_of).index)
        if not outermost:
            return []
        names = listed(outermost, most=3)
        return [f"run in inference mode inside their layer: {names} ({count(len(inside), 'module')} in all)"]


def _groups(resolution: Resolution, full: bool) -> Iterator[list[Decision]]:
    """Yield runs of weights that one row can stand for; statistics that are held go without one."""
    place = {w.address: n for n, w in enumerate(resolution.inventory.weights)}
    every = (*resolution.decisions, *resolution.statistics)
    if full:
        yield from ([d] for d in sorted(every, key=lambda d: place[d.weight.address]))
        return
    moving = [d for d in resolution.statistics if d.may_move]
    for _, run in groupby((*resolution.decisions, *moving), key=lambda d: (d.status, d.why, d.part)):
        yield list(run)


def _row(resolution: Resolution, group: list[Decision]) -> tuple[str, str, str, str, str]:
    first = group[0]
    # The rule says it already, where it alone decided.
    part = first.part.removeprefix(f"{first.how}, ") if str(first.how) in first.why else first.part
    why = f"{first.why} [{part}]" if part else first.why
    if len(group) == 1:
        shape = " x ".join(map(str, first.weight.shape)) or "scalar"
        name = first.weight.address
        name += f" (also {listed(first.weight.aliases, most=2)})" if first.weight.aliases else ""
        return name, shape, elements_text(group), first.status, why
    noun = "weight" if first.weight.role == "weight" else "statistic"
    return _span(resolution, group), count(len(group), noun), elements_text(group), first.status, why


def _span(resolution: Resolution, group: list[Decision]) -> str:
    """Name a run of weights: the one layer that holds just these, or from the first layer to the last."""
    addresses = {d.weight.address for d in group}
    ends = [_outermost(resolution, d.weight, addresses) for d in (group[0], group[-1])]
    return " … ".join(dict.fromkeys(ends))


def _outermost(resolution: Resolution, weight: Weight, addresses: set[str]) -> str:
    """Return the largest layer around a weight whose weights all lie in the run, as a glob."""
    kind = {w.address for w in resolution.inventory.of_role(weight.role)}
    parts = weight.address.split("/")
    for depth in range(1, len(parts)):
        node = resolution.inventory.layer_by_address.get("/".join(parts[:depth]))
        if node is not None and addresses.issuperset(kind.intersection(node.below)):
            return f"{node.address}/**"
    return weight.address
