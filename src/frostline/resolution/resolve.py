"""A model and a plan give a resolution: for every weight whether it trains, and which rule says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from rich.console import ConsoleRenderable

from frostline.errors import PlanError, UnmatchedRuleError, listed
from frostline.model.inventory import Inventory, LayerNode, Weight, inventory
from frostline.optimizers import memory
from frostline.plan.plan import Action, Plan, Rule
from frostline.plan.schedule import Schedule
from frostline.render import Rendered, bytes_text, count, share, stacked, table
from frostline.resolution import notes
from frostline.resolution.decision import Decision, decide, elements_text, notes_on_parts
from frostline.resolution.rules import Verdict, verdict


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
    """

    plan: Plan
    inventory: Inventory = field(repr=False)
    decisions: tuple[Decision, ...]
    statistics: tuple[Decision, ...]
    modes: tuple[LayerMode, ...]
    notes: tuple[str, ...]
    _optimizer: Any = field(default=None, repr=False, compare=False)

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
        """The decisions for the weights that do not."""
        return tuple(d for d in self.decisions if not d.trains)

    @property
    def trained_elements(self) -> int:
        """How many numbers train."""
        return sum(d.trained_elements for d in self.trained)

    @property
    def frozen_elements(self) -> int:
        """How many numbers stay fixed, statistics not counted."""
        return sum(d.weight.size - d.replaced_elements for d in self.decisions)

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
            "weights": [d.to_data() for d in (*self.decisions, *self.statistics)],
            "inference": [mode.address for mode in self.modes if mode.forced],
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
        total = self.trained_elements + self.frozen_elements
        lines = [
            f"trains {self.trained_elements:,} of {total:,} elements "
            f"({share(self.trained_elements, total)}), in {len(self.trained)} of "
            f"{count(len(self.decisions), 'weight')}"
        ]
        if self.statistics:
            held = sum(not d.trains for d in self.statistics)
            moving = len(self.statistics) - held
            lines.append(f"statistics: {held} held, {moving} moving")
        forced = {mode.address for mode in self.modes if mode.forced}
        if forced:
            outermost = [
                a for a in forced if not forced.intersection(self.inventory.layer_by_address[a].parents)
            ]
            outermost.sort(key=list(self.inventory.layer_by_address).index)
            names = listed((address or "the whole model" for address in outermost), most=3)
            lines.append(f"run in inference mode: {names} ({count(len(forced), 'layer')} in all)")
        if self._optimizer is not None:
            name = type(self._optimizer).__name__
            every = [d.weight.storage for d in self.decisions]
            lines.append(
                f"optimizer memory ({name}): {bytes_text(self.optimizer_memory(self._optimizer))}, "
                f"against {bytes_text(memory.slot_bytes(self._optimizer, every))} if all trained"
            )
        return lines


def resolve(model: Any, plan: Plan, *, optimizer: Any = None) -> Resolution:
    """Say for every weight of a model whether it trains under a plan.

    Args:
        model: A built Keras model or layer.
        plan: The plan.
        optimizer: An optimizer, or its name, whose memory the resolution states; by default the one that
            the model is compiled with.

    Raises:
        UnmatchedRuleError: A rule picks nothing and is not optional.
        OptimizerError: There is no optimizer of that name.
        PlanError: A rule trains only statistics, which no optimizer updates; or its elements do not fit a
            weight that it picks.
        UnbuiltModelError: The model has no weights yet.
    """
    if not isinstance(plan, Plan):
        raise PlanError(
            "this is not a plan",
            received=f"an object of type {type(plan).__name__}",
            expected="a frostline.Plan",
            remedy="schedule.plan_of(phase) is the plan of a phase"
            if isinstance(plan, Schedule)
            else "Plan.load(path) reads a plan file; Plan().train('head/**') makes one",
        )
    held = inventory(model)
    picks = _picks(held, plan)
    verdicts = {w.address: _verdict(w, plan, picks) for w in held.of_role("weight")}
    decisions = tuple(decide(w, held, plan, verdicts[w.address]) for w in held.of_role("weight"))
    by_address = {d.weight.address: d for d in decisions}
    frozen = _frozen_parts(held, plan, by_address, picks)
    modes = _modes(held, plan, frozen)
    moving = _moving_layers(held, frozen, modes)
    statistics = tuple(_statistic(w, held, plan, picks, moving) for w in held.of_role("statistic"))
    trained = frozenset(d.weight.address for d in decisions if d.trains)
    return Resolution(
        plan,
        held,
        decisions,
        statistics,
        modes,
        (*notes.notes(held, trained), *notes_on_parts(plan, decisions, verdicts)),
        memory.find_optimizer(optimizer) if optimizer else getattr(model, "optimizer", None),
    )


def _picks(held: Inventory, plan: Plan) -> list[frozenset[str]]:
    picks = [rule.selector.addresses(held) for rule in plan.rules]
    weights = {w.address for w in held.of_role("weight")}
    for number, (rule, picked) in enumerate(zip(plan.rules, picks, strict=True), 1):
        if not picked and not rule.optional:
            raise _unmatched(held, plan, number, rule, picks)
        if picked and rule.action == "train" and picked.isdisjoint(weights):
            raise PlanError(
                f"rule {number} ({rule}) picks only statistics, which no optimizer trains",
                received=listed(sorted(picked)),
                expected="weights made by add_weight(trainable=True)",
                remedy=_remedy_for_statistics(held, picked),
            )
    return picks


def _remedy_for_statistics(held: Inventory, picked: frozenset[str]) -> str:
    if all(held.layer_by_address[held.by_address[address].layer].constant for address in picked):
        return "ask the layer for it when you make it, such as PretrainedEmbedding(..., train=True)"
    return "to keep moving statistics moving in frozen layers, set batchnorm: update"


def _unmatched(
    held: Inventory, plan: Plan, number: int, rule: Rule, picks: list[frozenset[str]]
) -> UnmatchedRuleError:
    every = len(plan.rules) > 1 and not any(picks)
    return UnmatchedRuleError(
        f"none of the plan's {len(plan.rules)} rules picks anything in the model {held.model_name!r}: "
        "is it a plan for another model?"
        if every
        else f"rule {number} ({rule}) picks nothing in the model {held.model_name!r}",
        received=f"rule {number}: {rule}" if every else None,
        remedy=f"{rule.selector.hint(held)} (a rule that may pick nothing needs optional: true)",
    )


def _last_rule(address: str, plan: Plan, picks: list[frozenset[str]]) -> tuple[int, Action, Rule | None]:
    """Return the last rule that speaks of all of a variable; statistics have no elements that train."""
    for number in range(len(plan.rules), 0, -1):
        rule = plan.rules[number - 1]
        if address in picks[number - 1] and rule.part is None:
            return number, rule.action, rule
    return 0, plan.default, None


def _verdict(weight: Weight, plan: Plan, picks: list[frozenset[str]]) -> Verdict:
    chosen = [
        (n, r) for n, (r, p) in enumerate(zip(plan.rules, picks, strict=True), 1) if weight.address in p
    ]
    return verdict(weight, plan, chosen)


def _frozen_parts(
    held: Inventory, plan: Plan, decisions: dict[str, Decision], picks: list[frozenset[str]]
) -> frozenset[str]:
    """Return the addresses of the layers that are frozen as a whole, or lie inside such a part."""
    frozen = {n.address for n in held.layers if _all_frozen(n, decisions, plan, picks)}
    inside = set(frozen)
    for node in held.layers:  # parents come before what they hold
        if (node.parents and inside.issuperset(node.parents)) or _lies_between(frozen, node):
            inside.add(node.address)
    return frozenset(inside)


def _modes(held: Inventory, plan: Plan, frozen: frozenset[str]) -> tuple[LayerMode, ...]:
    """Say how each layer of the frozen parts runs that can tell training from inference."""
    modes = []
    for node in held.layers:
        if node.address in frozen and node.takes_training and not node.constant:
            keeps = any(held.by_address[a].role == "statistic" for a in node.own)
            policy = plan.batchnorm if keeps else plan.stochastic
            modes.append(LayerMode(node.address, keeps, forced=policy == "inference"))
    return tuple(modes)


def _lies_between(frozen: set[str], node: LayerNode) -> bool:
    """Whether frozen layers on both sides in a flat graph make it part of a block nobody named."""
    both = bool(node.feeds) and bool(node.fed_by) and not node.below
    return both and frozen.issuperset((*node.feeds, *node.fed_by))


def _all_frozen(
    node: LayerNode, decisions: dict[str, Decision], plan: Plan, picks: list[frozenset[str]]
) -> bool:
    weights = [decisions[a] for a in node.below if a in decisions]
    if weights:
        return not any(d.trains for d in weights)
    # A layer of statistics alone is frozen where the rules would freeze a weight in its place.
    return bool(node.below) and all(_last_rule(a, plan, picks)[1] == "freeze" for a in node.below)


def _moving_layers(held: Inventory, frozen: frozenset[str], modes: tuple[LayerMode, ...]) -> frozenset[str]:
    """Return the layers whose statistics a training step may move."""
    active = {mode.address for mode in modes if not mode.forced}
    return frozenset(
        n.address
        for n in held.layers
        # What a quantized layer holds beside its weights are tables of numbers, which nothing moves.
        if n.own and not (n.quantized or n.constant) and (n.address not in frozen or n.address in active)
    )


def _statistic(
    weight: Weight, held: Inventory, plan: Plan, picks: list[frozenset[str]], moving: frozenset[str]
) -> Decision:
    number, action, rule = _last_rule(weight.address, plan, picks)
    moves = weight.layer in moving
    if moves:
        why = "its layer is not frozen"
    elif held.layer_by_address[weight.layer].constant:
        why = "a constant of its layer"
    else:
        why = f"rule {number}: {rule}" if rule and action == "freeze" else "its layer runs in inference mode"
    return Decision(weight, moves, number, 1.0, 1.0, why)


# The table ----------------------------------------------------------------------------------------


def _groups(resolution: Resolution, full: bool) -> Iterator[list[Decision]]:
    """Yield runs of weights that one row can stand for; statistics that are held go without one."""
    place = {w.address: n for n, w in enumerate(resolution.inventory.weights)}
    every = (*resolution.decisions, *resolution.statistics)
    if full:
        yield from ([d] for d in sorted(every, key=lambda d: place[d.weight.address]))
        return
    moving = [d for d in resolution.statistics if d.trains]
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
