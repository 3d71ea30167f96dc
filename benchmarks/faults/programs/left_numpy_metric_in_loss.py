"""A rank correlation by NumPy inside the loss."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "left framework",
    "backends": ["torch"],
    "statuses": {"out/*": "cut"},
    "reason": ["left_framework"],
    "symptom": {"raises|still": ["out/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1]


def error(y, predicted):
    values = ops.convert_to_tensor(np.abs(predicted.detach().cpu().numpy()))  # <- here
    # mended: values = ops.abs(predicted)
    return ops.mean((ops.abs(y) - values) ** 2)


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="out")])
    model.compile("sgd", error)
    return model, X, Y
