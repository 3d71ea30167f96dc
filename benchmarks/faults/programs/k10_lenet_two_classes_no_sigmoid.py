"""LeNet for two classes ends in a plain unit, and its loss takes probabilities."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "logits|sigmoid|probab|range|activation",
    "symptom": {"outputs outside 0..1": []},
    "layer": "out",
    "source": "neuralint/TF_lenet_bin_missing_sigmoid",
}
X = np.random.default_rng(0).normal(size=(16, 10, 10, 1)).astype("float32")
Y = np.array([0, 1] * 8, "float32")[:, None]


def program():
    convolutions = []
    for k in range(2):
        convolutions += [layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{k}")]
        convolutions += [layers.MaxPooling2D()]
    out = layers.Dense(1, name="out")
    # mended: out = layers.Dense(1, "sigmoid", name="out")
    tail = [layers.Flatten(), layers.Dense(12, "relu", name="dense"), out]
    model = keras.Sequential([keras.Input((10, 10, 1)), *convolutions, *tail])
    model.compile(keras.optimizers.Adam(0.001), "binary_crossentropy")
    return model, X, Y
