"""Ten digits, and the last layer has a ReLU where softmax belongs: a class at zero stays there."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "relu|softmax|probab|range|activation",
    "symptom": {"loss not finite|nan|unlearned": []},
    "steps": 150,
    "layer": "out",
    "source": "deeplocalize/47352366",
}
X = np.random.default_rng(0).uniform(size=(30, 8, 8, 1)).astype("float32")
Y = np.eye(10, dtype="float32")[np.arange(30) % 10]
X[np.arange(30), np.arange(30) % 10 // 2, np.arange(30) % 2 * 4] += 4.0


def program():
    out = layers.Dense(10, "relu", name="out")
    # mended: out = layers.Dense(10, "softmax", name="out")
    parts = [
        layers.Conv2D(4, 5, activation="relu", padding="same", name="conv"),
        layers.MaxPooling2D(),
        layers.Flatten(),
    ]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts, layers.Dense(16, "relu", name="dense"), out])
    model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    return model, X, Y
