"""A jitted `stateless_apply` loop under two plans, one after the other, with one optimizer.

Frostline is in three lines: `fl.optimizer_for`, and the proof by `fl.fingerprint` and `fl.verify`.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

import frostline as fl

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.normal(size=(512, 8)).astype("float32")
y = np.sin(x @ rng.normal(size=(8, 1))).astype("float32")
batches = [(x[n : n + 64], y[n : n + 64]) for n in range(0, len(x), 64)]

model = keras.Sequential(
    [
        keras.Input((8,)),
        keras.layers.Dense(32, activation="tanh", name="block_1"),
        keras.layers.Dropout(0.1, name="drop"),
        keras.layers.Dense(32, activation="tanh", name="block_2"),
        keras.layers.Dense(1, name="head"),
    ],
    name="net",
)
plans = {
    "head only": fl.Plan().train("head/**"),
    "head and block 2": fl.Plan().train("head/**").train("block_2/**", lr=0.3).freeze("**/bias"),
}
optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.01)
mean_squared = keras.losses.MeanSquaredError()


def loss_of(trained, fixed, features, targets):
    predicted, fixed = model.stateless_call(trained, fixed, features, training=True)
    return mean_squared(targets, predicted), fixed


@jax.jit  # compiled anew by itself where the plan changes
def step(trained, fixed, state, features, targets):
    (loss, fixed), grads = jax.value_and_grad(loss_of, has_aux=True)(trained, fixed, features, targets)
    trained, state = optimizer.stateless_apply(state, grads, trained)
    return loss, trained, fixed, state


for name, plan in plans.items():
    fl.optimizer_for(model, plan, optimizer)
    before = fl.fingerprint(model)

    held = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    values = [[variable.value for variable in part] for part in held]
    for _ in range(5):
        for features, targets in batches:
            loss, *values = step(*values, features, targets)
    for part, new in zip(held, values, strict=True):  # the loop held them; the variables take them back
        for variable, value in zip(part, new, strict=True):
            variable.assign(value)

    print(f"{name}: loss {float(loss):.4f}")
    verification = fl.verify(model, before, plan)
    verification.require_ok()
    print("trained:", ", ".join(verification.of("trained")))
    print("intact: ", ", ".join(verification.of("intact")))
