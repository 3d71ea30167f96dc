"""Every step of every sequence is masked."""

import keras
from keras import layers, ops

EXPECT = {
    "table/embeddings": "zero",
    "rnn/simple_rnn_cell/kernel": "zero",
    "rnn/simple_rnn_cell/recurrent_kernel": "zero",
    "rnn/simple_rnn_cell/bias": "zero",
    "head/kernel": "zero",
    "head/bias": "trains",
}


def model():
    stack = [
        keras.Input((4,), dtype="int32"),
        layers.Embedding(5, 3, mask_zero=True, name="table"),
        layers.SimpleRNN(3, name="rnn"),
        layers.Dense(2, name="head"),
    ]
    return keras.Sequential(stack), ops.zeros((2, 4), dtype="int32"), ops.ones((2, 2))
