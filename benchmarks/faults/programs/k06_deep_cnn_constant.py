"""Three convolutions with BatchNormalization between them, all kernels 0.01: filters stay equal."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K6",
    "says": "symmetr|equal|same gradient|identical",
    "layer": "c1",
    "symptom": {"equal": ["c0/kernel", "c1/kernel", "c2/kernel"]},
    "source": "thedeepchecker/synthetic/deepCNN_constant",
}
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 3)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(16) % 4]


def program():
    start = keras.initializers.Constant(0.01)
    # mended: start = keras.initializers.HeUniform()
    body = []
    for k in range(3):
        conv = layers.Conv2D(6, 3, padding="same", use_bias=False, kernel_initializer=start, name=f"c{k}")
        body += [conv, layers.BatchNormalization(), layers.ReLU()]
    out = layers.Dense(4, "softmax", kernel_initializer=start, name="out")
    model = keras.Sequential([keras.Input((8, 8, 3)), *body, layers.GlobalAveragePooling2D(), out])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "categorical_crossentropy")
    return model, X, Y
