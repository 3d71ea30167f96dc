"""LeNet for two classes whose last unit has a ReLU where the loss needs a sigmoid."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "relu|sigmoid|probab|range|activation",
    "symptom": {"outputs outside 0..1": []},
    "layer": "out",
    "source": "neuralint/TF_lenet_bin_missing_sigmoid2",
}
X = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")
Y = np.array([0, 1] * 8, "float32")[:, None]


def program():
    out = layers.Dense(1, "relu", bias_initializer=keras.initializers.Constant(1.0), name="out")
    # mended: out = layers.Dense(1, "sigmoid", name="out")
    parts = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.MaxPooling2D(), layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts, layers.Dense(8, "relu", name="dense"), out])
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    return model, X, Y
