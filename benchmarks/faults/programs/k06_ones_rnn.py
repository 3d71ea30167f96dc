"""A recurrent layer whose kernels are all ones: one state, five times."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K6",
    "says": "symmetr|equal|same gradient|identical",
    "layer": "rnn",
    "symptom": {"equal": ["rnn/*/kernel"]},
    "source": "own",
}
X = 0.1 * np.random.default_rng(0).normal(size=(16, 4, 3)).astype("float32")
Y = X.sum(axis=1)[:, :1]


def program():
    ones = keras.initializers.Constant(0.1)
    # mended: ones = keras.initializers.Orthogonal()
    rnn = layers.SimpleRNN(5, kernel_initializer=ones, recurrent_initializer=ones, name="rnn")
    out = layers.Dense(1, kernel_initializer=ones, name="out")
    # mended: out = layers.Dense(1, name="out")
    model = keras.Sequential([keras.Input((4, 3)), rnn, out])
    model.compile("sgd", "mse")
    return model, X, Y
