"""A recurrent cell that stops the gradient of its state: the weight that only feeds on it is cut."""

import keras
from keras import layers, ops

EXPECT = {"rnn/cell/kernel": "trains", "rnn/cell/recurrent": "trains"}


class Cell(layers.Layer):
    state_size = 3
    output_size = 3

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")
        self.recurrent = self.add_weight(shape=(3, 3), name="recurrent")

    def call(self, x, states):
        state = ops.stop_gradient(states[0])
        state = ops.tanh(x @ self.kernel + state @ self.recurrent)
        return state, [state]


def model():
    made = keras.Sequential([keras.Input((4, 2)), layers.RNN(Cell(name="cell"), name="rnn")])
    return made, ops.ones((2, 4, 2)), ops.ones((2, 3))
