"""What holds for every model, plan and optimizer: properties over random ones.

`FROSTLINE_EXAMPLES` sets the number of examples of each property (40, or 6 where each is compiled;
`make test-all` takes 1000).
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline.model.inventory import Inventory, inventory
from helpers import random_models
from helpers.checks import examples
from helpers.random_models import (
    BATCH,
    Optimizer,
    Part,
    Recipe,
    expected_elements,
    expected_trained,
    plans,
    recipes,
)

EXAMPLES = examples(24, jax=6, tensorflow=6)
BACKEND = keras.backend.backend()

every = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    # A model takes longer to draw than numbers do, and is larger.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Case:
    """A model, an optimizer, and plans to train under, each with the way to train."""

    recipe: Recipe
    optimizer: Optimizer
    steps: tuple[tuple[str, fl.Plan], ...]
    eager: bool


WAYS = ("fl.fit", "fl.fit", "model.fit", "train_on_batch", "with")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A random `Case` with one to three plans."""
    recipe = draw(recipes())
    held = inventory(recipe.build())
    optimizer = draw(random_models.optimizers())
    count = draw(st.sampled_from((1, 2, 2, 3)))
    steps = tuple((draw(st.sampled_from(WAYS)), draw(plans(held, elements=True))) for _ in range(count))
    # An eager step on TensorFlow takes a fraction of the time that tracing one does.
    eager = BACKEND == "tensorflow" and draw(st.integers(0, 2)) > 0
    return Case(recipe, optimizer, steps, eager)


# --- training ---------------------------------------------------------------------------------


@every
@given(cases())
def test_each_of_successive_plans_is_obeyed_and_undone(case: Case) -> None:
    model = case.recipe.build()
    model.compile(case.optimizer.make(), "mse", run_eagerly=case.eager)
    data = case.recipe.data()
    for way, plan in case.steps:
        event(f"{way}, {case.optimizer.name}")
        before = random_models.values(model)
        with _trained(model, plan, way, *data) as resolution:
            _assert_obeyed(model, resolution, before, data)
            _assert_slots_of_trained_only(model, resolution, case.optimizer)
    _assert_undo_restores(model, [plan for _, plan in case.steps])


@contextmanager
def _trained(model: keras.Model, plan: fl.Plan, way: str, x: Any, y: Any) -> Iterator[fl.Resolution]:
    """Train three steps under a plan in one of the ways that Frostline offers; the plan is on inside."""
    arguments: dict[str, Any] = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    with ExitStack() as stack:
        match way:
            case "fl.fit":
                run = fl.fit(model, plan, x, y, **arguments)
                assert run.verification is not None
                assert run.verification.ok
                resolution = run.resolution
            case "model.fit":
                resolution = fl.apply(model, plan).resolution
                model.fit(x, y, **arguments)
            case "train_on_batch":
                resolution = fl.apply(model, plan).resolution
                for start in range(0, len(x), BATCH):
                    model.train_on_batch(x[start : start + BATCH], y[start : start + BATCH])
            case "with":
                resolution = stack.enter_context(fl.applied(model, plan))
                model.fit(x, y, **arguments)
            case other:
                raise AssertionError(other)
        yield resolution


def _assert_obeyed(
    model: keras.Model, resolution: fl.Resolution, before: dict[str, np.ndarray], data: Any
) -> None:
    after = random_models.values(model)
    moved = {a for a, value in before.items() if value.tobytes() != after[a].tobytes()}
    roles = {w.address: w.role for w in resolution.inventory}
    weights = {a for a, role in roles.items() if role == "weight"}
    trained = {d.weight.address for d in resolution.trained}
    elements = expected_elements(resolution.inventory, resolution.plan)
    assert trained == {address for address, mask in elements.items() if mask.any()}
    assert not moved & (weights - trained), "a frozen weight moved"
    for address in trained:
        event("a weight in part" if not elements[address].all() else "a whole weight")
        frozen = ~elements[address]
        kept = (values[address][frozen].tobytes() for values in (before, after))
        assert len(set(kept)) == 1, f"a frozen element of {address} moved"

    statistics = {a for a, role in roles.items() if role == "statistic"}
    moving = _moving_statistics(resolution)
    assert not moved & (statistics - moving), "a statistic of a layer in inference mode moved"
    assert moving <= moved, "a statistic of a layer in training mode did not move"

    seeds = {d.address for d in resolution.modes if d.forced}
    assert not moved & {f"{a}/seed_generator/state" for a in seeds}, "a frozen dropout dropped"

    unmoved = trained - moved
    if unmoved:
        assert unmoved <= _without_gradient(model, before, sorted(unmoved), data)


def _moving_statistics(resolution: fl.Resolution) -> set[str]:
    """Statistics of every BatchNormalization that trains or is told to keep counting."""
    held, plan = resolution.inventory, resolution.plan
    trained = expected_trained(held, plan)
    return {
        a
        for node in held.layers
        for a in node.own
        if held.by_address[a].role == "statistic"
        and (plan.batchnorm == "update" or not trained.isdisjoint(node.below))
    }


SMALLEST_GRADIENT = 1e-3
"""Below this, a step of SGD times a small multiplier may be lost in the rounding of the weight."""


def _without_gradient(
    model: keras.Model, before: dict[str, np.ndarray], addresses: list[str], data: Any
) -> set[str]:
    """Those of some weights that get no gradient on the first batch, computed apart from the training."""
    after = random_models.values(model)
    random_models.put_back(model, before)
    held = inventory(model)
    x, y = (part[:BATCH] for part in data)
    targets = [(a, v) for a in addresses for _, v in held.by_address[a].targets]
    found = random_models.gradients(model, x, y, [v for _, v in targets])
    random_models.put_back(model, after)
    event("unmoved, gradient computed")
    large = {
        a
        for (a, _), gradient in zip(targets, found, strict=True)
        if np.abs(gradient).max() >= SMALLEST_GRADIENT
    }
    return set(addresses) - large


def _assert_slots_of_trained_only(
    model: keras.Model, resolution: fl.Resolution, optimizer: Optimizer
) -> None:
    # Scalars are counters and the like: no weight here is one.
    slots = [v for v in model.optimizer.variables if tuple(v.shape) != ()]
    held = [tuple(v.shape) for d in resolution.trained for _, v in d.weight.targets]
    expected = Counter(shape for shape in held for _ in range(optimizer.slots) if shape != ())
    assert Counter(tuple(v.shape) for v in slots) == expected


def _assert_undo_restores(model: keras.Model, nested: list[fl.Plan]) -> None:
    """Put plans on the model one inside the other, take them off again, and compare at each level."""
    if not nested:
        return
    before = _state(model)
    with fl.applied(model, nested[0]):
        flagged = [id(v) for v in model.trainable_variables]
        assert [id(v) for v in model.optimizer._trainable_variables] == flagged
        _assert_undo_restores(model, nested[1:])
    assert _state(model) == before


def _state(model: keras.Model) -> list[Any]:
    """All that a plan may change on the layers and weights of a model, and what the optimizer updates.

    Variables go by their addresses, and calls by who replaced them: what a plan takes off and puts on again
    is made anew.
    """
    layers = list(model._flatten_layers(include_self=True, recursive=True))
    calls = [vars(layer).get("call") for layer in layers]
    replaced = [sorted(getattr(call, "frostline_makers", (call is not None,))) for call in calls]
    flags = [(one.name, one.trainable, by) for one, by in zip(layers, replaced, strict=True)]
    held = inventory(model)
    name_of = {id(w.storage): w.address for w in held} | {id(v): a for w in held for a, v in w.targets}
    weights = [
        (name_of[id(v)], v.trainable, getattr(v.value, "requires_grad", None)) for v in model.variables
    ]
    return [flags, weights, [name_of[id(v)] for v in model.optimizer._trainable_variables]]


# --- plan files -------------------------------------------------------------------------------


@st.composite
def planned_models(draw: st.DrawFn) -> tuple[Inventory, keras.Model, fl.Plan]:
    """A random model with a random plan."""
    model = draw(recipes()).build()
    held = inventory(model)
    return held, model, draw(plans(held, elements=True))


@every
@given(planned_models())
def test_a_plan_survives_yaml_and_json(drawn: tuple[Inventory, keras.Model, fl.Plan]) -> None:
    _, model, plan = drawn
    assert fl.Plan.from_data(json.loads(json.dumps(plan.to_data()))) == plan
    resolution = fl.resolve(model, plan)
    for ending in ("yaml", "json"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"plan.{ending}")
            plan.save(path)
            read = fl.Plan.load(path)
        assert read == plan
        assert str(read) == str(plan)
        again = fl.resolve(model, read)
        assert again == resolution
        assert again.to_data() == resolution.to_data()


# --- addresses --------------------------------------------------------------------------------


@every
@given(recipes())
def test_addresses_are_unique_and_repeatable(recipe: Recipe) -> None:
    first, second = inventory(recipe.build("one")), inventory(recipe.build("another"))
    addresses = [a for w in first for a in w.addresses]
    assert len(addresses) == len(set(addresses))
    assert len({id(w.variable) for w in first}) == len(first.weights)
    assert _plain(first) == _plain(second)
    layers = [a for node in first.layers for a in (node.address, *node.aliases)]
    assert len(layers) == len(set(layers))


@every
@given(recipes())
def test_every_weight_of_the_model_has_an_address(recipe: Recipe) -> None:
    model = recipe.build()
    held = inventory(model)
    assert {id(w.variable) for w in held} == {id(v) for v in model.variables}
    weights = [id(w.variable) for w in held.of_role("weight")]
    assert weights == [id(v) for v in model.trainable_variables]


def _plain(held: Inventory) -> list[Any]:
    weights = [(w.addresses, w.role, w.layer, w.types, w.shape, w.dtype) for w in held]
    nodes = [
        # Neighbours in a graph have no order. Layers without weights may have names that Keras counts
        # through, as those inside MultiHeadAttention do.
        (n.address, n.aliases, n.types, n.parents, n.own, n.below, {*n.feeds}, {*n.fed_by})
        for n in held.layers
        if n.below
    ]
    return [weights, nodes]


# --- found by the properties above ------------------------------------------------------------


def test_a_frozen_part_leaves_what_follows_in_training_mode() -> None:
    """Keras notes the latest `training` for the whole outermost call: a frozen part must not leak its own."""
    frozen = Part("functional", "frozen", (Part("dense", "part_0"), Part("norm", "part_1")))
    recipe = Recipe("functional", "numbers", (), (Part("block", "block", (frozen, Part("norm", "norm"))),))
    model = recipe.build()
    model.compile("sgd", "mse")
    before = random_models.values(model)
    fl.fit(model, fl.Plan(default="train").freeze("block/frozen/**"), *recipe.data(), verbose=0)
    after = random_models.values(model)
    moved = {a for a in before if a.endswith("moving_mean") and not np.array_equal(before[a], after[a])}
    assert moved == {"block/norm/moving_mean"}
