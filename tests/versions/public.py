"""Steps of the smoke: every name of `frostline` and `frostline.layers`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from used import Used, step

import frostline
import frostline.layers

fl: Any = Used(frostline)
BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 6)).astype("float32"), RNG.normal(size=(24, 2)).astype("float32")


def net(optimizer: Any = "adamw", **compiled: Any) -> keras.Model:
    """A backbone with statistics and dropout, nested, and a head."""
    block = [layers.Dense(5, "tanh", name="block_1"), layers.BatchNormalization(name="norm")]
    block += [layers.Dropout(0.2, name="drop"), layers.Dense(5, "tanh", name="block_2")]
    backbone = keras.Sequential([keras.Input((6,)), *block], name="backbone")
    model = keras.Sequential([keras.Input((6,)), backbone, layers.Dense(2, name="head")], name="net")
    model.compile(optimizer, "mse", **compiled)
    return model


HEAD = frostline.Plan().train("head/**")


def trained(model: keras.Model, plan: Any = HEAD, **more: Any) -> Any:
    """Train, and have it proved."""
    run = fl.fit(model, plan, X, Y, **{"verbose": 0, "batch_size": 8, **more})
    run.verification.require_ok()
    assert run.gradients_not_checked == ""
    return run


@step
def names_and_schemas() -> Any:
    assert fl.__version__ == frostline._version.__version__
    assert fl.plan_schema()["title"] and fl.run_schema()["title"]
    return fl.recommended_initializer("relu").make()


@step
def plans_and_selectors() -> Any:
    chosen = fl.selector("head/**") & ~fl.selector("**/bias")
    plan = fl.Plan().train(chosen).train("backbone/block_2/**", lr=0.1).freeze("**/bias")
    plan.save("plan.yaml")
    assert fl.Plan.load("plan.yaml").to_data() == plan.to_data()
    resolution = fl.resolve(net(), plan)
    assert {d.weight.address for d in resolution if d.trains} == {
        "head/kernel",
        "backbone/block_2/kernel",
    }
    assert resolution.optimizer_memory("adam")
    found = fl.inventory(net())
    return [chosen, plan, plan.rules, resolution, resolution.decisions, found, found.weights]


@step
def presets() -> Any:
    model = net()
    made = [fl.linear_probe(), fl.bitfit(), fl.lora(2, target="**/block_*/kernel"), fl.lp_ft()]
    made += [preset(model) for preset in (fl.layerwise_lr_decay, fl.discriminative, fl.gradual_unfreezing)]
    made += [fl.last_blocks(model, 1)]
    for one in made:
        assert one.resolve(model) if hasattr(one, "resolve") else one.phases
    return made


@step
def putting_a_plan_on_and_off() -> Any:
    model = net()
    flags = [v.trainable for v in model.variables]
    with fl.applied(model, HEAD) as inside:
        assert len(model.trainable_variables) == 2
    applied = fl.apply(model, HEAD)
    model.fit(X, Y, verbose=0)
    applied.undo()
    assert [v.trainable for v in model.variables] == flags
    return [inside, applied]


@step
def watching() -> Any:
    model, watch = net(), fl.callbacks.Watch(X, Y)
    model.fit(X, Y, verbose=0, callbacks=[watch])
    assert trained(net(), watch=True).watched is not None
    return watch


@step
def training_and_its_proof() -> Any:
    model = net()
    before = fl.fingerprint(model)
    run = trained(model, epochs=2)
    assert run.verification.of("trained") == ("head/kernel", "head/bias")
    run.receipt.save("receipt.json")
    receipt = fl.Receipt.load("receipt.json")
    receipt.check(before=before, after=fl.fingerprint(model))
    return [before, run, receipt, fl.verify(model, before, HEAD)]


@step
def phases() -> Any:
    plateau = fl.Plateau("loss", patience=1)
    more = fl.Phase("all", epochs=2, until=plateau, lr=0.1, restore_best=True).train("**")
    schedule = fl.Schedule(HEAD, (fl.Phase("head", steps=3), more))
    run = trained(net(), schedule, validation_data=(X, Y))
    assert [phase.name for phase in run.phases] == ["head", "all"]
    return [plateau, more, schedule, run]


@dataclass(frozen=True)
class Shift(frostline.Parametrization):
    """One number that is added to a weight."""

    by: float = 0.0

    def start(self, weight: Any) -> Any:
        return {"shift": np.full((1,), self.by, "float32")}

    def combine(self, base: Any, parts: Any) -> Any:
        return base + parts["shift"]


@step
def weights_made_of_parts() -> Any:
    hows = [fl.Rows([0, 2]), fl.Columns([1]), fl.Index(([0, 1], [0])), fl.Mask(np.eye(6, 5) > 0)]
    hows += [fl.LowRank(2), fl.Scale(), Shift()]
    put = []
    for how in hows:
        model = net()
        put.append(fl.parametrize(model, "backbone/block_1/kernel", how))
        trained(model, fl.Plan().train("backbone/block_1/**"))
        merged = fl.merge(model)
        assert np.allclose(merged.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-5)
    return [*hows, *put]


@step
def a_larger_vocabulary() -> Any:
    stack = [keras.Input((3,), dtype="int32"), layers.Embedding(7, 4, name="words")]
    model = keras.Sequential([*stack, layers.Flatten(), layers.Dense(2, name="head")])
    grown, plan = fl.grow_embedding(model, "words/embeddings", rows=2)
    grown.compile("adam", "mse")
    run = fl.fit(grown, plan, np.full((8, 3), 8), np.ones((8, 2)), verbose=0)
    run.verification.require_ok()
    return plan


@step
def model_files() -> Any:
    model = net()
    trained(model)
    fl.save_model(model, "model.keras")
    again = fl.load_model("model.keras")
    assert again.count_params() == model.count_params()
    assert [v.trainable for v in again.variables] == [v.trainable for v in model.variables]
    plain = keras.models.load_model("model.keras")
    for one in (again, plain):
        assert np.array_equal(one.predict(X, verbose=0), model.predict(X, verbose=0))
    return again


@step
def deltas() -> Any:
    model = net()
    model.save("base.keras")
    run = trained(model)
    fl.save_delta(model, "head.safetensors", base=run)
    base = keras.models.load_model("base.keras")
    before = fl.fingerprint(base)
    put = fl.load_delta(base, "head.safetensors")
    assert fl.fingerprint(base)["head/kernel"] == fl.fingerprint(model)["head/kernel"]
    assert fl.deltas(base) == (put,)
    fl.remove_delta(base, put)
    assert fl.fingerprint(base).combined == before.combined
    return [put, put.delta]


@step
def adapters_of_peft() -> Any:
    names = {"head/kernel": "head"}
    model = net()
    fl.parametrize(model, "head/kernel", fl.LowRank(2, seed=1))
    trained(model, fl.Plan().train("head/kernel"))
    fl.export_peft(model, "adapter", names=names)
    other = net()
    (put,) = fl.import_peft(other, "adapter", names=names)
    return [put, put.how]


class Stopped(layers.Layer):
    """Lets no gradient back."""

    def call(self, x: Any) -> Any:
        return keras.ops.stop_gradient(x)  # cut


def cut() -> keras.Model:
    stack = [layers.Dense(3, name="first"), Stopped(name="stopped"), layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((6,)), *stack])
    model.compile("adam", "mse")
    return model


@step
def why_a_weight_does_not_train() -> Any:
    answer = fl.audit(cut(), X, Y)
    assert answer.of("cut") == ("first/kernel", "first/bias")
    one = fl.why(cut(), "first/kernel", X, Y)
    assert one.cuts[0].where.source.endswith("# cut")
    assert [group[0].status for group in fl.why_all(cut(), X, Y).groups] == ["cut", "trains"]
    weight = keras.Variable(np.ones((6, 2), "float32"), name="weight")
    asked = fl.explain(lambda: keras.ops.mean(keras.ops.round(keras.ops.matmul(X, weight))), [weight])
    assert asked.by_name["weight"].status == "cut"
    try:
        fl.fit(cut(), fl.Plan().train("first/**"), X, Y, verbose=0)
    except fl.FrostlineError as refused:
        return [answer, answer.findings, one, asked, refused]
    raise AssertionError("a cut weight was trained")


@step
def gradients_inside() -> Any:
    model = net()
    checked = fl.check_gradients(cut(), X[:4], Y[:4], directions=2)
    assert not checked.ok or checked.checks
    return [
        fl.intermediates(model, X, Y),
        fl.what_if(model, X, Y, block="backbone"),
        checked,
    ]


def _loop(model: keras.Model, optimizer: Any) -> None:
    """One step of a loop of one's own."""
    loss = keras.losses.MeanSquaredError()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(Y, model(X, training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
    elif BACKEND == "torch":
        model.zero_grad()
        loss(Y, model(X, training=True)).backward()
        import torch

        with torch.no_grad():
            optimizer.apply([v.value.grad for v in model.trainable_variables], model.trainable_variables)
    else:
        _loop_of_jax(model, optimizer, loss)


def _loop_of_jax(model: keras.Model, optimizer: Any, loss: Any) -> None:
    import jax

    held = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    weights, fixed, state = ([v.value for v in part] for part in held)

    def loss_of(weights: Any, fixed: Any) -> Any:
        predicted, fixed = model.stateless_call(weights, fixed, X, training=True)
        return loss(Y, predicted), fixed

    (_, fixed), grads = jax.value_and_grad(loss_of, has_aux=True)(weights, fixed)
    weights, state = optimizer.stateless_apply(state, grads, weights)
    for part, values in zip(held, (weights, fixed, state), strict=True):
        for variable, value in zip(part, values, strict=True):
            variable.assign(value)


@step
def a_loop_of_ones_own() -> Any:
    model = net()
    plan = fl.Plan().train("head/**").train("backbone/block_2/**", lr=0.5)
    optimizer = fl.optimizer_for(model, plan, "adamw")
    before = fl.fingerprint(model)
    _loop(model, optimizer)
    verification = fl.verify(model, before, plan)
    verification.require_ok()
    assert len(verification.of("trained")) == 4
    return verification


@step
def layers_with_fixed_parts() -> Any:
    ours = fl.layers
    Path("vectors.txt").write_text("good 0.9 0.1\nbad -0.8 0.2\n", encoding="utf-8")
    vectors = ours.read_word_vectors("vectors.txt")
    words = ours.PretrainedEmbedding("vectors.txt", vocabulary=["good", "bad", "new"], train="oov")
    stacks = [
        [ours.FixedBiasDense(3, 0.5), ours.FixedTransform(np.eye(3)), ours.GradientScale(0.5)],
        [ours.Hybrid(["square"], live=layers.Dense(3)), ours.StraightThrough("sign", "clipped")],
        [ours.StopGradient(), ours.FrozenStatistics(np.zeros(6), np.ones(6), train_affine=True)],
    ]
    for stack in stacks:
        model = keras.Sequential([keras.Input((6,)), *stack, layers.Dense(2, name="head")])
        model.compile("adam", "mse")
        trained(model, fl.Plan().train("**"))
        model.save("model.keras")
        again = keras.models.load_model("model.keras")
        assert np.array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    inputs = keras.Input((2,), dtype="int32")
    token = ours.TrainableTensor((1, 2))(words(inputs))
    joined = layers.Flatten()(layers.Concatenate(axis=1)([token, words(inputs)]))
    model = keras.Model(inputs, layers.Dense(2)(joined))
    model.compile("adam", "mse")
    fl.fit(model, fl.Plan().train("**"), np.array([[0, 2]] * 8), Y[:8], verbose=0).verification.require_ok()
    return [vectors, words, token, *stacks, *model.layers]
