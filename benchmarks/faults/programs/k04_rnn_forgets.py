"""A simple recurrent net with small recurrent weights over sixty steps, read at the last step alone."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "vanish|too small|tiny|update",
    "symptom": {"tiny": ["embed/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 60, 2)).astype("float32")
Y = X[:, 0, :1]
X[:, 6:] = 0.0


def program():
    small = keras.initializers.RandomNormal(stddev=0.05)
    # mended: small = keras.initializers.Orthogonal(gain=1.1)
    embed = layers.Dense(4, use_bias=False, name="embed")
    rnn = layers.SimpleRNN(6, recurrent_initializer=small, name="rnn")
    model = keras.Sequential([keras.Input((60, 2)), embed, rnn, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
