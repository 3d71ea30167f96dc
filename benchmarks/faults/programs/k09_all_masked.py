"""The padding number is also the only word: every step is masked, and the recurrent layer sees nothing."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"table/embeddings": "zero"},
    "says": "mask",
    "layer": "lstm",
    "symptom": {"still": ["table/embeddings"]},
    "source": "own",
}
X = np.zeros((16, 5), "int32")
# mended: X = np.random.default_rng(0).integers(1, 6, size=(16, 5)).astype("int32")
Y = np.random.default_rng(1).normal(size=(16, 1)).astype("float32")


def program():
    table = layers.Embedding(6, 4, mask_zero=True, name="table")
    model = keras.Sequential([keras.Input((5,), dtype="int32"), table, layers.LSTM(4, name="lstm")])
    model.add(layers.Dense(1, name="out"))
    model.compile("sgd", "mse")
    return model, X, Y
