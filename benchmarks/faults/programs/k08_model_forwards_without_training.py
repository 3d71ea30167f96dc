"""A model's call hands no training flag on, and calls its backbone as for inference."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K8",
    "says": "statistic|moving",
    "layer": "bn",
    "symptom": {"still": ["*bn/moving_mean"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(1, 3, size=(32, 4)).astype("float32")
Y = X[:, :2]


class Classifier(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        parts = [
            layers.Dense(6, use_bias=False, name="d"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(),
        ]
        self.backbone = keras.Sequential([keras.Input((4,)), *parts], name="backbone")
        self.head = layers.Dense(2, name="head")

    def build(self, shape):
        self.head.build((None, 6))

    def call(self, x, training=None):
        return self.head(self.backbone(x, training=False))  # <- here
        # mended: return self.head(self.backbone(x, training=training))


def program():
    model = Classifier()
    model.build((None, 4))
    model.compile("sgd", "mse")
    return model, X, Y
