"""A `GradientTape` loop under two plans, one after the other, with one optimizer.

Frostline is in three lines: `fl.optimizer_for`, and the proof by `fl.fingerprint` and `fl.verify`.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

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

for name, plan in plans.items():
    fl.optimizer_for(model, plan, optimizer)
    before = fl.fingerprint(model)

    @tf.function  # traced for this plan: made anew for each
    def step(features, targets):
        weights = model.trainable_variables
        with tf.GradientTape() as tape:
            loss = mean_squared(targets, model(features, training=True))
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    for _ in range(5):
        for features, targets in batches:
            loss = step(features, targets)

    print(f"{name}: loss {float(loss):.4f}")
    verification = fl.verify(model, before, plan)
    verification.require_ok()
    print("trained:", ", ".join(verification.of("trained")))
    print("intact: ", ", ".join(verification.of("intact")))
