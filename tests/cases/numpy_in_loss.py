"""A NumPy conversion inside the loss."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "left_framework")}
X = ops.ones((2, 3))


def case():
    kernel = keras.Variable(ops.ones((3, 3)), name="kernel")

    def loss():
        predicted = ops.convert_to_numpy(X @ kernel)  # cut
        return ops.mean(ops.convert_to_tensor(predicted) ** 2)

    return loss, [kernel]
