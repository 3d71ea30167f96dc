"""Unknown samples carry the label -1, which no loss leaves out."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "label|class|range|target|-1",
    "steps": 150,
    "symptom": {"raises|nan|unlearned": []},
    "source": "zzh8829/yolov3-tf2#259",
}
X = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
Y = np.digitize(X[:, 0], [0.3, 1.0]) - 1
# mended: Y = np.digitize(X[:, 0], [0.3, 1.0])


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax", name="out")])
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    return model, X, Y
