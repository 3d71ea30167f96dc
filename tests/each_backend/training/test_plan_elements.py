"""Training under plans with elements: like variables of their own, in phases, killed, by commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from frostline._keras.trainers import sync_values
from frostline.errors import PlanError, VerificationError
from helpers.checks import quick_first
from helpers.command_line import Runner
from helpers.parametrized_models import (
    HOW,
    address,
    data,
    elements_of,
    network_by_hand,
    numpy,
    plain_network,
    train,
)

pytestmark = pytest.mark.optimized

BITS = np.uint32

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: optimizers.Adam(0.01),
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "RMSprop": lambda: optimizers.RMSprop(0.01, momentum=0.5),
    "Lion": lambda: optimizers.Lion(0.01),
    "Nadam": lambda: optimizers.Nadam(0.01),
    "AdamW, clipped, averaged": lambda: optimizers.AdamW(
        0.01, weight_decay=0.1, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9
    ),
}


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(BITS)


# Against variables of their own -------------------------------------------------------------------


@pytest.mark.every_backend
def test_a_plan_trains_elements_as_variables_of_their_own() -> None:
    """Every kind at once, under decay, clipping and averages; frozen elements keep every bit."""

    def optimizer() -> Any:
        return optimizers.AdamW(0.001, weight_decay=0.1, global_clipnorm=0.05, use_ema=True, ema_momentum=0.9)

    model = plain_network()
    plan = fl.Plan().train("none/**", optional=True)
    for name, how in HOW.items():
        plan = plan.train(address(name), via=how)
    with fl.applied(model, plan):
        reference = network_by_hand(model)
    before = {w.address: w.numpy() for w in fl.inventory(model)}
    model.compile(optimizer(), "mse")
    run = fl.fit(model, plan, *data(), batch_size=4, epochs=3, shuffle=False, verbose=0)
    train(reference, optimizer())

    assert run.verification is not None
    assert run.verification.ok
    assert set(run.verification.of("partial")) == {address(name) for name in HOW}
    assert run.receipt is not None
    assert run.receipt.check(after=fl.fingerprint(model)) == []
    assert set(run.receipt.parts) == {address(name) for name in HOW}
    for name in set(HOW) - {"low"}:
        weight, chosen = fl.inventory(model).by_address[address(name)], None
        expected = reference.get_layer(name).values()
        if name == "scale":
            found, wanted = numpy(weight.combination.parts["scale"]), expected["scale"]
        else:
            found, wanted, chosen = weight.numpy(), expected["whole"], elements_of(name)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max(), err_msg=name)
        if chosen is not None:
            first = before[address(name)]
            assert np.array_equal(bits(found[~chosen]), bits(first[~chosen])), name
            assert (found[chosen] != first[chosen]).mean() > 0.9, name


# Phases -------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(6, 4)).astype("float32")
X, Y = RNG.normal(size=(16, 6)).astype("float32"), RNG.normal(size=(16, 4)).astype("float32")
THIRDS = ((0, 1), (1, 3), (3, 6))
"""Three groups of the rows of `a/kernel`."""


class InThirds(layers.Layer):
    """A matrix product whose kernel is three variables, one for each group of rows."""

    def build(self, input_shape: Any) -> None:
        self.thirds = []
        for first, after in THIRDS:
            third = self.add_weight(shape=(after - first, 4), name=f"rows_{first}")
            third.assign(FIRST[first:after])
            self.thirds.append(third)

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, ops.concatenate([ops.convert_to_tensor(one) for one in self.thirds]))


def one_kernel(kernel: np.ndarray = FIRST) -> keras.Model:
    layer = layers.Dense(4, use_bias=False, name="a")
    model = keras.Sequential([keras.Input((6,)), layer])
    layer.kernel.assign(kernel)
    return model


def in_thirds() -> keras.Model:
    return keras.Sequential([keras.Input((6,)), InThirds(name="a")])


PHASES: tuple[tuple[dict[str, int], tuple[int, ...]], ...] = (
    ({"epochs": 1}, (0,)),
    ({"epochs": 2}, (0, 1)),
    ({"steps": 3}, (1,)),
    ({"epochs": 2}, (0, 1, 2)),
    ({"epochs": 1}, (2,)),
    ({"epochs": 2}, (0, 1, 2)),
)
"""How long each phase lasts, and which thirds of the rows train in it: more, less, all, some, all."""


def rows(plan: Any, third: int) -> Any:
    return plan.train("a/kernel", rows=slice(*THIRDS[third]))


def variables(plan: Any, third: int) -> Any:
    return plan.train(f"a/rows_{THIRDS[third][0]}")


def schedule(add: Callable[[Any, int], Any]) -> fl.Schedule:
    phases = []
    for number, (length, thirds) in enumerate(PHASES):
        phase = fl.Phase(f"phase {number}", **length)  # type: ignore[arg-type]
        for third in thirds:
            phase = add(phase, third)
        phases.append(phase)
    return fl.Schedule(fl.Plan(), tuple(phases))


def fit(model: keras.Model, plan: Any, **arguments: Any) -> fl.Run:
    settings = {"batch_size": 4, "shuffle": False, "verbose": 0} | arguments
    return fl.fit(model, plan, X, Y, **settings)


@pytest.mark.parametrize("optimizer", quick_first(OPTIMIZERS, ["Adam", "AdamW, clipped, averaged"]))
def test_rows_that_go_on_keep_their_slots_and_new_ones_begin(optimizer: str) -> None:
    """Through every change each row has its own moments and its own count of steps, as a variable has."""
    model, reference = one_kernel(), in_thirds()
    for one in (model, reference):
        one.compile(OPTIMIZERS[optimizer](), "mse")
    run = fit(model, schedule(rows))
    fit(reference, schedule(variables))
    found = numpy(model.get_layer("a").kernel)
    expected = np.concatenate([numpy(one) for one in reference.get_layer("a").thirds])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert (np.abs(found - FIRST) > 1e-3).mean() > 0.9

    assert run.verification is not None
    assert run.verification.of("trained") == ("a/kernel",)
    shown = [p.verification.findings[0].part for p in run.phases if p.verification]
    assert shown == ["rows 0:1", "rows 0:3", "rows 1:3", "", "rows 3:6", ""]
    assert run.receipt is not None
    assert run.receipt.check() == []
    assert [len(phase.parts) for phase in run.receipt.phases] == [1, 1, 1, 0, 1, 0]


def test_what_no_phase_trains_is_proved_over_all() -> None:
    model = one_kernel()
    model.compile(optimizers.AdamW(0.01, weight_decay=0.1), "mse")
    phases = (rows(fl.Phase("one", epochs=1), 0), rows(rows(fl.Phase("two", epochs=1), 0), 1))
    run = fit(model, fl.Schedule(fl.Plan(), phases))
    assert run.verification is not None
    assert run.verification.to_data()["partial"] == {"a/kernel": "rows 0:3"}
    now = numpy(model.get_layer("a").kernel)
    assert np.array_equal(bits(now[3:]), bits(FIRST[3:]))
    assert (now[:3] != FIRST[:3]).all()


class Meddles(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds one to a row of the kernel in an epoch, as nobody should."""

    def __init__(self, epoch: int, row: int) -> None:
        super().__init__()
        self.epoch, self.row = epoch, row

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            sync_values(self.model)
            kernel = self.model.get_layer("a").kernel
            base = kernel.combination.base
            value = numpy(base)
            value[self.row] += 1
            base.assign(value)


@pytest.mark.parametrize(("epoch", "row", "held"), [(0, 0, True), (0, 1, False), (1, 1, True), (1, 4, False)])
@pytest.mark.every_backend
def test_the_guard_sees_every_frozen_element_of_each_phase(epoch: int, row: int, held: bool) -> None:
    """A row that only the second phase trains is frozen in the first. What trains does not read the base."""
    model = one_kernel()
    model.compile(optimizers.SGD(0.01), "mse")
    phases = (rows(fl.Phase("one", epochs=2), 0), rows(rows(fl.Phase("two", epochs=2), 0), 1))
    plan = fl.Schedule(fl.Plan(), phases if epoch == 0 else phases[1:])
    if held:
        assert fit(model, plan, callbacks=[Meddles(epoch, row)]).verification is not None
        return
    with pytest.raises(VerificationError) as caught:
        fit(model, plan, callbacks=[Meddles(epoch, row)])
    assert "a/kernel (changed)" in str(caught.value)


def test_adapters_come_and_go_between_phases() -> None:
    """What goes is merged; the receipt proves the base of each phase, and the whole counts as trained."""
    model = one_kernel()
    model.compile(optimizers.Adam(0.01), "mse")
    one = fl.Phase("one", epochs=2).train("a/kernel", via=fl.LowRank(2, seed=1))
    two = fl.Phase("two", epochs=1).train("a/kernel", rows=[5])
    three = fl.Phase("three", epochs=2).train("a/kernel", via=fl.LowRank(1, seed=1))
    run = fit(model, fl.Schedule(fl.Plan(), (one, two, three)))
    assert run.verification is not None
    assert run.verification.of("trained") == ("a/kernel",)
    assert [v.of("partial") for v in (p.verification for p in run.phases) if v] == [("a/kernel",)] * 3
    assert run.receipt is not None
    assert run.receipt.check(after=fl.fingerprint(model)) == []
    assert fl.Receipt._from_data(run.receipt.to_data()) == run.receipt


def test_best_weights_of_another_phase_are_refused_where_parts_differ() -> None:
    model = one_kernel()
    model.compile("sgd", "mse")
    stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    phases = (rows(fl.Phase("one", epochs=1), 0), rows(fl.Phase("two", epochs=1), 1))
    with pytest.raises(PlanError) as caught:
        fit(model, fl.Schedule(fl.Plan(), phases), callbacks=[stop])
    assert str(caught.value) == (
        "EarlyStopping cannot restore the best weights across phases that train different parts of a "
        "weight.\n"
        "  received: restore_best_weights=True; phases that differ in a/kernel\n"
        "  fix:      let phases restore their own: Phase(..., until=Plateau(...), restore_best=True)"
    )
    fit(model, rows(fl.Plan(), 0), callbacks=[stop], epochs=2)


# A loop of one's own ------------------------------------------------------------------------------


def test_a_loop_of_ones_own_goes_on_with_more_rows() -> None:
    model, opt = one_kernel(), optimizers.Adam(0.1)
    for thirds in ((0,), (0, 1)):
        plan = fl.Plan()
        for third in thirds:
            plan = rows(plan, third)
        opt = fl.optimizer_for(model, plan, opt)
        for _ in range(3):
            (part,) = model.trainable_variables
            opt.apply([ops.ones(part.shape)], [part])
    moved = (FIRST - numpy(model.get_layer("a").kernel))[:, 0]
    # With a gradient that is always one, Adam moves by its rate at each step, if it counts them right.
    np.testing.assert_allclose(moved, [0.6, 0.3, 0.3, 0, 0, 0], atol=1e-5)


# Killed -------------------------------------------------------------------------------------------


class Killed(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises in an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise KeyboardInterrupt


def elementwise() -> fl.Schedule:
    return schedule(rows)


def adapters() -> fl.Schedule:
    one = fl.Phase("one", epochs=2).train("a/kernel", via=fl.LowRank(2, seed=1))
    two = fl.Phase("two", epochs=2).train("a/kernel", rows=[5])
    three = fl.Phase("three", epochs=2).train("a/kernel", via=fl.LowRank(2, seed=1))
    return fl.Schedule(fl.Plan(), (one, two, three))


KILLS: dict[str, tuple[Callable[[], fl.Schedule], Sequence[int]]] = {
    f"{make.__name__} {epochs}": (make, epochs)
    for make in (elementwise, adapters)
    for epochs in ((1,), (3, 4), (5,))
}


@pytest.mark.parametrize(
    "kill", quick_first(KILLS, ["elementwise (1,)", "elementwise (3, 4)", "adapters (3, 4)", "adapters (5,)"])
)
def test_a_run_goes_on_where_it_was_killed(kill: str, tmp_path: Path) -> None:
    """On a model made anew each time, with the numbers of an undisturbed run."""
    make, epochs = KILLS[kill]

    def made() -> keras.Model:
        keras.utils.set_random_seed(3)
        model = one_kernel()
        model.compile(optimizers.AdamW(0.01, weight_decay=0.1), "mse")
        return model

    whole = made()
    undisturbed = fit(whole, make(), shuffle=True)
    for epoch in epochs:
        with pytest.raises(KeyboardInterrupt):
            fit(made(), make(), shuffle=True, resume=tmp_path, callbacks=[Killed(epoch)])
    model = made()
    run = fit(model, make(), shuffle=True, resume=tmp_path)
    assert run.resumed == epochs[-1]
    assert numpy(model.get_layer("a").kernel).tobytes() == numpy(whole.get_layer("a").kernel).tobytes()
    assert run.history.history == undisturbed.history.history
    assert run.receipt is not None and undisturbed.receipt is not None
    assert run.receipt.after == undisturbed.receipt.after
    assert run.receipt.phases == undisturbed.receipt.phases


# Commands -----------------------------------------------------------------------------------------


def test_commands_take_plans_with_elements(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask is found beside the plan, wherever the command is called."""
    (tmp_path / "plans").mkdir()
    monkeypatch.chdir(tmp_path)
    model = one_kernel()
    model.compile(optimizers.Adam(0.01), "mse")
    model.save("model.keras")
    np.savez("data.npz", x=X, y=Y)
    mask = np.arange(24).reshape(6, 4) % 5 == 0
    fl.Plan().train("a/kernel", mask=mask).train("a/kernel", rows="5:").save("plans/plan.yaml")

    shown = run("plan", "model.keras", "plans/plan.yaml", "--json")
    assert shown.code == 0
    (weight,) = shown.data["weights"]
    assert (weight["status"], weight["part"]["elements"]) == ("partial", 8)
    table = run("plan", "model.keras", "plans/plan.yaml")
    assert "8 of 24  partial" in table.out
    assert "mask of 8 elements, path: general" in table.out.replace("\n", " ").replace("  ", "")

    (tmp_path / "run.yaml").write_text(
        "frostline: 1\nmodel: model.keras\nplan: plans/plan.yaml\ndata: {npz: data.npz}\n"
        "compile: {optimizer: adam, loss: mse}\nepochs: 2\nbatch_size: 4\noutput: out\n"
    )
    done = run("fit", "run.yaml")
    assert done.code == 0, done.err + done.out
    assert "(0 weights held over the whole run, 0 trained, 1 in part)" in done.out
    receipt = fl.Receipt.load("out/receipt.json")
    assert fl.Plan.load("out/plan.yaml") == fl.Plan.load("plans/plan.yaml")
    assert receipt.check() == []
    assert list(receipt.parts) == ["a/kernel"]
    assert receipt.check_plan(one_kernel()) == []
