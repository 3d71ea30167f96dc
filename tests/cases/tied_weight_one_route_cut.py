"""One weight used twice: its second use is stopped, its first lives."""

import keras
from keras import layers, ops

EXPECT = {"tied/kernel": "trains", "tied/table": "trains"}


class Tied(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=(shape[-1], 4), name="table")
        self.kernel = self.add_weight(shape=(4, 4), name="kernel")

    def call(self, x):
        hidden = (x @ self.table) @ self.kernel
        return hidden @ ops.transpose(ops.stop_gradient(self.table))


def model():
    return keras.Sequential([keras.Input((3,)), Tied(name="tied")]), ops.ones((2, 3)), ops.ones((2, 3))
