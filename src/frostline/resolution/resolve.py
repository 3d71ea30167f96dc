"""A model and a plan give a resolution: for every weight whether it trains, and which rule says so."""

from __future__ import annotations

from typing import Any

from frostline._keras.optimizers import compiled_optimizer
from frostline.errors import PlanError, UnmatchedRuleError, listed
from frostline.model.inventory import Inventory, LayerNode, Weight, inventory
from frostline.optimizers import memory
from frostline.plan.matching import patterns_together
from frostline.plan.plan import Plan
from frostline.plan.rule import Rule
from frostline.plan.schedule import Schedule
from frostline.plan.schema import Action
from frostline.resolution import notes
from frostline.resolution.decision import Decision, decide, notes_on_parts
from frostline.resolution.modules import held_by_modules, modes_of_modules
from frostline.resolution.resolution import LayerMode, Resolution
from frostline.resolution.rules import Verdict, verdict


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
    model_inventory = inventory(model)
    picks = _picks(model_inventory, plan)
    verdicts = {w.address: _verdict(w, plan, picks) for w in model_inventory.of_role("weight")}
    decisions = tuple(
        decide(w, model_inventory, plan, verdicts[w.address]) for w in model_inventory.of_role("weight")
    )
    by_address = {d.weight.address: d for d in decisions}
    frozen = _frozen_parts(model_inventory, plan, by_address, picks)
    modes = _modes(model_inventory, plan, frozen)
    module_modes = modes_of_modules(
        model_inventory, plan, frozen, by_address, lambda address: _last_rule(address, plan, picks)[1]
    )
    moving = _moving_layers(model_inventory, frozen, modes)
    held = held_by_modules(model_inventory, module_modes)
    statistics = tuple(
        _statistic(w, model_inventory, plan, picks, moving, held)
        for w in model_inventory.of_role("statistic")
    )
    trained = frozenset(d.weight.address for d in decisions if d.trains)
    return Resolution(
        plan,
        model_inventory,
        decisions,
        statistics,
        modes,
        (
            *notes.notes(model_inventory, trained),
            *notes.notes_on_head(model_inventory, plan, picks),
            *notes_on_parts(plan, decisions, verdicts),
        ),
        memory.find_optimizer(optimizer) if optimizer else compiled_optimizer(model),
        module_modes,
    )


@patterns_together()
def _picks(model_inventory: Inventory, plan: Plan) -> list[frozenset[str]]:
    picks = [rule.selector.addresses(model_inventory) for rule in plan.rules]
    weights = {w.address for w in model_inventory.of_role("weight")}
    for number, (rule, picked) in enumerate(zip(plan.rules, picks, strict=True), 1):
        if not picked and not rule.optional:
            raise _unmatched(model_inventory, plan, number, rule, picks)
        if picked and rule.action == "train" and picked.isdisjoint(weights):
            raise PlanError(
                f"rule {number} ({rule}) picks only statistics, which no optimizer trains",
                received=listed(sorted(picked)),
                expected="weights made by add_weight(trainable=True)",
                remedy=_remedy_for_statistics(model_inventory, picked),
            )
    return picks


def _remedy_for_statistics(model_inventory: Inventory, picked: frozenset[str]) -> str:
    if all(
        model_inventory.layer_by_address[model_inventory.by_address[address].layer].constant
        for address in picked
    ):
        return "ask the layer for it when you make it, such as PretrainedEmbedding(..., train=True)"
    return "to keep moving statistics moving in frozen layers, set batchnorm: update"


def _unmatched(
    model_inventory: Inventory, plan: Plan, number: int, rule: Rule, picks: list[frozenset[str]]
) -> UnmatchedRuleError:
    every = len(plan.rules) > 1 and not any(picks)
    return UnmatchedRuleError(
        f"none of the plan's {len(plan.rules)} rules picks anything in the model "
        f"{model_inventory.model_name!r}: is it a plan for another model?"
        if every
        else f"rule {number} ({rule}) picks nothing in the model {model_inventory.model_name!r}",
        received=f"rule {number}: {rule}" if every else None,
        remedy=f"{rule.selector.hint(model_inventory)} (a rule that may pick nothing needs optional: true)",
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
    model_inventory: Inventory, plan: Plan, decisions: dict[str, Decision], picks: list[frozenset[str]]
) -> frozenset[str]:
    """Return the addresses of the layers that are frozen as a whole, or lie inside such a part."""
    frozen = {n.address for n in model_inventory.layers if _all_frozen(n, decisions, plan, picks)}
    inside = set(frozen)
    for node in model_inventory.layers:  # parents come before what they hold
        if (node.parents and inside.issuperset(node.parents)) or _lies_between(frozen, node):
            inside.add(node.address)
    return frozenset(inside)


def _modes(model_inventory: Inventory, plan: Plan, frozen: frozenset[str]) -> tuple[LayerMode, ...]:
    """Say how each layer of the frozen parts runs that can tell training from inference."""
    modes = []
    for node in model_inventory.layers:
        if node.address in frozen and node.takes_training and not node.constant:
            keeps = any(model_inventory.by_address[a].role == "statistic" for a in node.own)
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
        return not any(d.may_move for d in weights)
    # A layer of statistics alone is frozen where the rules would freeze a weight in its place.
    return bool(node.below) and all(_last_rule(a, plan, picks)[1] == "freeze" for a in node.below)


def _moving_layers(
    model_inventory: Inventory, frozen: frozenset[str], modes: tuple[LayerMode, ...]
) -> frozenset[str]:
    """Return the layers whose statistics a training step may move."""
    active = {mode.address for mode in modes if not mode.forced}
    return frozenset(
        n.address
        for n in model_inventory.layers
        # What a quantized layer holds beside its weights are tables of numbers, which nothing moves.
        if n.own and not (n.quantized or n.constant) and (n.address not in frozen or n.address in active)
    )


def _statistic(
    weight: Weight,
    model_inventory: Inventory,
    plan: Plan,
    picks: list[frozenset[str]],
    moving: frozenset[str],
    held: frozenset[str],
) -> Decision:
    number, action, rule = _last_rule(weight.address, plan, picks)
    if action == "assigned":
        return Decision(weight, True, number, 1.0, 1.0, f"rule {number}: {rule}", assigned=True)
    moves = weight.layer in moving and weight.address not in held
    if moves:
        why = "its layer is not frozen"
    elif model_inventory.layer_by_address[weight.layer].constant:
        why = "a constant of its layer"
    else:
        what = "module" if weight.address in held else "layer"
        why = (
            f"rule {number}: {rule}" if rule and action == "freeze" else f"its {what} runs in inference mode"
        )
    return Decision(weight, moves, number, 1.0, 1.0, why)
