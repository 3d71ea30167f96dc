"""A tagger of texts, up to five tags each, under softmax and categorical cross-entropy."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "sum|several|target|label|probab|distribution",
    "symptom": {"targets do not sum to 1": []},
    "source": "deeplocalize/44164749",
}
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(24, 20)).astype("float32")
Y = (RNG.uniform(size=(24, 12)) < 0.35).astype("float32")


def program():
    parts = [layers.Dense(32, "relu", name="wide"), layers.Dense(16, "relu", name="narrow")]
    out = layers.Dense(12, "softmax", name="tags")
    # mended: out = layers.Dense(12, "sigmoid", name="tags")
    model = keras.Sequential([keras.Input((20,)), *parts, out])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), "categorical_crossentropy")
    # mended: model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "binary_crossentropy")
    return model, X, Y
