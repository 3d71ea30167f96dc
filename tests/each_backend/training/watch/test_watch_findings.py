"""What watching a training finds, and where it finds nothing."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import frostline as fl
from frostline import Phase, Plan, Schedule
from frostline.training.watch.allowance import Allowance
from helpers.checks import these_on_each
from helpers.watched_programs import SOUND, dropping, mlp, numbers, target

layers = keras.layers


def watched(model: Any, x: Any, y: Any, *callbacks: Any, **more: Any) -> fl.callbacks.Watch:
    watch = fl.callbacks.Watch(x, y, share=1.0)
    arguments = {"epochs": 4, "batch_size": 64, "shuffle": False, "verbose": 0, **more}
    model.fit(x, y, callbacks=[*callbacks, watch], **arguments)
    return watch


def codes(watch: fl.callbacks.Watch | fl.Run) -> set[str]:
    return {finding.code for finding in watch.findings}


def addresses(watch: fl.callbacks.Watch | fl.Run, code: str) -> list[str]:
    return [finding.address for finding in watch.findings if finding.code == code]


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(Allowance, "allows", lambda *_: True)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(1)


@pytest.mark.parametrize("name", these_on_each(SOUND, ["mlp, adam", "cnn with norm", "accumulation"]))
def test_nothing_is_found_in_a_sound_training(name: str) -> None:
    model, x, y = SOUND[name]()
    watch = watched(model, x, y, epochs=10)
    # That a single unit of a small network goes out of use is a fact, and may be noted.
    assert {one.severity for one in watch.findings} <= {"note"}, str(watch)
    assert codes(watch) <= {"FL601"}
    assert all("time" in gap for gap in watch.watched.not_seen)
    assert watch.watched.intervals


@pytest.mark.parametrize("name", ["mlp, sgd", "rnn", "adamw, ema"])
def test_nothing_is_found_in_a_sound_training_under_a_plan(name: str) -> None:
    model, x, y = SOUND[name]()
    plan = Plan().train("**") if name != "rnn" else Plan().train("gru/**")
    run = fl.fit(model, plan, x, y, epochs=5, batch_size=64, verbose=0, watch=True)
    assert run.findings == ()
    assert run.watched is not None


def test_nothing_is_found_in_lora_and_in_parts_of_weights() -> None:
    for plan in (
        Plan().train("one/kernel", via=fl.LowRank(2)).train("head/**"),
        Plan().train("one/kernel", rows=[0, 2]).train("head/**"),
    ):
        model, x, y = SOUND["mlp, adam"]()
        run = fl.fit(model, plan, x, y, epochs=5, batch_size=64, verbose=0, watch=True)
        assert run.findings == (), str(run)
        assert "one/kernel" in run.watched.intervals[0].moves


@pytest.mark.parametrize("rate", [3.0, 10.0])
@pytest.mark.parametrize("loss", ["mae", "huber"])
def test_units_that_die_are_found(rate: float, loss: str) -> None:
    model, x = mlp(), numbers(4)
    model.compile(keras.optimizers.SGD(rate), loss)
    watch = watched(model, x, target(x) - 5)
    assert "FL601" in codes(watch), str(watch)


def test_one_unit_that_dies_is_a_note() -> None:
    model, x = mlp(), numbers(4)
    model.compile(keras.optimizers.SGD(0.001), "mse")

    def kill(epoch: int, logs: Any) -> None:
        bias = model.get_layer("one").bias
        bias.assign(keras.ops.concatenate([keras.ops.full((1,), -100.0), bias[1:]]))

    watch = watched(model, x, target(x), keras.callbacks.LambdaCallback(on_epoch_begin=kill), epochs=2)
    found = [finding for finding in watch.findings if finding.address == "one/kernel"]
    assert [(one.code, one.severity) for one in found] == [("FL601", "note")]
    assert found[0].fact == "1 of 16 units (0) get no gradient from any sample any more, after epoch 2"


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_units_that_saturate_are_found(activation: str) -> None:
    model, x = mlp(activation), numbers(4)
    model.compile(keras.optimizers.SGD(20.0), "mae")
    watch = watched(model, x, target(x) - 5, epochs=3)
    assert {"one", "two"} & set(addresses(watch, "FL601")), str(watch)


@pytest.mark.parametrize("rate", [0.6, 1.0])
def test_gradients_that_explode_and_what_grows_are_found(rate: float) -> None:
    model, x = mlp("linear"), numbers(4)
    model.compile(keras.optimizers.SGD(rate), "mse")
    watch = watched(model, x, target(x), epochs=1)
    assert {"FL602", "FL603"} <= codes(watch), str(watch)
    assert "" in addresses(watch, "FL603")


def test_a_weight_that_grows_by_a_factor_each_epoch_is_found_and_one_that_grows_to_its_place_is_not() -> None:
    def grown(by: Any) -> fl.callbacks.Watch:
        model, x = mlp("tanh"), numbers(4)
        model.compile(keras.optimizers.SGD(1e-4), "mse")
        kernel = model.get_layer("one").kernel
        grow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: kernel.assign(by(kernel)))
        return watched(model, x, target(x), grow, epochs=6)

    # The first growth lies before the epoch's start is taken, as any callback's in front does.
    assert addresses(grown(lambda kernel: kernel * 4), "FL603") == ["one/kernel"]
    assert addresses(grown(lambda kernel: kernel + 40), "FL603") == []


@pytest.mark.every_backend
@pytest.mark.parametrize("used", [2, None])
def test_a_gradient_that_a_step_of_the_users_own_drops_is_found(used: int | None) -> None:
    watch = watched(*dropping(used))
    dropped = ["head/kernel", "head/bias"] if used else []
    assert addresses(watch, "FL605") == dropped, str(watch)
    # An optimizer that is built by what it is first given lacks the rest, where it is.
    assert codes(watch) - ({"FL606"} if used else set()) == ({"FL605"} if used else set())


def test_steps_that_add_up_to_nothing_are_no_standing_still() -> None:
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, kernel_initializer="ones", name="head")])
    model.compile(keras.optimizers.SGD(1.0), "mae")
    x = numbers(1) * 0
    watch = watched(model, x, x + 0.5, epochs=5, batch_size=32)
    assert watch.watched.intervals[0].moves["head/bias"].largest == 0
    assert not {"FL604", "FL605"} & {f.code for f in watch.findings if f.address == "head/bias"}


def test_a_weight_unfrozen_behind_the_optimizers_back_is_found() -> None:
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch stops by itself")
    model, x = mlp("tanh"), numbers(4)
    model.get_layer("one").trainable = False
    model.compile(keras.optimizers.SGD(0.05), "mse")

    def unfreeze(epoch: int, logs: Any) -> None:
        model.get_layer("one").trainable = True

    watch = watched(model, x, target(x), keras.callbacks.LambdaCallback(on_epoch_end=unfreeze), epochs=1)
    assert "FL606" in codes(watch)


@pytest.mark.every_backend
@pytest.mark.parametrize("mends", [True, False])
def test_an_error_stays_in_the_words_of_the_log_with_when_it_was_so(
    mends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model, x = mlp("linear"), numbers(4)
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    kept = [w.copy() for w in model.get_weights()]

    def far_off(epoch: int, logs: Any) -> None:
        model.set_weights(kept if mends and epoch > 2 else [100 * w for w in kept])

    spoil = keras.callbacks.LambdaCallback(on_epoch_begin=far_off)
    watch = watched(model, x, target(x), spoil, epochs=4)
    found = [one for one in watch.findings if one.code == "FL602"]
    assert [one.severity for one in found] == ["error"]
    when = " (epochs 1 to 3; no longer)" if mends else " (epochs 1 to 4)"
    logged = [line for line in caplog.messages if line.startswith("FL602")]
    assert logged == [f"FL602 error {found[0].address}: {found[0].fact.removesuffix(when)}"]
    assert " by epoch 1," in found[0].fact
    assert found[0].fact.endswith(when)
    again = fl.callbacks.Watch(x, target(x))
    again.load_state_dict(watch.state_dict())
    assert again.findings == watch.findings


@pytest.mark.parametrize(
    ("momentum", "shift", "drifts"), [(0.999, 0.0, True), (0.999, 5.0, True), (0.5, 5.0, False)]
)
def test_statistics_that_are_far_from_the_data_are_found(momentum: float, shift: float, drifts: bool) -> None:
    norm = layers.BatchNormalization(momentum=momentum, name="norm")
    model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    x = 3 * numbers(4) + shift
    watch = watched(model, x, target(x))
    assert addresses(watch, "FL607") == (["norm"] if drifts else []), str(watch)


def test_what_an_earlier_phase_left_behind_stays_found() -> None:
    model, x = mlp(), numbers(4)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    body = Phase("body", epochs=2).train("one/**")
    head = Phase("head", epochs=2).train("head/**").freeze("one/**")
    bias = model.get_layer("one").bias

    def kill(epoch: int, logs: Any) -> None:
        if epoch == 1:
            bias.assign(keras.ops.full(bias.shape, -100.0))

    callbacks = [fl.callbacks.Watch(share=1.0), keras.callbacks.LambdaCallback(on_epoch_begin=kill)]
    arguments = {"batch_size": 16, "verbose": 0, "callbacks": callbacks}
    run = fl.fit(model, Schedule(Plan(), (body, head)), x, target(x), **arguments)
    assert [one.phase for one in run.watched.intervals] == ["body", "body", "head", "head"]
    assert [sorted(one.moves) for one in run.watched.intervals[1:3]] == [
        ["one/bias", "one/kernel"],
        ["head/bias", "head/kernel"],
    ]
    assert addresses(run, "FL601") == ["one/kernel"], str(run)
    assert "FL601 warning one/kernel: 16 of 16 units" in str(run)
