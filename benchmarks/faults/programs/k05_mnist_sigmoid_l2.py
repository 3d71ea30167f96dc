"""A CNN with eleven dense sigmoid layers, where L2 of 1e-4 is all that moves the first ones."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K5",
    "says": "vanish|collaps|too small|tiny|update|penalt",
    "symptom": {"blind": ["conv/kernel", "d0/kernel"]},
    "source": "autotrainer/MNIST/sigmoid_l2",
}
X = np.random.default_rng(0).uniform(size=(32, 8, 8, 1)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(32) % 4]
X[np.arange(32), np.arange(32) % 4] += 1.0


def program():
    act, width, depth = "sigmoid", 12, 11
    # mended: act, width, depth = "tanh", 12, 4
    penalty = "l2"
    # mended: penalty = keras.regularizers.L2(1e-5)
    hidden = [layers.Dense(width, act, kernel_regularizer=penalty, name=f"d{k}") for k in range(depth)]
    front = [layers.Conv2D(4, 3, activation="sigmoid", name="conv"), layers.MaxPooling2D(), layers.Flatten()]
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), *front, *hidden, layers.Dense(4, "softmax", name="out")]
    )
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
