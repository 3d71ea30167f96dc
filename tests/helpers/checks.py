"""What the tests of Frostline look at: values by address, who moves, who has slots, which flags stand.

Import as `from helpers.checks import changed`. The models are those of `small_models`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline._keras.layers import layer_flag
from frostline._keras.optimizers import optimizer_chain, optimizer_targets
from helpers.small_models import data_for, value_of

Values = dict[str, np.ndarray]


THOROUGH = "FROSTLINE_EXAMPLES" in os.environ
"""Whether time does not matter."""


def examples(torch: int, jax: int | None = None, tensorflow: int | None = None) -> int:
    """How many random examples to draw: fewer where each is compiled; `FROSTLINE_EXAMPLES` overrides it."""
    default = {"torch": torch, "jax": jax, "tensorflow": tensorflow}[keras.backend.backend()] or torch
    return int(os.environ.get("FROSTLINE_EXAMPLES", default))


def quick_first(names: Iterable[str], quick: Iterable[str]) -> list[Any]:
    """Parameters for a test: on backends that compile, all but the quick ones are for `make test-all`."""
    slow = set(names) - set(quick) if keras.backend.backend() != "torch" else set()
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in names]


def first_on_each(values: Iterable[Any]) -> list[Any]:
    """Parameters for a test: `make test` runs it with the first on each backend, with the others on one."""
    first, *others = values
    return [pytest.param(first, marks=pytest.mark.every_backend), *others]


def these_on_each(names: Iterable[str], each: Iterable[str]) -> list[Any]:
    """Parameters for a test: `make test` runs it with some on each backend, with the others on one."""
    marked = set(each)
    return [pytest.param(n, marks=pytest.mark.every_backend if n in marked else ()) for n in names]


@contextmanager
def quick_compilation() -> Iterator[None]:
    """On JAX, compile without optimizing: a few steps of a tiny model do not win that time back."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@contextmanager
def eager_on_tensorflow() -> Iterator[None]:
    """On TensorFlow, train without tracing: a few steps of a tiny model take less time than it does."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    trainer: Any = next(cls for cls in keras.Model.__mro__ if "compile" in vars(cls))
    traced = trainer.compile

    def compile(model: keras.Model, *args: Any, **named: Any) -> None:
        if named.get("jit_compile") is not True:
            named.setdefault("run_eagerly", True)
        traced(model, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "compile", compile)  # not of Model: it would count as overridden
        yield


def values(model: keras.Model) -> Values:
    """Copies of the values of all weights and statistics, by address."""
    held = fl.inventory(model).of_role("weight", "statistic")
    return {weight.address: value_of(weight.variable) for weight in held}


def changed(model: keras.Model, before: Values) -> set[str]:
    """The addresses of the weights and statistics whose bits differ from `before`."""
    now = values(model)
    return {address for address in before if before[address].tobytes() != now[address].tobytes()}


def weights_in(model: keras.Model, *prefixes: str) -> set[str]:
    """The addresses of the weights in layers with these addresses."""
    held = fl.inventory(model).of_role("weight")
    return {w.address for w in held if w.address.startswith(tuple(f"{one}/" for one in prefixes))}


def all_weights(model: keras.Model) -> set[str]:
    """The addresses of all weights, statistics not counted."""
    return {weight.address for weight in fl.inventory(model).of_role("weight")}


def keras_fit(model: keras.Model, **arguments: Any) -> None:
    """Two steps of plain `model.fit` an epoch."""
    model.fit(*data_for(model), batch_size=4, shuffle=False, verbose=0, **arguments)


def frostline_fit(model: keras.Model, plan: Any, **arguments: Any) -> fl.Run:
    """Two steps of `fl.fit` an epoch, unless the arguments say otherwise."""
    x, y = data_for(model)
    return fl.fit(model, plan, x, y, **{"batch_size": 4, "shuffle": False, "verbose": 0} | arguments)


def moved_by(model: keras.Model, train: Any) -> set[str]:
    """Calls `train()`; the addresses of what moved."""
    before = values(model)
    train()
    return changed(model, before)


def require_obeys(model: keras.Model, plan: Any, trained: Iterable[str]) -> None:
    """After `fl.apply`: `fit`, `train_on_batch` and `fl.fit` move `trained`, and nothing else."""
    trained = set(trained)
    x, y = data_for(model)
    assert flags_that_train(model) == trained
    assert moved_by(model, lambda: keras_fit(model)) == trained
    assert moved_by(model, lambda: model.train_on_batch(x, y)) == trained
    assert moved_by(model, lambda: frostline_fit(model, plan)) == trained
    require_slots(model, trained)


def require_slots(model: keras.Model, trained: Iterable[str]) -> None:
    """The optimizer updates just these weights, and holds as many variables as a new one would."""
    address_of = {id(w.variable): w.address for w in fl.inventory(model)}
    targets = optimizer_targets(model.optimizer)
    assert {address_of[id(variable)] for variable in targets} == set(trained)
    assert len(targets) == len(set(trained))

    fresh = type(model.optimizer).from_config(model.optimizer.get_config())
    fresh.build(targets)
    assert [tuple(v.shape) for v in model.optimizer.variables] == [tuple(v.shape) for v in fresh.variables]


def flags_that_train(model: keras.Model) -> set[str]:
    """The addresses of `model.trainable_weights`; fails where a layer says otherwise.

    A layer's flag must be that of at least one weight in it, and its `trainable_weights` complete.
    """
    held = fl.inventory(model)
    address_of = {id(w.variable): w.address for w in held}
    trained = {address_of[id(v)] for v in model.trainable_weights}
    assert trained == {w.address for w in held.of_role("weight") if w.variable.trainable}
    for node in held.layers:
        inside = trained.intersection(node.below)
        assert {address_of[id(v)] for v in node.layer.trainable_weights} == inside
        statistics_only = node.below and all(
            held.by_address[address].role == "statistic" for address in node.below
        )
        if node.below and not statistics_only:
            # A layer that moves statistics is True without a weight that trains.
            assert node.layer.trainable == bool(inside) or node.takes_training
    return trained


def every_flag(model: keras.Model) -> dict[str, bool]:
    """The flag of every layer, weight, statistic and seed of a model, by address."""
    held = fl.inventory(model)
    flags = {f"layer {node.address}": node.layer.trainable for node in held.layers}
    flags |= {f"own {node.address}": layer_flag(node.layer) for node in held.layers}
    return flags | {f"weight {w.address}": w.variable.trainable for w in held}


def every_call(model: keras.Model) -> dict[str, Any]:
    """What stands in the place of the `call` of every layer, by address; None for the class's own."""
    return {node.address: vars(node.layer).get("call") for node in fl.inventory(model).layers}


def names(objects: Iterable[Any]) -> list[str]:
    """The names of layers or of variables."""
    return [one.name for one in objects]


def optimizer_state(model: keras.Model) -> list[np.ndarray]:
    """Copies of all variables of the optimizer."""
    return [value_of(variable) for variable in model.optimizer.variables]


def same_arrays(one: Iterable[np.ndarray], other: Iterable[np.ndarray]) -> bool:
    """Whether two lists of arrays have the same bits."""
    first, second = list(one), list(other)
    return len(first) == len(second) and all(
        a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True)
    )


def slots_by_address(model: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    """Copies of the optimizer's slots, by the weight's address and the slot's name."""
    from frostline.optimizers.slots import slots_of

    inner = optimizer_chain(model.optimizer)[-1]
    address_of = {id(w.variable): w.address for w in fl.inventory(model)}
    targets = optimizer_targets(inner)
    return {
        address_of[id(variable)]: {name: value_of(slot) for name, slot in held.items()}
        for variable, held in zip(targets, slots_of(inner), strict=True)
    }


def user_warnings(seen: pytest.WarningsRecorder) -> list[str]:
    """The messages of the UserWarnings seen."""
    return [str(one.message) for one in seen if issubclass(one.category, UserWarning)]
