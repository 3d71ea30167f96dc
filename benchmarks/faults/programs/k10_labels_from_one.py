"""Labels counted from one: the last class has no unit."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "label|class|range|target",
    "symptom": {"raises|nan|unlearned": []},
    "steps": 150,
    "source": "rstudio/keras3#465",
}
X = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
Y = np.digitize(X[:, 0], [-1.0, -0.3]) + 1
# mended: Y = np.digitize(X[:, 0], [-1.0, -0.3])


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax", name="out")])
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    return model, X, Y
