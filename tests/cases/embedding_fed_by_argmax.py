"""Ids that a model computes itself are looked up: the table trains, what chose does not."""

import keras
from keras import layers, ops

EXPECT = {
    "choose/kernel": ("cut", "integer"),
    "choose/bias": ("cut", "integer"),
    "table/embeddings": "trains",
}
OPERATION = "argmax"
LAYER = "pick"


class Pick(layers.Layer):
    def call(self, x):
        return ops.argmax(x, axis=-1)  # cut


def model():
    inputs = keras.Input((3,))
    ids = Pick(name="pick")(layers.Dense(5, name="choose")(inputs))
    return keras.Model(inputs, layers.Embedding(5, 2, name="table")(ids)), ops.ones((2, 3)), ops.ones((2, 2))
