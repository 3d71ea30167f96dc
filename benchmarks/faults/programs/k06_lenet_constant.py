"""LeNet with all kernels at one number."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K6",
    "says": "symmetr|equal|same gradient|identical",
    "layer": "dense",
    "symptom": {"equal": ["conv/kernel", "dense/kernel"]},
    "source": "neuralint/TF_lenet_constant_init",
}
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(16) % 4]


def program():
    start = keras.initializers.Constant(0.05)
    # mended: start = keras.initializers.HeNormal()
    conv = layers.Conv2D(4, 3, activation="relu", kernel_initializer=start, name="conv")
    dense = layers.Dense(12, activation="relu", kernel_initializer=start, name="dense")
    out = layers.Dense(4, activation="softmax", kernel_initializer=start, name="out")
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), conv, layers.MaxPooling2D(), layers.Flatten(), dense, out]
    )
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
