"""Schedules over random models, plans and all optimizers of Keras: what holds for each of them.

`FROSTLINE_EXAMPLES` sets the number of examples (a few by default, since each phase is compiled anew;
`make test-all` takes 1000).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline import Phase, Plateau, Schedule
from frostline._keras.optimizers import optimizer_chain, optimizer_targets
from frostline.model.inventory import Inventory, inventory
from helpers import random_models
from helpers.checks import examples, quick_first
from helpers.random_models import BATCH, Optimizer, Part, Recipe, plans
from helpers.reference_training import Reference

BACKEND = keras.backend.backend()
EXAMPLES = examples(15, jax=6, tensorflow=6)
EPOCH = random_models.SAMPLES // BATCH
TOLERANCE = 2e-4
"""Of values of about 1 after up to eight epochs. A wrong count of steps, rate or slot shows at 1e-2."""


# --- cases ------------------------------------------------------------------------------------

# Large epsilons: a bias in front of a normalization has no gradient but noise, which Adam would blow up.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "RMSprop": {"learning_rate": 0.02, "momentum": 0.5, "centered": True, "epsilon": 1e-3},
    "Adam": {"learning_rate": 0.02, "amsgrad": True, "epsilon": 1e-2},
    "AdamW": {"learning_rate": 0.02, "weight_decay": 0.05, "epsilon": 1e-2},
    "Adadelta": {"learning_rate": 1.0, "epsilon": 1e-3},
    "Adagrad": {"learning_rate": 0.05, "epsilon": 1e-2},
    "Adamax": {"learning_rate": 0.02, "epsilon": 1e-2},
    "Adafactor": {"learning_rate": 0.02, "epsilon_1": 1e-3, "relative_step": False},
    "Nadam": {"learning_rate": 0.02, "epsilon": 1e-2},
    "Ftrl": {"learning_rate": 0.05, "l2_regularization_strength": 0.01},
    "Lion": {"learning_rate": 0.01, "weight_decay": 0.05},
    "Lamb": {"learning_rate": 0.02, "epsilon": 1e-2},
    "Muon": {"learning_rate": 0.02, "epsilon": 1e-2},
    "ScheduleFreeAdamW": {"learning_rate": 0.02, "epsilon": 1e-2},
}
NOT_FOR_PLANS = {"LossScaleOptimizer", "MultiOptimizer", "OptimizerMap", "Optimizer"}
BLOWS_UP_NOISE = {"Lion", "Lamb", "Muon"}
"""Their steps do not shrink with the gradient: rounding decides where there is nothing else."""

EXTRAS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"clipnorm": 0.3},
    {"clipvalue": 0.05},
    {"global_clipnorm": 0.3},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": EPOCH},
    {"gradient_accumulation_steps": EPOCH, "use_ema": True, "ema_momentum": 0.8, "global_clipnorm": 0.3},
)


SOURCES = ("numbers", "numbers", "image") if BACKEND == "tensorflow" else ("numbers", "tokens", "image")
"""Keras on TensorFlow squares the gradients of a token that comes twice one by one."""


@dataclass(frozen=True)
class Timed:
    """A phase and how its epochs score, by which a plateau ends it and its best one comes back."""

    phase: Phase
    scores: tuple[float, ...]

    @property
    def best(self) -> int | None:
        """The epoch whose values come back."""
        return int(np.argmin(self.scores)) if self.phase.restore_best else None


@dataclass(frozen=True)
class Case:
    """A model, an optimizer, phases, and how the steps run."""

    recipe: Recipe
    optimizer: Optimizer
    plan: fl.Plan
    phases: tuple[Timed, ...]
    policy: str = "float32"
    keep_state: bool = True
    eager: bool = False
    together: int = 1

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.plan, tuple(timed.phase for timed in self.phases))

    def made_optimizer(self) -> Any:
        """The optimizer, with the loss scaled where that is usual."""
        made = self.optimizer.make()
        if self.policy == "mixed_float16":
            return keras.optimizers.LossScaleOptimizer(made, initial_scale=16.0)
        return made


@st.composite
def cases(draw: st.DrawFn, *, policies: tuple[str, ...] = ("float32",)) -> Case:
    """A random `Case`."""
    recipe = draw(small_recipes())
    held = inventory(recipe.build())
    plan = draw(plans(held))
    count = draw(st.sampled_from((1, 2, 2, 3, 4)))
    phases = tuple(draw(timed_phases(held, plan, number)) for number in range(count))
    name = draw(st.sampled_from(tuple(OPTIMIZERS)))
    optimizer = Optimizer(name, {**OPTIMIZERS[name], **draw(st.sampled_from(EXTRAS))}, 0)
    eager = BACKEND == "tensorflow" and draw(st.integers(0, 3)) > 0
    together = 1 if eager or BACKEND == "torch" else draw(st.sampled_from((1, 1, EPOCH)))
    policy = draw(st.sampled_from(policies))
    return Case(recipe, optimizer, plan, phases, policy, draw(st.booleans()), eager, together)


@st.composite
def small_recipes(draw: st.DrawFn) -> Recipe:
    """A model of a few layers, without dropout, whose draws a loop of our own cannot repeat."""
    style = draw(st.sampled_from(("functional", "list", "sequential")))
    source = draw(st.sampled_from(SOURCES))
    kinds = ["dense", "norm", "scaled", "layernorm"] + (["shared"] if style != "sequential" else [])
    body = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2))
    front = (Part("conv", "front_0"),) if source == "image" else ()
    return Recipe(style, source, front, tuple(Part(kind, f"body_{n}") for n, kind in enumerate(body)))


@st.composite
def timed_phases(draw: st.DrawFn, held: Inventory, plan: fl.Plan, number: int) -> Timed:
    """A phase that trains a kernel, for one or two epochs, counted in one of three ways."""
    drawn = draw(plans(held))
    phase = Phase(f"phase {number}", epochs=1, lr=draw(st.sampled_from((1.0, 0.5))), rules=drawn.rules)
    kernels = sorted(w.address for w in held.of_role("weight") if w.address.endswith("kernel"))
    together = Schedule(plan, (phase,)).plan_of(phase)
    if random_models.expected_trained(held, together).isdisjoint(kernels):
        phase = phase.train(draw(st.sampled_from(kernels)))
    epochs = draw(st.integers(1, 2))
    ends = {"name": phase.name, "lr": phase.lr, "rules": phase.rules}
    match draw(st.sampled_from(("epochs", "steps", "plateau"))):
        case "epochs":
            return Timed(Phase(epochs=epochs, **ends), (0.0,) * epochs)
        case "steps":
            return Timed(Phase(steps=epochs * EPOCH, **ends), (0.0,) * epochs)
        case _:
            # Falls once or not at all, then rises once: the rising epoch is the last.
            scores = (2.0, 1.0, 3.0)[2 - epochs :] if epochs == 2 else (1.0, 3.0)
            until = Plateau("score", patience=1)
            restore = draw(st.booleans())
            return Timed(Phase(epochs=5, until=until, restore_best=restore, **ends), scores)


# --- looking ----------------------------------------------------------------------------------


class Seen(keras.callbacks.Callback):
    """Keeps values and what the optimizer updates at the beginning of each epoch, and scores its end."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores
        self.values: list[dict[str, np.ndarray]] = []
        self.updated: list[list[int]] = []
        self.slots: list[Counter[tuple[int, ...]]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.values.append(random_models.values(self.model))
        inner = optimizer_chain(self.model.optimizer)[-1]
        self.updated.append([id(v) for v in optimizer_targets(inner)])
        self.slots.append(shapes(inner))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["score"] = self.scores[epoch]


def shapes(optimizer: Any) -> Counter[tuple[int, ...]]:
    """The shapes of all variables of an optimizer."""
    return Counter(tuple(v.shape) for v in optimizer.variables)


def trained_model(case: Case) -> tuple[keras.Model, fl.Run, Seen]:
    """Train a case with Frostline."""
    keras.config.set_dtype_policy(case.policy)
    try:
        model = case.recipe.build()
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(case.made_optimizer(), "mse", run_eagerly=case.eager, steps_per_execution=case.together)
    seen = Seen([score for timed in case.phases for score in timed.scores])
    run = fl.fit(
        model,
        case.schedule,
        *case.recipe.data(),
        keep_state=case.keep_state,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[seen],
    )
    return model, run, seen


def require_obeyed(case: Case, model: keras.Model, run: fl.Run, seen: Seen) -> None:
    """In each epoch what its phase freezes keeps every bit and has no slot, and all numbers are finite."""
    of_epoch = [n for n, timed in enumerate(case.phases) for _ in timed.scores]
    assert run.history.history["phase"] == [case.phases[n].phase.name for n in of_epoch]
    assert run.verification is not None
    assert run.verification.ok
    after = [*seen.values[1:], random_models.values(model)]
    for number, before, later, updated, slots in zip(
        of_epoch, seen.values, after, seen.updated, seen.slots, strict=True
    ):
        resolution = fl.resolve(model, case.schedule.plan_of(case.phases[number].phase))
        trained = [d.weight for d in resolution.trained]
        free = {w.address for w in trained} | {d.weight.address for d in resolution.statistics if d.trains}
        roles = {w.address: w.role for w in resolution.inventory}
        moved = {a for a in before if before[a].tobytes() != later[a].tobytes()}
        assert {a for a in moved - free if roles[a] in ("weight", "statistic")} == set()
        assert updated == [id(w.variable) for w in trained]
        fresh = case.made_optimizer()
        fresh.build([w.variable for w in trained])
        assert slots == shapes(optimizer_chain(fresh)[-1])
        assert all(np.isfinite(value).all() for value in later.values())


# --- properties -------------------------------------------------------------------------------

every = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
some = settings(every, max_examples=max(EXAMPLES // 3, 1))


def test_every_optimizer_of_keras_is_among_them() -> None:
    classes = {name for name, value in vars(keras.optimizers).items() if isinstance(value, type)}
    assert classes - NOT_FOR_PLANS == set(OPTIMIZERS)


@every
@given(cases())
def test_schedules_train_as_if_only_the_trained_existed(case: Case) -> None:
    """Frozen bits stay, slots are of the trained, and the trained equal those that are alone in the world."""
    model, run, seen = trained_model(case)
    require_obeyed(case, model, run, seen)
    alone = Reference(case.recipe.build(), case.optimizer, case.keep_state)
    for timed in case.phases:
        plan = case.schedule.plan_of(timed.phase)
        alone.train(plan, len(timed.scores), timed.best, case.recipe.data())
    noisy = case.optimizer.name in BLOWS_UP_NOISE and alone.smallest < 1e-5
    event(f"{case.optimizer.name}{', not compared for noise' if noisy else ''}")
    if not noisy:
        require_close(model, alone.model)


def require_close(model: keras.Model, other: keras.Model) -> None:
    """All weights and statistics of two models are equal but for rounding."""
    expected = random_models.values(other)
    for weight in inventory(model).of_role("weight", "statistic"):
        difference = float(np.abs(weight.numpy() - expected[weight.address]).max())
        assert difference <= TOLERANCE * max(1.0, np.abs(expected[weight.address]).max()), (
            f"{weight.address}: {difference:.1e}"
        )


@some
@given(cases(policies=("mixed_float16", "mixed_bfloat16")))
def test_schedules_are_obeyed_in_mixed_precision(case: Case) -> None:
    """The same without the numbers, which depend on how each backend rounds."""
    event(f"{case.policy}, {case.optimizer.name}")
    model, run, seen = trained_model(case)
    require_obeyed(case, model, run, seen)


# --- each optimizer by itself -----------------------------------------------------------------

DENSE = Recipe("functional", "numbers", (), (Part("dense", "body_0"), Part("layernorm", "body_1")))


QUICK = ("AdamW", "Nadam", "ScheduleFreeAdamW")


@pytest.mark.parametrize("name", quick_first(OPTIMIZERS, QUICK))
def test_leaving_and_joining_under_each_optimizer(name: str) -> None:
    """Some join late, some leave and come back: as if each were alone."""
    plan = fl.Plan().train("head/**")
    phases = (
        Timed(Phase("head", epochs=2), (0.0,) * 2),
        Timed(Phase("body", epochs=1).train("body_*/**", lr=0.5).freeze("head/**"), (0.0,)),
        Timed(Phase("all", epochs=1).train("**", decay=2.0), (0.0,)),
    )
    optimizer = Optimizer(name, OPTIMIZERS[name], 0)
    case = Case(DENSE, optimizer, plan, phases, eager=BACKEND == "tensorflow")
    model, run, seen = trained_model(case)
    require_obeyed(case, model, run, seen)
    alone = Reference(case.recipe.build(), optimizer)
    for timed in phases:
        alone.train(case.schedule.plan_of(timed.phase), len(timed.scores), None, case.recipe.data())
    require_close(model, alone.model)
