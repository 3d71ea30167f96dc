"""A softmax layer at the end although the sparse loss is told that it gets logits."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "backends": ["torch", "jax"],
    "says": "logits|softmax|twice|probab",
    "symptom": {"loss has a floor": []},
    "layer": "prob",
    "source": "neuralint/TF_lenet_redundant_activation",
}
X = np.random.default_rng(0).normal(size=(32, 8, 8, 1)).astype("float32")
Y = np.arange(32) % 4


def program():
    parts = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.MaxPooling2D(), layers.Flatten()]
    tail = [layers.Dense(4, name="out"), layers.Softmax(name="prob")]
    # mended: tail = [layers.Dense(4, name="out")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts, layers.Dense(12, "relu", name="dense"), *tail])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, X, Y
