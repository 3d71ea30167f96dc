"""A label of 7 under a softmax of three classes."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "label|class|range|target",
    "symptom": {"raises|nan|unlearned": []},
    "steps": 150,
    "source": "issue 17, K10",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32") * 7
# mended: Y = (X[:, 0] > 0).astype("int32") * 2


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="out")])
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, X, Y
