"""A frozen base is put on for fine-tuning after a first fit, without compiling anew: it stays frozen."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "stale",
    "backends": ["jax", "tensorflow"],
    "statuses": {"low/*": "stale"},
    "says": "compile",
    "symptom": {"still|raises": ["low/*"]},
    "source": "Keras guide on transfer learning, the note on compile",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    low = layers.Dense(4, trainable=False, name="low")
    model = keras.Sequential([keras.Input((4,)), low, layers.Dense(2, name="top")])
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=32, verbose=0)
    low.trainable = True
    # mended: low.trainable = True
    # mended: model.compile("sgd", "mse")
    return model, X, Y
