"""A CNN for colour images with twenty-two dense ReLU layers from a small uniform initializer."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "vanish|collaps|too small|tiny|update|dead|off for every",
    "symptom": {"tiny": ["conv/kernel", "d0/kernel", "d2/kernel"]},
    "source": "autotrainer/CIFAR-10/relu_uniform",
}
X = np.random.default_rng(0).uniform(size=(32, 8, 8, 3)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(32) % 4]
X[np.arange(32), np.arange(32) % 4] += 1.0


def program():
    act, width, depth = "relu", 12, 22
    # mended: act, width, depth = "tanh", 12, 22
    start = "random_uniform"
    # mended: start = "orthogonal"
    hidden = [layers.Dense(width, act, kernel_initializer=start, name=f"d{k}") for k in range(depth)]
    front = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.MaxPooling2D(), layers.Flatten()]
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), *front, *hidden, layers.Dense(4, "softmax", name="out")]
    )
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
