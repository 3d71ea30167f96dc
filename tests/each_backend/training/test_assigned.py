"""Weights that code assigns: out of the optimizer, expected to move, and the rest held all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import FrostlineError, NotFiniteError, PlanError, VerificationError

PLAN = fl.Plan().train("online/**").assigned("target/**")


def encoder(name: str) -> keras.Model:
    inner = [
        layers.Dense(4, name="d"),
        layers.BatchNormalization(name="bn"),
        layers.Dropout(0.1, name="drop"),
    ]
    return keras.Sequential([keras.Input((4,)), *inner], name=name)


@keras.saving.register_keras_serializable("tests")
class Pair(keras.Model):
    """A network and a target that follows it by moving average, beside a part that stays fixed."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.online, self.target = encoder("online"), encoder("target")
        self.fixed = layers.Dense(4, name="fixed")
        self.target.trainable = False

    def build(self, shape: Any) -> None:
        self.fixed.build(shape)
        self.built = True

    def call(self, x: Any, training: bool = False) -> Any:
        wanted = ops.stop_gradient(self.target(x, training=False))
        gap = self.online(self.fixed(x), training=training) - wanted
        if training:
            for student, teacher in zip(self.online.weights, self.target.weights, strict=True):
                if "seed" not in teacher.path:
                    teacher.assign(0.9 * teacher + 0.1 * student)
        return ops.mean(gap**2, axis=-1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@keras.saving.register_keras_serializable("tests")
class Codebook(layers.Layer):
    """Codes that follow what comes in, as vector quantization with moving averages has them."""

    def build(self, shape: Any) -> None:
        self.codes = self.add_weight(shape=(shape[-1],), name="codes")
        self.use = self.add_weight(shape=(), name="use", initializer="zeros", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.codes.assign(0.5 * self.codes + 0.5 * ops.mean(ops.stop_gradient(x), axis=0))
            self.use.assign(self.use + 1.0)
        return x + ops.stop_gradient(self.codes - x) + 0.0 * x + x


def pair() -> Pair:
    keras.utils.set_random_seed(3)
    model = Pair(name="pair")
    model.build((None, 4))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def quantized() -> keras.Model:
    keras.utils.set_random_seed(3)
    inner = [layers.Dense(4, name="features"), Codebook(name="book"), layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((4,)), *inner], name="quantized")
    model.compile("sgd", "mse")
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(16, 4)).astype("float32"), np.zeros((16, 1), "float32")


def fit(model: Any, plan: Any, **more: Any) -> fl.Run:
    return fl.fit(model, plan, *data(), verbose=0, shuffle=False, batch_size=8, **more)


def targets(run: fl.Run) -> set[str]:
    return set(run.verification.of("assigned"))


def assert_same(one: keras.Model, other: keras.Model) -> None:
    for first, second in zip(one.weights, other.weights, strict=True):
        if "seed" not in first.path:
            pair_of = ops.convert_to_numpy(first), ops.convert_to_numpy(second)
            np.testing.assert_array_equal(*pair_of, first.path)


class StopAfter(keras.callbacks.Callback):
    """Interrupts a training once some epochs are done."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epochs:
            raise KeyboardInterrupt


def test_a_target_network_moves_as_planned_and_the_rest_is_held() -> None:
    model = pair()
    audit = fl.audit(model, *data(), plan=PLAN)
    assert {audit.statuses[f"target/{name}"] for name in ("d/kernel", "bn/gamma", "bn/moving_mean")} == {
        "assigned"
    }
    assert not [f for f in audit.findings if f.code in ("FL201", "FL202")]
    run = fit(model, PLAN, epochs=2)
    assert {"target/d/kernel", "target/bn/moving_mean", "target/bn/moving_variance"} <= targets(run)
    assert run.verification.of("intact") == ("fixed/kernel", "fixed/bias")
    assert "assigned by code" in run.verdict
    optimizer = {v.path for v in model.optimizer.variables}
    assert not any("target" in path for path in optimizer)
    receipt = run.receipt
    assert receipt.check(after=fl.fingerprint(model)) == []
    assert receipt.check_plan(pair()) == []


def test_without_it_the_run_fails_and_one_finding_says_how_to_declare_it() -> None:
    model = pair()
    findings = [f for f in fl.audit(model, *data()).findings if f.code in ("FL201", "FL202")]
    assert [(f.code, f.address) for f in findings] == [("FL202", "target")]
    assert "plan.assigned('target/**')" in findings[0].remedy
    with pytest.raises(VerificationError, match=r"target/d/kernel(.|\n)*\.assigned\('target/\*\*'\)"):
        fit(pair(), fl.Plan().train("online/**"))
    # As it is advised.
    assert fit(pair(), fl.Plan().train("online/**").assigned("target/**")).verification.ok


def test_what_moves_beside_it_still_fails() -> None:
    class Nudge(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.fixed.bias.assign(self.model.fixed.bias + 1.0)

    with pytest.raises(VerificationError, match="fixed/bias"):
        fit(pair(), PLAN, callbacks=[Nudge()])


def test_a_codebook_with_a_counter() -> None:
    model = quantized()
    plan = fl.Plan(default="train").assigned("book/**")
    run = fit(model, plan)
    assert run.verification.of("assigned") == ("book/codes", "book/use")
    assert float(model.get_layer("book").use) == 2.0
    assert run.resolution["book/codes"].status == run.resolution["book/use"].status == "assigned"


def test_what_code_does_not_touch_is_said() -> None:
    run = fit(quantized(), fl.Plan().train("head/**").assigned("{book,features}/**"))
    assert run.verification.of("unmoved") == ("features/kernel", "features/bias")
    assert "did not move: features/kernel, features/bias: no code assigned to it" in str(run)


def test_a_run_goes_on_with_what_code_assigned(tmp_path: Path) -> None:
    whole = pair()
    fit(whole, PLAN, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit(pair(), PLAN, epochs=4, resume=tmp_path / "run", callbacks=[StopAfter(2)])
    second = pair()
    run = fit(second, PLAN, epochs=4, resume=tmp_path / "run")
    assert run.resumed == 2
    assert_same(whole, second)


def test_it_may_change_between_phases() -> None:
    follow = fl.Phase("follow", epochs=1).assigned("target/**")
    schedule = fl.Schedule(fl.Plan().train("online/**"), (follow,))
    run = fit(pair(), schedule)
    assert "target/d/kernel" in targets(run)
    assert run.receipt.check_plan(pair()) == []
    altered = fl.Receipt(
        **{**vars(run.receipt), "assigned": (), "trained": (*run.receipt.trained, "target/d/kernel")}
    )
    assert any("target/d/kernel as trained" in problem for problem in altered.check_plan(pair()))


def test_it_is_saved_loaded_and_in_deltas(tmp_path: Path) -> None:
    model = pair()
    run = fit(model, PLAN)
    fl.save_model(model, tmp_path / "m.keras")
    again = fl.load_model(tmp_path / "m.keras")
    assert_same(model, again)
    assert targets(fit(again, PLAN)) == targets(run)
    for base in (run, None):
        fl.save_delta(model, tmp_path / "d.safetensors", base=base)
        loaded = pair()
        fl.load_delta(loaded, tmp_path / "d.safetensors")
        assert_same(model, loaded)


def test_elements_of_what_code_assigns_are_refused() -> None:
    plan = fl.Plan().assigned("features/kernel").train("features/kernel", rows=[0]).train("head/**")
    with pytest.raises(PlanError, match="rule 1 says that code assigns all of it"):
        plan.resolve(quantized())


def test_a_plan_of_assignments_alone_trains_nothing() -> None:
    with pytest.raises(FrostlineError, match="trains nothing"):
        fit(quantized(), fl.Plan().assigned("book/**"))


class Spoilt(layers.Layer):
    """Assigns NaN to a number that nothing reads."""

    def build(self, shape: Any) -> None:
        self.seen = self.add_weight(shape=(), name="seen", initializer="zeros")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.seen.assign(ops.sqrt(self.seen - 1.0))
        return x


def test_what_code_makes_nan_is_not_verified() -> None:
    model = keras.Sequential([keras.Input((4,)), Spoilt(name="spoilt"), layers.Dense(1, name="head")])
    model.compile("sgd", "mse")
    with pytest.raises(NotFiniteError, match="spoilt/seen"):
        fit(model, fl.Plan().train("head/**").assigned("spoilt/**"))
