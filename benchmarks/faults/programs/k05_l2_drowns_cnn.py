"""L2 of 10 on the kernels of a small CNN: within some steps they are nothing, whatever the classes are."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K5",
    "says": "penalt|regulariz",
    "symptom": {"unlearned": []},
    "steps": 200,
    "source": "thedeepchecker/synthetic/baseCNN_over_reg",
}
X = np.random.default_rng(0).normal(size=(32, 6, 6, 1)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(32) % 4]
for n in range(32):
    X[n, :, n % 4] += 3.0


def program():
    penalty = keras.regularizers.L2(10.0)
    # mended: penalty = keras.regularizers.L2(1e-5)
    conv = layers.Conv2D(4, 3, activation="relu", kernel_regularizer=penalty, name="conv")
    out = layers.Dense(4, "softmax", kernel_regularizer=penalty, name="out")
    model = keras.Sequential([keras.Input((6, 6, 1)), conv, layers.Flatten(), out])
    model.compile(keras.optimizers.SGD(0.02), "categorical_crossentropy")
    return model, X, Y
