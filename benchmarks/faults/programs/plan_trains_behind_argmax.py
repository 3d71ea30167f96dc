"""A plan trains the chooser in front of an `argmax`, and nothing else."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "plan",
    "statuses": {"choose/*": "cut"},
    "reason": ["integer"],
    "symptom": {"still|raises": ["choose/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Pick(layers.Layer):
    def call(self, z):
        return ops.one_hot(ops.argmax(z, axis=-1), 5)  # <- here
        # mended: return ops.softmax(z)


def plan():
    import frostline as fl

    return fl.Plan().train("choose/**")


def program():
    parts = [layers.Dense(5, name="choose"), Pick(name="pick"), layers.Dense(2, name="table")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, X, Y
