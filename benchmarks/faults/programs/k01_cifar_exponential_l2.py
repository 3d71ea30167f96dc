"""A CNN with six dense exponential layers under L2 of 0.01."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K1",
    "statuses": {"d5/kernel": "not_finite", "out/kernel": "not_finite"},
    "says": "exp",
    "symptom": {"nan": ["d0/kernel", "d5/kernel"]},
    "source": "autotrainer/CIFAR-10/exponential_l2",
}
X = np.random.default_rng(0).uniform(size=(32, 8, 8, 3)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(32) % 4]
X[np.arange(32), np.arange(32) % 4] += 1.0


def program():
    act, width, depth = "exponential", 24, 6
    # mended: act, width, depth = "elu", 24, 6
    start = "he_normal"
    penalty = "l2"
    # mended: penalty = None
    hidden = [
        layers.Dense(width, act, kernel_initializer=start, kernel_regularizer=penalty, name=f"d{k}")
        for k in range(depth)
    ]
    front = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.MaxPooling2D(), layers.Flatten()]
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), *front, *hidden, layers.Dense(4, "softmax", name="out")]
    )
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
