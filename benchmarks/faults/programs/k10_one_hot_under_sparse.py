"""One-hot rows are summed up to an index by the wrong axis: labels up to the size of the batch."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "label|class|range|target",
    "steps": 150,
    "symptom": {"raises|nan|unlearned": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
HOT = np.eye(3, dtype="int32")[np.digitize(X[:, 0], [-0.5, 0.5])]
Y = HOT @ np.array([0, 10, 20])
# mended: Y = HOT @ np.array([0, 1, 2])


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax", name="out")])
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    return model, X, Y
