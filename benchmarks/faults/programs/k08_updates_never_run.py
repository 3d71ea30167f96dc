"""A deep CNN whose moving averages are never updated: inference sees mean 0 and variance 1."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K8",
    "says": "statistic|moving|momentum",
    "layer": "n0",
    "symptom": {"still": ["n0/moving_mean", "n1/moving_mean"]},
    "source": "thedeepchecker/synthetic/deepCNN_miss_infer_batchnorm",
}
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 3)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(16) % 4]


def program():
    momentum = 1.0
    # mended: momentum = 0.9
    body = []
    for k in range(2):
        conv = layers.Conv2D(6, 3, padding="same", use_bias=False, name=f"c{k}")
        body += [conv, layers.BatchNormalization(momentum=momentum, name=f"n{k}"), layers.ReLU()]
    out = layers.Dense(4, "softmax", name="out")
    model = keras.Sequential([keras.Input((8, 8, 3)), *body, layers.GlobalAveragePooling2D(), out])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "categorical_crossentropy")
    return model, X, Y
