"""The programs whose files `make.py` wrote with Frostline 0.1; the tests of these files run them again.

A checkpoint is bound to the model, loss, plan, data and arguments of its run, and a loss that is a function
is known by its module's name, so the tests import this very module, by this very name. Only public names of
Frostline are used, since this must run under every later version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import frostline as fl
from frostline.layers import FixedBiasDense

HERE = Path(__file__).parent
WORDS, LENGTH, OUTPUTS = 20, 4, 2
SAMPLES, BATCH = 12, 4
SEED = 5
EAGER = keras.backend.backend() == "tensorflow"
"""Compiling takes longer there than a few steps do."""

ADAPTER = {"mid/kernel": "encoder.mid"}
"""The names of the modules in the exported adapter."""


@keras.saving.register_keras_serializable("saved_program")
@dataclass(frozen=True)
class Shift(fl.Parametrization):
    """A parametrization of the user's own: moves a weight by one number, the same for all its elements."""

    factor: float = 1.0

    def start(self, weight: Any) -> dict[str, Any]:
        return {"shift": ops.zeros((), dtype=weight.dtype)}

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def combine(self, base: Any, parts: Any) -> Any:
        return base + self.factor * parts["shift"]


# --- the model and its data --------------------------------------------------------------------


def network() -> keras.Model:
    """Words to two numbers: attention, a layer of Frostline's, a nested block with statistics, a head."""
    keras.utils.set_random_seed(SEED)
    inner = keras.Input((6,), name="inner")
    value = layers.Dense(6, activation="tanh", name="block_1")(inner)
    value = layers.BatchNormalization(momentum=0.8, name="norm_1")(value)
    value = layers.Dropout(0.2, seed=SEED, name="drop")(value)
    backbone = keras.Model(inner, layers.Dense(6, name="block_2")(value), name="backbone")

    ids = keras.Input((LENGTH,), dtype="int32", name="ids")
    value = layers.Embedding(WORDS, 4, name="tokens")(ids)
    value = layers.MultiHeadAttention(num_heads=2, key_dim=2, name="attention")(value, value)
    value = layers.GlobalAveragePooling1D(name="pool")(value)
    value = FixedBiasDense(6, bias=np.linspace(-0.5, 0.5, 6), name="known")(value)
    value = layers.Dense(6, activation="tanh", name="mid")(backbone(value))
    return keras.Model(ids, layers.Dense(OUTPUTS, name="head")(value), name="net")


def data() -> tuple[np.ndarray, np.ndarray]:
    """Words and numbers. No batch holds a word twice: Keras on TensorFlow squares their gradients apart."""
    with np.load(HERE / "data.npz") as arrays:
        return arrays["x"], arrays["y"]


def error(y: Any, predicted: Any) -> Any:
    """The user's own loss."""
    return ops.mean(ops.square(ops.cast(y, "float32") - predicted))


def optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(0.02, weight_decay=0.05, epsilon=1e-4, global_clipnorm=0.5)


def base(loss: Any = "mse") -> keras.Model:
    """The model that all training here begins with, compiled."""
    model = keras.models.load_model(HERE / "base.keras")
    model.compile(optimizer(), loss, run_eagerly=EAGER)
    return model


# --- a model, a delta, a receipt and an adapter --------------------------------------------------

PLAN = (
    fl.Plan()
    .train("tokens/embeddings", rows="15:")
    .train("attention/query/bias")
    .train("known/**")
    .train("mid/kernel", via=fl.LowRank(rank=2, alpha=4, seed=3))
    .train("head/**", lr=0.5, decay=0.0)
    .freeze("head/bias")
)
NEW_WORDS = fl.Plan().train("tokens/embeddings", rows="15:")
FURTHER = fl.Plan().train("tokens/embeddings", rows="18:").train("backbone/block_2/**")
"""Trained on top of `NEW_WORDS`."""


def tuned() -> tuple[keras.Model, fl.Run]:
    """The model trained under `PLAN`, one weight through a parametrization of the user's own."""
    model = base()
    fl.parametrize(model, "known/kernel", Shift(2.0))
    return model, train(model, PLAN)


def train(model: keras.Model, plan: Any, epochs: int = 2) -> fl.Run:
    return fl.fit(model, plan, *data(), epochs=epochs, batch_size=BATCH, shuffle=False, verbose=0)


# --- a model with flags that no plan set --------------------------------------------------------


def flagged() -> keras.Model:
    """A trained model with flags of single weights and of a layer, with slots, and without randomness."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((4,), name="numbers")
    value = layers.BatchNormalization(name="norm")(layers.Dense(3, name="a")(inputs))
    value = layers.Dense(2, name="head")(layers.Dense(3, name="b")(value))
    model = keras.Model(inputs, value, name="flagged")
    model.get_layer("norm").trainable = False
    model.get_layer("a").bias.trainable = False
    model.get_layer("b").kernel.trainable = False
    model.compile(optimizer(), "mse")
    numbers = data()[0].astype("float32")
    model.fit(numbers, data()[1], batch_size=BATCH, shuffle=False, verbose=0)
    return model


# --- a run that is interrupted -------------------------------------------------------------------

SCHEDULE = fl.Schedule(
    fl.Plan(stochastic="active").train("head/**"),
    (
        fl.Phase("head", epochs=1),
        fl.Phase("words", steps=4, lr=0.5)
        .train("tokens/embeddings", rows="15:")
        .train("backbone/**", lr=0.3)
        .freeze("head/bias"),
        fl.Phase("all", epochs=2).train("**", decay=2.0).train("mid/kernel", via=fl.LowRank(rank=2, seed=3)),
    ),
)
INTERRUPTED_AT = 2
"""The epoch, counted from 0, that began and did not end: `words` is under way, slots of a bias are kept."""


def fit_head(folder: Path) -> tuple[keras.Model, fl.Run]:
    """The run that `make.py` finished: the smallest there is, for the size of its checkpoint."""
    keras.utils.set_random_seed(SEED)
    model = base(error)
    return model, fl.fit(model, fl.Plan().train("head/**"), *data(), verbose=0, resume=folder)


def fit_schedule(folder: Path, *more: keras.callbacks.Callback) -> tuple[keras.Model, fl.Run]:
    """The run that `make.py` interrupted; everything random of it follows from the seed."""
    keras.utils.set_random_seed(SEED)
    model = base(error)
    slower = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=10.0)
    run = fl.fit(
        model,
        SCHEDULE,
        *data(),
        batch_size=BATCH,
        verbose=0,
        callbacks=[slower, *more],
        resume=folder,
    )
    return model, run


# --- what is looked at ---------------------------------------------------------------------------


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of all variables of a model, by their paths."""
    return {one.path: ops.convert_to_numpy(one.value).copy() for one in model.weights}


def slots_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of all variables of its optimizer, by the last part of their paths: the others are numbered."""
    named = ((one.path.rpartition("/")[2], one) for one in model.optimizer.variables)
    return {f"slots/{name}": ops.convert_to_numpy(one.value).copy() for name, one in named}


def outputs_of(model: keras.Model) -> np.ndarray:
    return model.predict(data()[0], verbose=0)


def decisions_on(model: keras.Model) -> dict[str, Any]:
    """Flags of all weights and layers, and what trains of the weights that train in part."""
    held = fl.inventory(model)
    return {
        "weights": {w.address: bool(w.variable.trainable) for w in held if w.role != "metric"},
        "layers": {node.address: bool(node.layer.trainable) for node in held.layers if node.below},
        "parts": {w.address: str(w.part) for w in held if w.part},
        "trainable": [one.path for one in model.trainable_variables],
        "steps": int(model.optimizer.iterations),
        "rate": round(float(model.optimizer.learning_rate), 7),
    }


def decisions_of(resolution: fl.Resolution) -> dict[str, Any]:
    """What a plan decides for each weight and statistic, and which layers run in inference mode."""
    return {
        "weights": {
            d.weight.address: [d.status, d.rule, d.lr, d.decay, d.trained_elements, str(d.how or "")]
            for d in (*resolution.decisions, *resolution.statistics)
        },
        "inference": [_without_number(mode.address) for mode in resolution.modes if mode.forced],
    }


def _without_number(address: str) -> str:
    """An address without the number that Keras gives to layers inside `attention` as they come."""
    return re.sub(r"_\d+$", "", address) if address.startswith("attention/") else address


def decisions_in(path: Path, model: keras.Model) -> dict[str, Any]:
    """The same for a plan file: by phases, where it has them."""
    try:
        plan = fl.Plan.load(path)
    except fl.FrostlineError:
        schedule = fl.Schedule.load(path)
        return {p.name: decisions_of(schedule.plan_of(p).resolve(model)) for p in schedule.phases}
    return {"": decisions_of(plan.resolve(model))}
