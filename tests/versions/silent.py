"""Steps of the smoke: what a version of Keras broke, or could break, without an error."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
from keras import layers
from public import BACKEND, HEAD, X, Y, fl, net, trained
from used import step


class KilledError(Exception):
    """Stands for a process that ends in the middle of a run."""


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self._epoch:
            raise KilledError


def same_after_an_interruption(data: Any, *, several: int = 1, **more: Any) -> Any:
    """Train without and with an interruption: the numbers and the history are the same."""
    plan = fl.Plan().train("head/**").train("backbone/block_2/**", lr=0.1)
    ends = []
    for name, killed_at in (("whole", ()), ("cut", (2,))):
        for at in (*killed_at, None):
            keras.utils.set_random_seed(3)
            model = net(steps_per_execution=several)
            try:
                run = fl.fit(
                    model, plan, *data(), epochs=4, verbose=0, resume=name, callbacks=_callbacks(at), **more
                )
            except KilledError:
                continue
        run.verification.require_ok()
        ends.append((model.get_weights(), run.history.history["loss"], run))
    assert ends[1][2].resumed == 2
    assert ends[0][1] == ends[1][1], f"losses {ends[0][1]} became {ends[1][1]}"
    assert all(np.array_equal(one, two) for one, two in zip(ends[0][0], ends[1][0], strict=True))
    return ends[1][2]


def _callbacks(at: int | None) -> list[Any]:
    return [] if at is None else [KillAt(at)]


@step
def arrays_after_an_interruption() -> Any:
    return same_after_an_interruption(lambda: (X, Y), batch_size=5)


@step
def arrays_by_batches_after_an_interruption() -> Any:
    return same_after_an_interruption(lambda: (X, Y), batch_size=5, shuffle="batch")


@step
def arrays_in_several_steps_at_once_after_an_interruption() -> Any:
    return same_after_an_interruption(lambda: (X, Y), batch_size=5, several=1 if BACKEND == "torch" else 2)


@step
def arrays_by_steps_after_an_interruption() -> Any:
    return same_after_an_interruption(lambda: (X, Y), batch_size=5, steps_per_epoch=3)


class Pieces(keras.utils.PyDataset):
    """Data that changes at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = 0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        at = (index * 8 + self._turn * 3 + np.arange(8)) % len(X)
        return X[at], Y[at]

    def on_epoch_end(self) -> None:
        self._turn += 1


@step
def a_dataset_after_an_interruption() -> Any:
    return same_after_an_interruption(lambda: (Pieces(),), shuffle=False)


@step
def exclusions_from_decay_in_files() -> Any:
    """What is excluded by the variable, not by its name, is so in the loaded model too."""

    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
    model = net(optimizer)
    optimizer.exclude_from_weight_decay(var_list=[model.get_layer("head").kernel])
    trained(model)
    fl.save_model(model, "model.keras")
    again = fl.load_model("model.keras")
    run = trained(again)
    kernel, bias = again.get_layer("head").weights
    decayed = {v.name: bool(again.optimizer._use_weight_decay(v)) for v in (kernel, bias)}
    assert decayed == {"kernel": False, "bias": True}, decayed
    return run


@step
def decay_follows_a_weight_made_of_parts() -> Any:
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    model = net(optimizer)
    optimizer.exclude_from_weight_decay(var_list=[model.get_layer("head").kernel])
    fl.parametrize(model, "head/kernel", fl.Rows([0]))
    trained(model, fl.Plan().train("head/**"))
    parts = [v for v in model.trainable_variables if "kernel" in v.name]
    assert parts and not any(optimizer._use_weight_decay(part) for part in parts)
    return model


@step
def a_regularized_weight_made_of_parts() -> Any:
    stack = [layers.Dense(4, kernel_regularizer=one, name=f"d{n}") for n, one in enumerate(("l1", "l2"))]
    stack.append(layers.Dense(2, kernel_regularizer=keras.regularizers.OrthogonalRegularizer(), name="d2"))
    model = keras.Sequential([keras.Input((6,)), *stack])
    model.compile("adam", "mse")
    plan = fl.Plan().train("d0/kernel", rows=[0, 1]).train("d1/kernel", via=fl.LowRank(2))
    run = trained(model, plan.train("d2/kernel", via=fl.LowRank(1)))
    fl.save_model(model, "model.keras")
    assert np.array_equal(fl.load_model("model.keras").predict(X, verbose=0), model.predict(X, verbose=0))
    return run


@step
def mixed_precision() -> Any:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = net(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)))
        fl.parametrize(model, "backbone/block_1/kernel", fl.LowRank(2))
        run = trained(model, fl.Plan().train("head/**").train("backbone/block_1/kernel"))
        return [run, fl.audit(model, X, Y)]
    finally:
        keras.config.set_dtype_policy(before)


@step
def masks() -> Any:
    """A mask goes through looked-up rows and watched outputs."""
    stack = [layers.Embedding(9, 4, mask_zero=True, name="words"), layers.GRU(3, name="gru")]
    model = keras.Sequential([keras.Input((5,), dtype="int32"), *stack, layers.Dense(2, name="head")])
    model.compile("adam", "mse")
    ids = np.random.default_rng(0).integers(0, 9, (8, 5))
    ids[:, 3:] = 0
    expected = model.predict(ids, verbose=0)
    put = fl.parametrize(model, "words/embeddings", fl.Rows([1, 2]))
    assert np.allclose(model.predict(ids, verbose=0), expected, atol=1e-6)
    seen = fl.intermediates(model, ids, Y[:8])
    assert seen.rows[0].weights == ("words/embeddings",)
    assert fl.what_if(model, ids, Y[:8], block="gru").starved == ("words/embeddings", *_of(model, "gru"))
    return [put, seen]


def _of(model: keras.Model, layer: str) -> tuple[str, ...]:
    return tuple(w.address for w in fl.inventory(model).of_role("weight") if w.layer.startswith(layer))


@step
def randomness_without_a_seed_after_an_interruption() -> Any:
    """Keras's global generator is part of what a run goes on from; on JAX it takes no part in a training."""
    if BACKEND == "jax":
        return None

    class Noise(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + 0.1 * keras.random.normal(keras.ops.shape(x))

    def fit(resume: str, callbacks: Any) -> Any:
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((6,)), Noise(), layers.Dense(2, name="head")])
        model.compile("sgd", "mse")
        return fl.fit(model, HEAD, X, Y, epochs=3, verbose=0, resume=resume, callbacks=callbacks)

    whole = fit("whole", [])
    with contextlib.suppress(KilledError):
        fit("cut", [KillAt(2)])
    again = fit("cut", [])
    assert whole.history.history["loss"] == again.history.history["loss"]
    return again
